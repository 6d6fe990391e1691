//! `seatlock worker`: executes the requests of the queue, without serving HTTP clients.

use seatlock::app::Role;
use seatlock::config::QueueMode;

use super::{Failed, read_config, serve};

pub(crate) fn run() -> Result<(), Failed> {
    let config = read_config()?;
    if config.queue.mode == QueueMode::Off {
        let remedy = "set QUEUE_MODE and QUEUE_URL as in the serving processes";
        return Err(Failed::Work(format!("QUEUE_MODE=off: there is no queue; {remedy}")));
    }
    serve::run_as(Role::Work, &config)
}
