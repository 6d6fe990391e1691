//! A Redis server of the test process's own.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::folder::Folder;
use crate::server::{Recipe, Server};
use crate::tool::{command, run};

/// How many numbered databases a server has; each test takes one.
const DATABASES: u32 = 1024;

/// A fresh Redis server on 127.0.0.1 that keeps nothing on disk.
///
/// Server and folder are gone on drop and when the test process ends.
pub struct Redis {
    server: Server,
    databases: AtomicU32,
}

impl Redis {
    /// Starts a server with the given lines of redis.conf on top (`("maxmemory", "2mb")`, …).
    ///
    /// # Panics
    /// When Redis is not installed or does not start; shows what it said.
    #[must_use]
    pub fn start(options: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let path = folder.path().join("redis.conf");
        let recipe = Recipe {
            command: command!["redis-server", &path].to_vec(),
            ready: "Ready to accept connections",
            tidy_up: "",
        };
        let server = Server::start(folder, recipe, |port| {
            let configuration = configuration(port, options);
            fs::write(&path, configuration).expect("the folder is ours to write");
        });
        Self { server, databases: AtomicU32::new(0) }
    }

    /// The server that the tests of this process share, started by whoever asks first.
    ///
    /// Not to be killed, paused or flushed: a test that does has a server of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// The port on 127.0.0.1. It stays the same over a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The number of a database that nobody has been given yet.
    ///
    /// # Panics
    /// When all 1,024 have been given away.
    #[must_use]
    pub fn fresh_db(&self) -> u32 {
        let database = self.databases.fetch_add(1, Ordering::Relaxed);
        assert!(database < DATABASES, "no database left: start another server for these tests");
        database
    }

    /// Runs `redis-cli` with these arguments (`["-n", "3", "get", "key"]`) and gives what it prints.
    ///
    /// An error reply is printed like any other.
    ///
    /// # Panics
    /// When the server cannot be reached or does not answer within a minute.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port().to_string();
        let mut cli = command!["redis-cli", "-h", "127.0.0.1", "-p", port].to_vec();
        cli.extend(arguments.iter().map(OsString::from));
        run(Path::new("/"), &cli)
    }

    /// What the server has logged since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.process().output()
    }

    /// Kills the server (SIGKILL).
    pub fn kill(&self) {
        self.server.process().kill();
    }

    /// Freezes the server: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.server.process().pause();
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.server.process().resume();
    }

    /// Starts the server again, on its port and empty; kills it first if it still runs.
    ///
    /// # Panics
    /// When it does not start; shows what it said.
    pub fn restart(&self) {
        self.server.restart();
    }
}

/// The text of redis.conf. The last line of a name counts, so the test's own come last.
fn configuration(port: u16, options: &[(&str, &str)]) -> String {
    let port = port.to_string();
    let databases = DATABASES.to_string();
    let ours = [
        ("bind", "127.0.0.1"),
        ("port", port.as_str()),
        ("databases", databases.as_str()),
        ("save", "\"\""),
        ("appendonly", "no"),
        ("daemonize", "no"),
    ];
    ours.iter().chain(options).map(|(name, value)| format!("{name} {value}\n")).collect()
}
