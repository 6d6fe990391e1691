//! `seatlock history begin`: the database is a new history, although it does not look like one.

use actix_web::rt::System;
use clap::Subcommand;
use seatlock::app::store_settings;
use seatlock::store::Store;

use super::{Failed, logging, print, read_config};

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Give the database a new history: clients and caches load everything again; the service may run meanwhile
    Begin,
}

pub(crate) fn run(arguments: &HistoryArguments) -> Result<(), Failed> {
    let Command::Begin = arguments.command;
    let config = read_config()?;
    logging::init(&config.log);
    let settings = store_settings(&config);
    let (before, after) = System::new()
        .block_on(Store::begin_history(&settings))
        .map_err(|error| Failed::Work(format!("no new history was begun: {error}")))?;
    print(&format!("history {after} begins; the history before was {before}\n"))
}
