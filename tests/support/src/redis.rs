//! A Redis server for one test process.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use crate::certificates::Certificates;
use crate::folder::Folder;
use crate::server::{Recipe, Server, server};
use crate::tool::{command, try_run};

/// The number of databases of a server. Each test uses its own database.
const DATABASES: u32 = 1024;

/// How clients, and other servers, connect to a server.
#[derive(Clone, Default)]
pub struct Access {
    /// The password of the default user.
    pub password: Option<String>,
    /// If given, only encrypted connections are accepted.
    pub certificates: Option<Arc<Certificates>>,
}

impl Access {
    /// With a password.
    #[must_use]
    pub fn by_password(password: &str) -> Self {
        Self { password: Some(password.to_owned()), certificates: None }
    }

    /// With a password and encryption.
    #[must_use]
    pub fn encrypted(password: &str) -> Self {
        let certificates = Some(Arc::new(Certificates::new()));
        Self { certificates, ..Self::by_password(password) }
    }

    /// The lines for redis.conf of a server, or of a Sentinel, on this port.
    fn lines(&self, port: u16) -> String {
        let mut lines = match &self.certificates {
            None => format!("port {port}\n"),
            Some(certificates) => format!(
                "port 0\ntls-port {port}\ntls-auth-clients no\ntls-replication yes\n\
                 tls-ca-cert-file {}\ntls-cert-file {}\ntls-key-file {}\n",
                certificates.ca().display(),
                certificates.certificate().display(),
                certificates.key().display()
            ),
        };
        if let Some(password) = &self.password {
            lines += &format!("requirepass {password}\n");
        }
        lines
    }

    /// The arguments of redis-cli.
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        if let Some(password) = &self.password {
            arguments.extend(command!["-a", password, "--no-auth-warning"]);
        }
        if let Some(certificates) = &self.certificates {
            arguments.extend(command!["--tls", "--cacert", certificates.ca()]);
        }
        arguments
    }
}

/// A new Redis server on 127.0.0.1 without persistence.
///
/// The server is killed and its folder deleted on drop and when the test process ends.
pub struct Redis {
    server: Server,
    access: Access,
    databases: AtomicU32,
}

server!(Redis);

impl Redis {
    /// Starts a server with these additional lines of redis.conf (`("maxmemory", "2mb")`, …).
    #[must_use]
    pub fn start(options: &[(&str, &str)]) -> Self {
        Self::start_with(options, &Access::default())
    }

    /// Like [`Redis::start`], but with a password or encryption.
    #[must_use]
    pub fn start_with(options: &[(&str, &str)], access: &Access) -> Self {
        let configuration = |port| configuration(port, options, access);
        let ready = "Ready to accept connections";
        Self::run(&command!["redis-server", "redis.conf"], ready, access, configuration)
    }

    /// Starts a Sentinel with these additional lines of configuration.
    pub(crate) fn start_sentinel(lines: &str, access: &Access) -> Self {
        let command = command!["redis-server", "redis.conf", "--sentinel"];
        let configuration = |port| format!("bind 127.0.0.1\n{}{lines}", access.lines(port));
        Self::run(&command, "Sentinel ID is", access, configuration)
    }

    fn run(
        command: &[OsString],
        ready: &'static str,
        access: &Access,
        configuration: impl Fn(u16) -> String,
    ) -> Self {
        let folder = Folder::new();
        let path = folder.path().join("redis.conf");
        let recipe = Recipe { command: command.to_vec(), ready, tidy_up: "" };
        let server = Server::start(folder, recipe, |port| {
            fs::write(&path, configuration(port)).expect("the folder is ours to write");
        });
        Self { server, access: access.clone(), databases: AtomicU32::new(0) }
    }

    /// The server that the tests of this process share. The first call starts it.
    ///
    /// It must not be killed, paused or flushed. A test that does so must start its own server.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// The number of a database that no test uses yet.
    pub fn fresh_db(&self) -> u32 {
        let database = self.databases.fetch_add(1, Ordering::Relaxed);
        assert!(database < DATABASES, "no database left: start another server for these tests");
        database
    }

    /// Runs `redis-cli` with these arguments (`["-n", "3", "get", "key"]`), and returns its output.
    ///
    /// An error reply is returned like any other reply.
    pub fn cli(&self, arguments: &[&str]) -> String {
        self.try_cli(arguments).unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Like [`Redis::cli`], but returns a failure as a text: a server that becomes a master or a replica closes the
    /// connections of its clients.
    pub(crate) fn try_cli(&self, arguments: &[&str]) -> Result<String, String> {
        let port = self.port().to_string();
        let mut cli = command!["redis-cli", "-h", "127.0.0.1", "-p", port].to_vec();
        cli.extend(self.access.arguments());
        cli.extend(arguments.iter().map(OsString::from));
        try_run(Path::new("/"), &cli)
    }
}

/// The text of redis.conf. The last line of a name is used, so the lines of the test are at the end.
fn configuration(port: u16, options: &[(&str, &str)], access: &Access) -> String {
    let databases = DATABASES.to_string();
    let ours = [
        ("bind", "127.0.0.1"),
        ("databases", databases.as_str()),
        ("save", "\"\""),
        ("appendonly", "no"),
        ("daemonize", "no"),
    ];
    let lines = ours.iter().chain(options).map(|(name, value)| format!("{name} {value}\n"));
    access.lines(port) + &lines.collect::<String>()
}
