//! A program under test. It is started with its own environment, and can be observed, signalled and killed.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::folder::Folder;
use crate::progress::Watched;
use crate::watchdog::{Watchdog, search_path};

/// The longest time to send a signal, and until a killed process has ended, on a busy machine.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The most lines of output that a failure shows: the last ones.
const LINES_SHOWN: usize = 40;

/// A running program. It is killed, with its children, on drop and when the test process ends.
pub struct Process {
    // Fields are dropped in this order, so that the folder is deleted after the program that writes to it has ended.
    watchdog: Watchdog,
    watched: Watched,
    signalling: Mutex<()>,
    _folder: Option<Folder>,
}

impl Process {
    /// Starts `program` without arguments in a new, empty folder. Its environment contains only `environment` and
    /// `PATH`.
    ///
    /// Does not wait. A program that cannot be run ends with exit code 126 or 127.
    #[must_use]
    pub fn spawn(program: &Path, environment: &[(&str, &str)]) -> Self {
        Self::spawn_command(&[program.into()], environment)
    }

    /// Like [`Process::spawn`], for `command`: a program and its arguments.
    #[must_use]
    pub fn spawn_command(command: &[OsString], environment: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let process = Self::spawn_in(folder.path(), command, environment);
        Self { _folder: Some(folder), ..process }
    }

    /// Starts `command` (a program and its arguments) in `folder`, which the caller must not delete meanwhile. Its
    /// environment contains only `environment` and `PATH`.
    #[must_use]
    pub fn spawn_in(folder: &Path, command: &[OsString], environment: &[(&str, &str)]) -> Self {
        Self::spawn_tidied(folder, command, environment, "")
    }

    /// Like [`Process::spawn_in`]. `tidy_up` is bash code that runs in `folder` when the program has ended for any
    /// reason, including the end of the test process.
    pub(crate) fn spawn_tidied(
        folder: &Path,
        command: &[OsString],
        environment: &[(&str, &str)],
        tidy_up: &str,
    ) -> Self {
        // Bash exports its own variables. env(1) removes them and executes the program.
        let mut arguments: Vec<OsString> =
            vec![tidy_up.into(), "env".into(), "-i".into(), "--".into()];
        arguments.push(variable("PATH", &search_path()));
        arguments.extend(environment.iter().map(|(name, value)| variable(name, value.as_ref())));
        arguments.extend_from_slice(command);

        let mut watchdog =
            Watchdog::start(include_str!("process.sh"), folder.as_os_str(), &arguments);
        let watched = Watched::default();
        watched.collect_output(watchdog.take_output());
        watched.follow_reports(watchdog.take_reports());
        Self { watchdog, watched, signalling: Mutex::new(()), _folder: None }
    }

    /// The process id, for example to read files in `/proc`.
    pub fn pid(&self) -> u32 {
        self.watched
            .wait_for(SIGNAL_TIMEOUT, |progress| progress.pid)
            .expect("the watchdog reports a process id")
    }

    /// All lines that were printed until now, on both streams.
    pub fn output(&self) -> String {
        self.watched.look(|progress| progress.lines.join("\n"))
    }

    /// Waits for the first line of the output that `wanted` accepts, and returns the line.
    pub fn wait_for_line(&self, wanted: impl FnMut(&str) -> bool, timeout: Duration) -> String {
        self.find_line(wanted, timeout).unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Like [`Process::wait_for_line`], but returns a failure as a text with the last output.
    pub(crate) fn find_line(
        &self,
        mut wanted: impl FnMut(&str) -> bool,
        timeout: Duration,
    ) -> Result<String, String> {
        let mut seen = 0;
        let found = self.watched.wait_for(timeout, |progress| {
            let line = progress.lines.iter().skip(seen).find(|line| wanted(line)).cloned();
            seen = progress.lines.len();
            // The inner value is `None` if the output ended without the line.
            line.map(Some).or(progress.output_ended.then_some(None))
        });
        match found {
            Some(Some(line)) => Ok(line),
            Some(None) => Err(self.describe("ended without the expected line")),
            None => Err(self.describe(&format!("no expected line within {timeout:?}"))),
        }
    }

    /// Waits until the program has ended and all its output was read. Returns its exit code.
    ///
    /// The exit code is that of a shell: 128 plus the number of the signal if a signal ended the program.
    pub fn wait_exit(&self, timeout: Duration) -> i32 {
        self.watched
            .wait_for(timeout, |progress| progress.exit_code.filter(|_| progress.output_ended))
            .unwrap_or_else(|| panic!("{}", self.describe(&format!("runs on after {timeout:?}"))))
    }

    /// Whether the program has not ended yet. A paused program has not ended.
    pub fn is_running(&self) -> bool {
        self.watched.look(|progress| progress.exit_code.is_none())
    }

    /// Kills the program and its children (SIGKILL), and waits until they have ended.
    pub fn kill(&self) {
        self.signal("KILL");
        self.wait_exit(SIGNAL_TIMEOUT);
    }

    /// Asks the program to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Pauses the program and its children (SIGSTOP): connections stay open, but nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Resumes a paused program (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Sends the signal `name` (`HUP`, `INT`, …), and returns when it has been sent. `KILL`, `STOP` and `CONT` are also
    /// sent to the children. Does nothing if the program has ended.
    pub fn signal(&self, name: &str) {
        // One signal at a time is sent, so that the next report is about this signal.
        let _turn = self.signalling.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.watched.look(|progress| progress.signals_sent);
        self.watchdog.order(name);
        self.watched
            .wait_for(SIGNAL_TIMEOUT, |progress| (progress.signals_sent > before).then_some(()))
            .unwrap_or_else(|| panic!("cannot send {name}: the watchdog does not answer"));
    }

    fn describe(&self, problem: &str) -> String {
        self.watched.look(|progress| {
            let skipped = progress.lines.len().saturating_sub(LINES_SHOWN);
            let lines: Vec<_> = progress.lines.iter().skip(skipped).map(String::as_str).collect();
            let pid = progress.pid.unwrap_or_default();
            let exit = progress.exit_code;
            format!(
                "process {pid} (exit code {exit:?}) {problem}; its output:\n{}",
                lines.join("\n")
            )
        })
    }
}

fn variable(name: &str, value: &OsStr) -> OsString {
    let mut variable = OsString::from(name);
    variable.push("=");
    variable.push(value);
    variable
}
