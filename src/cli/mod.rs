//! The command line, a file for each command, and what the commands share: exit codes, configuration, output.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod healthcheck;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod keys;
mod logging;
pub(crate) mod migrate;
mod progress;
pub(crate) mod queue;
pub(crate) mod serve;
mod signals;
pub(crate) mod verify;
pub(crate) mod worker;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use seatlock::config::{Config, ConfigProblems};
use seatlock::domain::clock::EpochMs;
use seatlock::domain::effect::Once;
use seatlock::domain::execution_error::StoreError;
use seatlock::domain::rejection::Rejection;
use seatlock::telemetry::redaction::redact;

/// `EX_USAGE` is 64 (sysexits.h), but clap and most shells use 2.
const USAGE: u8 = 2;

/// `EX_CONFIG` of sysexits.h.
const CONFIGURATION: u8 = 78;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The command line contradicts itself, or a value is out of range.
    Usage(String),
    /// The configuration is wrong.
    Configuration(ConfigProblems),
    /// The work failed; the text is for a person at the command line.
    Work(String),
    /// The work failed, and the reason is in the log.
    Logged,
}

impl Failed {
    /// Logs why the work failed, for commands whose output is read by machines.
    fn logged(reason: impl Display) -> Self {
        log::error!("{reason}");
        Self::Logged
    }

    /// Writes the reason to the standard error, and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, ExitCode::from(USAGE)),
            Self::Configuration(problems) => (problems.to_string(), ExitCode::from(CONFIGURATION)),
            Self::Work(text) => (text, ExitCode::FAILURE),
            Self::Logged => return ExitCode::FAILURE,
        };
        // If the standard error is closed, the exit code is the only report.
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

/// Writes a command's result to the standard output.
pub(crate) fn print(text: &str) -> Result<(), Failed> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(redact(text).as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that has read enough, such as `head`, closes the pipe.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failed::Work(format!("cannot write to the standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// The result of a command without an Idempotency-Key, or why it failed.
fn done<T>(outcome: Result<Once<T>, StoreError>) -> Result<T, String> {
    match outcome {
        Ok(Once::Done(entered)) => Ok(entered),
        Ok(Once::Refused(Rejection::NotFound(what))) => Err(format!("there is no such {what}")),
        Ok(Once::Refused(refusal)) => Err(format!("it was refused: {refusal:?}")),
        Ok(Once::Replayed(_)) => Err("it was answered from the records of another request".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The time of this machine's clock, only to choose dates; decisions use the database's clock.
fn now() -> EpochMs {
    SystemTime::now().into()
}

/// An address that a client can connect to: the loopback address if the server listens on the unspecified address.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}
