//! A PostgreSQL server (a cluster, in PostgreSQL's words) of the test process's own.

use std::ffi::OsString;
use std::fs;
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::folder::Folder;
use crate::server::{Recipe, Server};
use crate::tool::{command, run};

/// A fast shutdown writes a checkpoint first.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// A killed server leaves a System V shared memory segment, of which a machine has only so many. Its
/// number is in the seventh line of postmaster.pid (`src/include/utils/pidfile.h` of PostgreSQL); a
/// server that stopped in order has removed both.
const REMOVE_SHARED_MEMORY: &str = "ipcrm -m $(awk 'NR == 7 { print $2 }' data/postmaster.pid)";

/// A fresh PostgreSQL server on 127.0.0.1, in a folder of its own.
///
/// Anybody may log in; the superuser is `app`. `pg_stat_statements` and `auto_explain` are loaded.
/// Whatever is committed survives [`Postgres::kill`] and [`Postgres::restart`]: `fsync` is on, as the
/// service insists. Server and folder are gone on drop and when the test process ends.
pub struct Postgres {
    server: Server,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a server with the given settings on top (`("synchronous_standby_names", "*")`, …).
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start; shows what it said.
    #[must_use]
    pub fn start(options: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let data = folder.path().join("data");
        create_cluster(folder.path());
        let defaults = read(&data.join("postgresql.conf"));
        let recipe = Recipe {
            command: as_server_user(program("postgres"), &["-D", "data"]),
            ready: "database system is ready to accept connections",
            tidy_up: REMOVE_SHARED_MEMORY,
        };
        let server = Server::start(folder, recipe, |port| {
            let settings = settings(port, &data, options);
            write(&data.join("postgresql.conf"), &format!("{defaults}\n{settings}"));
        });
        let postgres = Self { server, databases: AtomicU32::new(0) };
        let found = postgres.psql("postgres", "SELECT current_setting('data_directory')");
        assert_eq!(Path::new(&found), data, "another server answers on this port");
        postgres
    }

    /// The server that the tests of this process share, started by whoever asks first.
    ///
    /// Not to be killed or paused: a test that does has a server of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// The port on 127.0.0.1. It stays the same over a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Creates an empty database with a name of its own and gives its address:
    /// `postgres://app@127.0.0.1:PORT/NAME`.
    #[must_use]
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.address(&name)
    }

    /// Runs SQL in `database` (a name or an address of [`Postgres::create_database`]) and gives the
    /// rows, one a line, columns separated by `|`.
    ///
    /// # Panics
    /// When a statement fails, or none answers within a minute.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let address = match database.contains("://") {
            true => database.to_owned(),
            false => self.address(database),
        };
        let settings = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"].map(OsString::from);
        let mut psql = command![program("psql")].to_vec();
        psql.extend(settings);
        psql.extend(command!["-c", sql, address]);
        run(Path::new("/"), &psql)
    }

    /// What the server has logged since it was last started, as far as it has been read: a statement
    /// is answered before its log line is here.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.process().output()
    }

    /// The first log line since the server was last started that `wanted` accepts. Signals of other
    /// threads wait meanwhile.
    ///
    /// # Panics
    /// When there is none within `timeout`, or when the server ends without one.
    pub fn wait_for_log_line(&self, wanted: impl FnMut(&str) -> bool, timeout: Duration) -> String {
        self.server.process().wait_for_line(wanted, timeout)
    }

    /// Kills all processes of the server (SIGKILL), as a power cut would.
    pub fn kill(&self) {
        self.server.process().kill();
    }

    /// Stops the server as an operator would ("fast shutdown"): sessions are told and closed.
    pub fn stop(&self) {
        let process = self.server.process();
        process.signal("INT");
        process.wait_exit(STOP_TIMEOUT);
    }

    /// Freezes all processes of the server: connections stay open, nothing answers.
    pub fn pause(&self) {
        self.server.process().pause();
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.server.process().resume();
    }

    /// Starts the server again, on its port and with its data; kills it first if it still runs.
    ///
    /// # Panics
    /// When it does not start; shows what it said.
    pub fn restart(&self) {
        self.server.restart();
    }

    fn address(&self, database: &str) -> String {
        format!("postgres://app@127.0.0.1:{}/{database}", self.port())
    }
}

/// The settings for postgresql.conf. The last one of a name counts, so the test's own come last.
fn settings(port: u16, data: &Path, options: &[(&str, &str)]) -> String {
    let port = port.to_string();
    let data = data.to_string_lossy();
    let ours = [
        ("listen_addresses", "127.0.0.1"),
        ("port", port.as_str()),
        ("unix_socket_directories", &data),
        ("max_connections", "300"),
        // In the folder, so that it vanishes with it; /dev/shm is not emptied after a killed server.
        ("dynamic_shared_memory_type", "mmap"),
        ("shared_preload_libraries", "pg_stat_statements,auto_explain"),
    ];
    ours.iter()
        .chain(options)
        .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
        .collect()
}

/// Makes the files of a new cluster in `folder`/data.
fn create_cluster(folder: &Path) {
    let owner = if is_root() { "postgres" } else { "" };
    let script = command!["bash", "--norc", "-c", include_str!("cluster.sh"), "cluster", owner];
    // An empty cluster lost in a power cut is no loss, so initdb need not flush it. The server does.
    let settings = ["--no-sync", "--auth=trust", "--username=app", "--encoding=UTF8", "--locale=C"];
    let initdb = as_server_user(program("initdb"), &settings);
    run(folder, &[&script[..], &initdb].concat());
}

/// PostgreSQL refuses to run as root; then it runs as the user that its package makes.
fn as_server_user(program: PathBuf, arguments: &[&str]) -> Vec<OsString> {
    let user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"];
    let prefix = if is_root() { &user[..] } else { &[] };
    let program = iter::once(program.into_os_string());
    let arguments = arguments.iter().map(OsString::from);
    prefix.iter().map(OsString::from).chain(program).chain(arguments).collect()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A program of the newest PostgreSQL in Debian's layout, where `PATH` has only `psql`; elsewhere
/// the one in `PATH`.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions
        .filter_map(|version| {
            let number: u32 = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path().join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .max()
        .map_or_else(|| PathBuf::from(name), |(_, programs)| programs.join(name))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
