//! The command line, a file per command, and what the commands share: how they end, where they write.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod healthcheck;
mod http_client;
pub(crate) mod import;
mod logging;
pub(crate) mod metrics;
pub(crate) mod migrate;
pub(crate) mod openapi;
pub(crate) mod queue;
pub(crate) mod serve;
mod signals;
pub(crate) mod verify;
pub(crate) mod worker;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use seatlock::config::{Config, ConfigProblems};
use seatlock::domain::clock::EpochMs;
use seatlock::domain::effect::Once;
use seatlock::domain::execution_error::StoreError;
use seatlock::domain::rejection::Rejection;
use seatlock::telemetry::redaction::redact;

/// `EX_USAGE` would be 64 (sysexits.h), but clap and most shells say 2.
const USAGE: u8 = 2;

/// `EX_CONFIG` of sysexits.h.
const CONFIGURATION: u8 = 78;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The command line contradicts itself, or what it says is out of bounds.
    Usage(String),
    /// The configuration is wrong.
    Configuration(ConfigProblems),
    /// The work failed; the reader is a person at the command line.
    Work(String),
    /// The work failed, and the log says why.
    Logged,
}

impl Failed {
    /// Writes to the log why the work failed. For commands whose reader is a machine.
    fn logged(reason: impl Display) -> Self {
        log::error!("{reason}");
        Self::Logged
    }

    /// Says on the standard error what went wrong, and gives the exit code for it.
    pub(crate) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, ExitCode::from(USAGE)),
            Self::Configuration(problems) => (problems.to_string(), ExitCode::from(CONFIGURATION)),
            Self::Work(text) => (text, ExitCode::FAILURE),
            Self::Logged => return ExitCode::FAILURE,
        };
        // Nobody is left to be told when the standard error is closed.
        let _ = writeln!(io::stderr(), "seatlock: {}", redact(&text));
        code
    }
}

/// Reads the configuration from the environment and the `.env` file of the working directory.
fn read_config() -> Result<Config, Failed> {
    let utf8 = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::read(utf8, Some(Path::new(".env"))).map_err(Failed::Configuration)
}

/// Writes a command's answer to the standard output.
fn print(text: &str) -> Result<(), Failed> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(redact(text).as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that has read enough, such as `head`, is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failed::Work(format!("cannot write to the standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// What was entered without an Idempotency-Key, or why it was not.
fn done<T>(outcome: Result<Once<T>, StoreError>) -> Result<T, String> {
    match outcome {
        Ok(Once::Done(entered)) => Ok(entered),
        Ok(Once::Refused(Rejection::NotFound(what))) => Err(format!("there is no such {what}")),
        Ok(Once::Refused(refusal)) => Err(format!("it was refused: {refusal:?}")),
        Ok(Once::Replayed(_)) => Err("it was answered from the records of another request".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The time on this machine's clock, to choose dates by; seats are judged by the database's.
fn now() -> EpochMs {
    SystemTime::now().into()
}
