//! `seatlock worker`: executes what waits in the queue, apart from the processes that serve.

use seatlock::app::Role;
use seatlock::config::QueueMode;

use super::{Failed, read_config, serve};

pub(crate) fn run() -> Result<(), Failed> {
    let config = read_config()?;
    if config.queue.mode == QueueMode::Off {
        let remedy = "set QUEUE_MODE and QUEUE_URL as the processes have them that serve";
        return Err(Failed::Work(format!(
            "QUEUE_MODE=off: there is no queue to work on; {remedy}"
        )));
    }
    serve::run_as(Role::Work, &config)
}
