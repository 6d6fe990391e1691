//! `seatlock serve`: builds the service, prints its address, and runs it until a signal stops it.

mod banner;
mod demo;
mod examples;
mod manager;

use std::sync::Arc;

use actix_web::rt::System;
use log::Level;
use seatlock::app::{App, Role};
use seatlock::config::Config;

use super::signals::Signals;
use super::{Failed, logging, print, read_config};

/// Open files besides the clients' connections: databases, Redis, listeners.
const OTHER_FILES: u64 = 256;

/// Answers requests of the API until a signal stops it.
pub(crate) fn run() -> Result<(), Failed> {
    run_as(Role::Serve, &read_config()?)
}

/// Runs a process of either role.
pub(crate) fn run_as(role: Role, config: &Config) -> Result<(), Failed> {
    logging::init(&config.log);
    log::info!("{}", config.summary());
    seatlock::faults::begin().map_err(Failed::logged)?;
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    if config.redis.is_none() {
        // A second replica on the same SQLite file is unlikely; on the same PostgreSQL it is likely.
        let level = if config.database.write_url.is_none() { Level::Info } else { Level::Warn };
        log::log!(
            level,
            "seat locks are kept in this process, which is safe for one replica: set REDIS_HOST \
             before starting a second one"
        );
    }
    permit_connections(config.http.max_connections);
    System::new().block_on(serve(config, role))
}

/// Raises the limit of open files, which is usually too low for the start of a sale.
fn permit_connections(connections: usize) {
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(permitted) if permitted < needed => log::warn!(
            "this process may open {permitted} files, too few for MAX_CONNECTIONS={connections}: \
             raise the limit (ulimit -Hn) or lower MAX_CONNECTIONS"
        ),
        Ok(_) => {}
        Err(error) => log::warn!("the limit of open files could not be raised: {error}"),
    }
}

async fn serve(config: &Config, role: Role) -> Result<(), Failed> {
    // Before anything else: in the first process of a container, signals have no default action.
    let mut signals = Signals::listen()
        .map_err(|error| Failed::logged(format!("signals cannot be received: {error}")))?;
    let app = tokio::select! {
        app = App::build(config, role) => app.map_err(Failed::logged)?,
        signal = signals.next() => {
            log::info!("{signal} was received before the service had started: nothing to finish");
            return Ok(());
        }
    };
    log::info!("listening on {}://{}", app.scheme, app.address());
    if let Some(address) = app.metrics_address() {
        log::info!("metrics are at http://{address}/metrics");
    }
    if role == Role::Serve && config.database.write_url.is_none() {
        print_banner(config, &app).await;
    }
    manager::keep_alive(Arc::clone(&app.services().health));
    manager::ready(app.scheme, app.address());
    let stop = async {
        let delay = signals.drain(config.http.drain_delay).await;
        manager::stopping();
        delay
    };
    app.run_until_stopped(stop).await.map_err(Failed::logged)
}

/// Creates the demo event if the database is empty, and prints commands to try. A failure does not stop the service.
async fn print_banner(config: &Config, app: &App) {
    let services = app.services();
    if let Err(reason) = demo::enter_if_empty(&services.catalogue, config).await {
        log::warn!("{reason}");
    }
    let example = examples::find(services).await.unwrap_or_else(|error| {
        log::warn!("the example seats of the banner could not be read: {error}");
        None
    });
    let place = (app.scheme, app.address());
    let text = banner::text(place, example.as_ref(), services.admin_key.is_some());
    if let Err(Failed::Work(reason)) = print(&text) {
        log::warn!("{reason}");
    }
}
