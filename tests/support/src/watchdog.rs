//! The shell that outlives the test process for a moment, to clean up after it.
//!
//! A watchdog reads its standard input, a pipe whose other end only the test process has: Rust opens
//! it close-on-exec, so no child inherits it. However the test process ends, the kernel closes that
//! end, the watchdog reads the end of its input and does its last duty. Dropping a [`Watchdog`] takes
//! the same path, so every passing test proves it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// A bash script that ends with this value or with the test process, whichever comes first.
pub(crate) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    /// Starts `script` with the arguments `$1`, `$2`, … in the folder `workplace`.
    pub(crate) fn start(script: &str, workplace: &OsStr, arguments: &[OsString]) -> Self {
        // A session of its own: a Ctrl-C in the terminal does not reach it, and the kernel does not
        // wake what it has stopped (it does when the end of the test process orphans a process group
        // of the same session, see setpgid(2)).
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

    /// What the script reports, line by line. Can be taken once.
    pub(crate) fn take_reports(&mut self) -> impl Read + use<> {
        self.shell.stdout.take().expect("the reports are taken once")
    }

    /// What the script and the programs in it print. Can be taken once.
    pub(crate) fn take_output(&mut self) -> impl Read + use<> {
        self.shell.stderr.take().expect("the output is taken once")
    }

    /// Sends the script one line.
    pub(crate) fn order(&self, line: &str) {
        let mut orders = self.shell.stdin.as_ref().expect("open until the drop");
        // One write of less than PIPE_BUF: never mixed with another thread's.
        orders.write_all(format!("{line}\n").as_bytes()).expect("a watchdog reads until the end");
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // Fails only where there is nothing left to wait for.
        let _ = self.shell.wait();
    }
}

/// The folders in which programs are found, as in the test's own environment.
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}
