//! The load generator of `seatlock bench`. It measures a running service in one of several scenarios, compares what the
//! service confirmed with its maps ([`audit`]), and reports both.
//!
//! By default it runs a closed loop of connections, each with one request at a time ([`closed_loop`]): the result is
//! the throughput of that many connections. With `--phases`, requests are sent at given rates ([`open_loop`]). The
//! reference implementation (`--target reference`) is measured by the same client.
//!
//! It is one thread on the cores of the service that it measures, so it does little: connections are its own
//! ([`http`]), and what it records of a response is counted ([`tally`]) or entered in a table ([`ledger`]).

mod arguments;
mod audit;
mod bodies;
mod browse;
mod buying;
mod closed_loop;
mod http;
mod ledger;
mod on_sale;
mod open_loop;
mod progress;
mod report;
mod sale;
mod settings;
mod setup;
mod stampede;
mod tally;
mod violations;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

pub use arguments::Arguments;
use arguments::{Scenario, Target};
use http::Api;
use ledger::Ledger;
use progress::Progress;
pub use report::Report;
use report::{Measured, report};
use sale::Sale;
pub use settings::Settings;

/// The state of a measurement.
struct Run {
    settings: Settings,
    api: Api,
    sale: Sale,
    ledger: RefCell<Ledger>,
    progress: Rc<Progress>,
}

/// Runs the measurements one after the other against the service at `address`, or at several addresses separated by
/// commas. Must be called in a `LocalSet`.
///
/// # Errors
/// The first request before or after a measurement, or the first connection, that failed.
pub async fn measure(
    measurements: &[Settings],
    address: &str,
    key: Option<&str>,
) -> io::Result<Report> {
    let progress = Rc::new(Progress::new());
    let mut all = Vec::new();
    for settings in measurements {
        let api = Api::new(address, key);
        let run = Rc::new(setup::prepare(settings.clone(), api, &progress).await?);
        let mut measured = measure_one(&run).await?;
        if settings.target == Target::Seatlock {
            progress.say(format!("{}: comparing the maps", settings.name));
            measured.audit = Some(audit::audit(&run).await?);
        }
        all.push(measured);
    }
    Ok(report(all))
}

async fn measure_one(run: &Rc<Run>) -> io::Result<Measured> {
    let Settings { scenario, phases, name, .. } = &run.settings;
    match scenario {
        Scenario::Stampede => stampede::measure(run).await,
        Scenario::Browse => run.progress.during(name, browse::measure(run)).await,
        _ if phases.is_empty() => run.progress.during(name, closed_loop::measure(run)).await,
        _ => run.progress.during(name, open_loop::measure(run)).await,
    }
}
