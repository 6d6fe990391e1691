//! The common part of all servers: a folder, a port, and a program that can be killed and started again.

use std::ffi::OsString;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::folder::Folder;
use crate::port::free_port;
use crate::process::Process;

/// The longest time until a server is ready. PostgreSQL replays its log first, and the machine may be busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The most attempts to start a server, each on another port.
const PORT_ATTEMPTS: usize = 5;

/// How to run a server.
pub(crate) struct Recipe {
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    /// A part of the line that the server prints when it listens on its port.
    pub(crate) ready: &'static str,
    /// Bash code that removes resources outside of the folder that a killed server leaves behind. It runs in the
    /// folder, each time the server has ended.
    pub(crate) tidy_up: &'static str,
}

/// A server program on a free port, which can be killed, paused and started again.
pub struct Server {
    // Fields are dropped in this order, so that the folder is deleted after the program that writes to it has ended.
    process: Mutex<Process>,
    folder: Folder,
    recipe: Recipe,
    port: u16,
}

impl Server {
    /// Starts a server in `folder`. `configure` writes the configuration for the given port.
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

    /// The output of the server since its last start, as far as it has been read. PostgreSQL may answer a statement
    /// before its log line has been read.
    pub fn log(&self) -> String {
        self.process().output()
    }

    /// Waits for the first log line since the last start of the server that `wanted` accepts, and returns the line.
    /// Other threads cannot send signals meanwhile.
    pub fn wait_for_log_line(&self, wanted: impl FnMut(&str) -> bool, timeout: Duration) -> String {
        self.process().wait_for_line(wanted, timeout)
    }

    /// Kills all processes of the server (SIGKILL), which simulates a power failure.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Pauses all processes of the server: connections stay open, but nothing is answered.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// Resumes a paused server.
    pub fn resume(&self) {
        self.process().resume();
    }

    /// The folder in which the server runs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the server if it still runs, and starts it again, on the same port and with the same files.
    pub fn restart(&self) {
        let mut process = self.process();
        process.kill();
        *process = launch(self.folder.path(), &self.recipe)
            .unwrap_or_else(|problem| panic!("the server does not start again: {problem}"));
    }

    /// The current process of the server.
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
