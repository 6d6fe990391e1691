//! `seatlock bench`: measures a running service with the load generator of the workspace (`loadgen/`).

pub(crate) use loadgen::Arguments;

use super::{Failed, print};

pub(crate) fn run(arguments: Arguments) -> Result<(), Failed> {
    let measured = loadgen::run(arguments).map_err(|error| Failed::Work(error.to_string()))?;
    print(&format!("{measured}\n"))
}
