//! The program `seatlock`: reads the command line and runs the command.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use seatlock::config::HOLD_TTL_MAX_DEFAULT;
use seatlock::http::openapi;
use seatlock::telemetry::metrics::catalogue;

use cli::{
    backup, bench, config, healthcheck, history, import, keys, migrate, print, queue, serve,
    verify, worker,
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Sells assigned seats: exactly one buyer gets each seat, and no acknowledged booking is lost.
///
/// Without a command the program serves. Environment variables configure it; they override a .env file
/// in the working directory. `seatlock config list` lists them.
#[derive(Debug, Parser)]
#[command(version, after_help = "Exit codes: 0 done, 1 failed, 2 usage, 78 configuration.")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API (the default command)
    Serve,
    /// Execute the queued requests, in a separate process
    Worker,
    /// List the dead letters of the queue, put them back into the queue, or delete them
    Queue(queue::QueueArguments),
    /// Bring the database's schema up to date
    Migrate,
    /// Begin a new history of the database, after a restore or a clone that is not recognised as one
    History(history::HistoryArguments),
    /// Put a seat plan (CSV or pretix) on sale: a stored plan, an event and a schedule with its seats
    Import(Box<import::ImportArguments>),
    /// Create, list, rotate and revoke API keys
    Keys(keys::KeysArguments),
    /// Check the configuration, or list its variables
    Config(config::ConfigArguments),
    /// Check every invariant of the database without changing it; exits with 1 if one is violated
    Verify(verify::VerifyArguments),
    /// Copy the SQLite database to a file while the service runs (PostgreSQL has its own tools)
    Backup(backup::BackupArguments),
    /// Measure bookings per second in several scenarios, of a running service or of one of its own, and audit them
    Bench(bench::Arguments),
    /// Print the API's OpenAPI document
    Openapi,
    /// Print the catalogue of metrics, as Markdown
    Metrics,
    /// Check whether a running service is alive: exit code 0 or 1
    Healthcheck(healthcheck::HealthcheckArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(),
        Command::Worker => worker::run(),
        Command::Queue(arguments) => queue::run(&arguments),
        Command::Migrate => migrate::run(),
        Command::History(arguments) => history::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Openapi => print(&openapi::json(HOLD_TTL_MAX_DEFAULT)),
        Command::Metrics => print(&catalogue::markdown()),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => failed.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
