//! Runs the tools of the servers (`initdb`, `psql`, `redis-cli`), and waits until they end.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::watchdog::search_path;

/// The time limit of a tool. A paused server never answers, and then the test must fail instead of hanging.
const TIMEOUT_SECONDS: &str = "60";

/// Runs `command` in `folder`, and returns its standard output without leading and trailing white space.
///
/// Its environment contains only the `PATH` of the caller: the `PGHOST` of a developer must not make a test use another
/// server.
pub(crate) fn run(folder: &Path, command: &[OsString]) -> String {
    try_run(folder, command).unwrap_or_else(|problem| panic!("{problem}"))
}

/// Like [`run`], but returns a failure as a text.
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

/// Makes a command line of texts and paths.
macro_rules! command {
    ($($part:expr),+ $(,)?) => { [$(std::ffi::OsString::from($part)),+] };
}
pub(crate) use command;
