//! `seatlock openapi`: prints the API's document.

use seatlock::http::openapi;

use super::{Failed, print};

pub(crate) fn run() -> Result<(), Failed> {
    print(&format!("{}\n", openapi::json()))
}
