//! A shell process that cleans up after the end of the test process.
//!
//! A watchdog reads its standard input, a pipe whose other end only the test process has: Rust opens it close-on-exec,
//! so no child inherits it. When the test process ends for any reason, the kernel closes that end; the watchdog then
//! reads the end of its input, and cleans up. Dropping a [`Watchdog`] does the same, so every passing test checks it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// A bash script that ends when this value is dropped or the test process ends.
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Starts `script` with the arguments `$1`, `$2`, … in the folder `workplace`.
    pub(crate) fn start(script: &str, workplace: &OsStr, arguments: &[OsString]) -> Self {
        // The script runs in a new session. So a Ctrl-C in the terminal is not sent to it, and the kernel does not
        // resume processes that the script has stopped. (The kernel resumes them if the end of the test process orphans
        // a process group of the same session, see setpgid(2).)
        let shell = Command::new("setsid")
            .args(["bash", "--noprofile", "--norc", "-c", script, "watchdog"])
            .args(arguments)
            .current_dir(workplace)
            .env_clear()
            .env("PATH", search_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bash and setsid(1) of util-linux are needed to watch over test servers");
        Self { shell }
    }

    /// The reports of the script, its standard output. Must be called only once.
    pub(crate) fn take_reports(&mut self) -> impl Read + use<> {
        self.shell.stdout.take().expect("the reports are taken once")
    }

    /// The output of the program, the standard error of the script. Must be called only once.
    pub(crate) fn take_output(&mut self) -> impl Read + use<> {
        self.shell.stderr.take().expect("the output is taken once")
    }

    /// Sends the script one line.
    pub(crate) fn order(&self, line: &str) {
        let mut orders = self.shell.stdin.as_ref().expect("open until the drop");
        // One write of less than PIPE_BUF bytes is never mixed with one of another thread.
        orders.write_all(format!("{line}\n").as_bytes()).expect("a watchdog reads until the end");
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Fails only if there is no process to wait for.
        let _ = self.shell.wait();
    }
}

/// The `PATH` of the test process, or a default.
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}
