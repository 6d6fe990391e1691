//! Runs the small programs that come with the servers (`initdb`, `psql`, `redis-cli`) to their end.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::watchdog::search_path;

/// A paused server never answers; a test that asks it has to fail, not to hang.
const TIMEOUT_SECONDS: &str = "60";

/// What `command` prints on its standard output, without the white space around it. It runs in
/// `folder`.
///
/// Nothing of the caller's environment but `PATH` gets through: a developer's `PGHOST` must not lead
/// a test to another server.
pub(crate) fn run(folder: &Path, command: &[OsString]) -> String {
    try_run(folder, command).unwrap_or_else(|problem| panic!("{problem}"))
}

/// As [`run`], with the failure as a text.
pub(crate) fn try_run(folder: &Path, command: &[OsString]) -> Result<String, String> {
    let output = Command::new("timeout")
        .arg(TIMEOUT_SECONDS)
        .args(command)
        .current_dir(folder)
        .env_clear()
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .output()
        .expect("timeout(1) of coreutils is needed");
    let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{command:?} failed with {}:\n{printed}\n{complaint}", output.status));
    }
    Ok(printed)
}

/// A command line from texts and paths.
macro_rules! command {
    ($($part:expr),+ $(,)?) => { [$(std::ffi::OsString::from($part)),+] };
}
pub(crate) use command;
