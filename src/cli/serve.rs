//! `seatlock serve`: builds the service, says where it is, runs it until a signal stops it.

mod banner;
mod demo;
mod manager;
mod offer;

use std::sync::Arc;

use actix_web::rt::System;
use log::Level;
use seatlock::app::{App, Role};
use seatlock::config::{Config, Database};

use super::signals::Signals;
use super::{Failed, logging, print, read_config};

/// Open files besides the clients' connections: databases, Redis, listeners.
const FILES_BESIDES: u64 = 256;

/// Answers requests of the API until a signal comes.
pub(crate) fn run() -> Result<(), Failed> {
    run_as(Role::Serve, &read_config()?)
}

/// The same for a process of either kind.
pub(crate) fn run_as(role: Role, config: &Config) -> Result<(), Failed> {
    logging::init(&config.log);
    log::info!("{}", config.summary());
    seatlock::faults::begin().map_err(Failed::logged)?;
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    say_how_far_the_locks_reach(config);
    permit_connections(config.http.max_connections);
    System::new().block_on(serve(config, role))
}

/// A shell's usual limit of open files is far below what an on-sale needs.
fn permit_connections(connections: usize) {
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(FILES_BESIDES);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(permitted) if permitted < needed => log::warn!(
            "this process may open {permitted} files, too few for MAX_CONNECTIONS={connections}: \
             raise the limit (ulimit -Hn) or lower MAX_CONNECTIONS"
        ),
        Ok(_) => {}
        Err(error) => log::warn!("the limit of open files could not be raised: {error}"),
    }
}

/// A second replica on one SQLite file is hardly meant; on one PostgreSQL it is likely.
fn say_how_far_the_locks_reach(config: &Config) {
    if config.redis.is_none() {
        let level = if is_embedded(config) { Level::Info } else { Level::Warn };
        log::log!(
            level,
            "seat locks are kept in this process, which is safe for one replica: set REDIS_HOST \
             before starting a second one"
        );
    }
}

fn is_embedded(config: &Config) -> bool {
    matches!(config.database.backend, Database::Sqlite { .. })
}

async fn serve(config: &Config, role: Role) -> Result<(), Failed> {
    // First of all: the first process of a container has no default action for a signal.
    let mut signals = Signals::listen()
        .map_err(|error| Failed::logged(format!("signals cannot be received: {error}")))?;
    let app = tokio::select! {
        app = App::build(config, role) => app.map_err(Failed::logged)?,
        signal = signals.next() => {
            log::info!("{signal} came before the service was up: nothing to finish");
            return Ok(());
        }
    };
    log::info!("listening on http://{}", app.address());
    if let Some(address) = app.metrics_address() {
        log::info!("metrics are at http://{address}/metrics");
    }
    if role == Role::Serve && is_embedded(config) {
        welcome(config, &app).await;
    }
    manager::keep_alive(Arc::clone(&app.services().health));
    manager::ready(app.address());
    let stop = async {
        let delay = signals.drain(config.http.drain_delay).await;
        manager::stopping();
        delay
    };
    app.run_until_stopped(stop).await.map_err(Failed::logged)
}

/// Gives whoever tries the service something to look at, and says how. The service is as good
/// without.
async fn welcome(config: &Config, app: &App) {
    let services = app.services();
    if let Err(reason) = demo::enter_if_empty(&services.catalogue, config).await {
        log::warn!("{reason}");
    }
    let offer = offer::find(services).await.unwrap_or_else(|error| {
        log::warn!("no seats could be found to show: {error}");
        None
    });
    let text = banner::text(app.address(), offer.as_ref(), services.api_key.is_some());
    if let Err(Failed::Work(reason)) = print(&text) {
        log::warn!("{reason}");
    }
}
