//! `seatlock bench`: measures a service with the load generator of the workspace (`loadgen/`).

mod own_service;

use actix_web::rt::System;
pub(crate) use loadgen::Arguments;
use loadgen::{Report, Settings};

use super::signals::Signals;
use super::{Failed, print};
use own_service::OwnService;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let measurements = arguments.measurements().map_err(Failed::Usage)?;
    // If it cannot be raised, a stampede reports the first connection that failed.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let report = System::new().block_on(measure(arguments, &measurements))?;
    if arguments.json() {
        print(&format!("{}\n", report.document))?;
    } else {
        print(&report.text)?;
        report.violations.iter().try_for_each(|text| print(&format!("violated: {text}\n")))?;
    }
    match report.violations.is_empty() {
        true => Ok(()),
        false => Err(Failed::Work("the audit found violations".to_owned())),
    }
}

/// Measures, until a signal ends it; then the service and its folder are removed.
async fn measure(arguments: &Arguments, measurements: &[Settings]) -> Result<Report, Failed> {
    let mut signals = Signals::listen()
        .map_err(|error| Failed::Work(format!("signals cannot be received: {error}")))?;
    let own = match arguments.address() {
        Some(_) => None,
        None => Some(OwnService::start(arguments.queued())?),
    };
    let key = std::env::var("ADMIN_API_KEY").ok().filter(|_| own.is_none());
    let address = own.as_ref().map(OwnService::address).or(arguments.address()).unwrap_or_default();
    let mut report = tokio::select! {
        report = loadgen::measure(measurements, address, key.as_deref()) => {
            report.map_err(|error| Failed::Work(error.to_string()))?
        }
        signal = signals.next() => {
            return Err(Failed::Work(format!("{signal} was received before the end")));
        }
    };
    if let Some(own) = &own {
        own.verify(&mut report)?;
    }
    Ok(report)
}
