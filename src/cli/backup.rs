//! `seatlock backup`: copies the SQLite database while the service runs.

use std::path::PathBuf;

use actix_web::rt::System;
use seatlock::app::store_settings;
use seatlock::store::Store;

use super::progress::ElapsedTime;
use super::{Failed, print, read_config};

#[derive(Debug, clap::Args)]
pub(crate) struct BackupArguments {
    /// The file to write; it must not exist
    file: PathBuf,
}

pub(crate) fn run(arguments: &BackupArguments) -> Result<(), Failed> {
    let settings = store_settings(&read_config()?);
    let progress = ElapsedTime::of("copying the database");
    let size = System::new()
        .block_on(progress.show_during(Store::back_up(&settings, &arguments.file)))
        .map_err(|error| Failed::Work(error.to_string()))?;
    print(&format!("the database was copied to {}, {size} bytes\n", arguments.file.display()))
}
