//! What every server has: a folder, a port, a program that can be killed and started again.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::folder::Folder;
use crate::port::free_port;
use crate::process::Process;

/// PostgreSQL replays its log before it is ready, and the machine may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How often another port is tried when the one that was free is not any more.
const PORT_ATTEMPTS: usize = 5;

/// How a server is run.
pub(crate) struct Recipe {
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Part of the line that the server prints when it listens on its port.
    pub(crate) ready: &'static str,
    /// Bash code that removes what the server leaves outside its folder when it is killed. Runs in
    /// that folder, each time the server has ended.
    pub(crate) tidy_up: &'static str,
}

/// A server program on a port of its own, which can be killed, frozen and started again.
pub struct Server {
    // Dropped in this order: the folder outlives the program that writes there.
    process: Mutex<Process>,
    folder: Folder,
    recipe: Recipe,
    port: u16,
}

impl Server {
    /// Starts a server in `folder`. `configure` writes the configuration for a port.
    pub(crate) fn start(folder: Folder, recipe: Recipe, configure: impl Fn(u16)) -> Self {
        let mut problem = String::new();
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port();
            configure(port);
            match launch(folder.path(), &recipe) {
                Ok(process) => {
                    return Self { process: Mutex::new(process), folder, recipe, port };
                }
                Err(refusal) => problem = refusal,
            }
        }
        panic!("{:?} does not start: {problem}", recipe.command);
    }

    /// The port on 127.0.0.1. It stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server has printed since it was last started, as far as it has been read: PostgreSQL answers a
    /// statement before its log line is here.
    pub fn log(&self) -> String {
        self.process().output()
    }

    /// The first log line since the server was last started that `wanted` accepts. Signals of other
    /// threads wait meanwhile.
    pub fn wait_for_log_line(&self, wanted: impl FnMut(&str) -> bool, timeout: Duration) -> String {
        self.process().wait_for_line(wanted, timeout)
    }

    /// Kills all processes of the server (SIGKILL), as a power cut would.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Freezes all processes of the server: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// Resumes a paused server.
    pub fn resume(&self) {
        self.process().resume();
    }

    /// Where it runs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills what still runs, and starts the server again, on its port and with what it keeps on disk.
    pub fn restart(&self) {
        let mut process = self.process();
        process.kill();
        *process = launch(self.folder.path(), &self.recipe)
            .unwrap_or_else(|problem| panic!("the server does not start again: {problem}"));
    }

    /// The program as it runs now, to be signalled or read.
    pub(crate) fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a type with a field `server` be used as a [`Server`].
macro_rules! server {
    ($name:ty) => {
        impl std::ops::Deref for $name {
            type Target = Server;

            fn deref(&self) -> &Server {
                &self.server
            }
        }
    };
}
pub(crate) use server;

fn launch(folder: &Path, recipe: &Recipe) -> Result<Process, String> {
    let process = Process::spawn_tidied(folder, &recipe.command, &[], recipe.tidy_up);
    process.find_line(|line| line.contains(recipe.ready), START_TIMEOUT)?;
    Ok(process)
}
