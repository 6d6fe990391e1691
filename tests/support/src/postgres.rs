//! A PostgreSQL server (a cluster, in PostgreSQL's words) of the test process's own.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::cluster::{self, as_server_user, program};
use crate::disk::SmallDisk;
use crate::folder::Folder;
use crate::server::{Recipe, Server, server};
use crate::standby::Standby;
use crate::tool::{command, run};

/// A fast shutdown writes a checkpoint first, and waits for a frozen standby until
/// `wal_sender_timeout` (60 seconds) is over.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

/// The line ends in "connections" on a primary, in "read-only connections" on a standby.
const READY: &str = "database system is ready to accept";

/// A killed server leaves a System V shared memory segment, of which a machine has only so many. Its
/// number is in the seventh line of postmaster.pid (`src/include/utils/pidfile.h` of PostgreSQL); a
/// server that stopped in order has removed both.
const REMOVE_SHARED_MEMORY: &str = "ipcrm -m $(awk 'NR == 7 { print $2 }' data/postmaster.pid)";

/// A fresh PostgreSQL server on 127.0.0.1, in a folder of its own.
///
/// All logins are accepted; the superuser is `app`. `pg_stat_statements` and `auto_explain` are loaded.
/// Whatever is committed survives [`Server::kill`] and [`Server::restart`]: `fsync` is on, as the
/// service insists. Server and folder are gone on drop and when the test process ends.
pub struct Postgres {
    server: Server,
    databases: AtomicU32,
    standbys: AtomicU32,
}

server!(Postgres);

impl Postgres {
    /// Starts a server with the given settings on top (`("synchronous_standby_names", "*")`, …).
    #[must_use]
    pub fn start(options: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        cluster::create(folder.path());
        Self::run(folder, "postgresql.conf", &settings(options), None)
    }

    /// As [`Postgres::start`], with a folder of its data (`pg_wal`, `base`) on a disk of its own of so
    /// many mebibytes.
    pub fn start_on_small_disk(
        part: &str,
        mebibytes: u32,
        options: &[(&str, &str)],
    ) -> (Self, SmallDisk) {
        let folder = Folder::new();
        cluster::create(folder.path());
        let disk = SmallDisk::over(&folder.path().join("data").join(part), mebibytes);
        let postgres = Self::run(folder, "postgresql.conf", &settings(options), Some(&disk));
        (postgres, disk)
    }

    /// Runs a server on the cluster in `folder`/data, on a port of its own. `settings` are added to
    /// the configuration file called `file`, where the last one of a name counts. `disk` is the
    /// mount namespace in which the server runs, if it has one of its own.
    pub(crate) fn run(
        folder: Folder,
        file: &str,
        settings: &[(&str, &str)],
        disk: Option<&SmallDisk>,
    ) -> Self {
        let data = folder.path().join("data");
        let file = data.join(file);
        let defaults = read(&file);
        let command = as_server_user(program("postgres"), &["-D", "data"]);
        let recipe = Recipe {
            command: disk
                .map_or_else(|| command.clone(), |disk| disk.command(folder.path(), &command)),
            ready: READY,
            tidy_up: REMOVE_SHARED_MEMORY,
        };
        let server = Server::start(folder, recipe, |port| {
            let (port, sockets) = (port.to_string(), data.to_string_lossy());
            let place = [("port", port.as_str()), ("unix_socket_directories", &sockets)];
            write(&file, &format!("{defaults}\n{}", lines(&[&place, settings].concat())));
        });
        let postgres = Self { server, databases: AtomicU32::new(0), standbys: AtomicU32::new(0) };
        let found = postgres.psql("postgres", "SELECT current_setting('data_directory')");
        assert_eq!(Path::new(&found), data, "another server answers on this port");
        postgres
    }

    /// The server that the tests of this process share, started when it is first asked for.
    ///
    /// Not to be killed or paused: a test that does has a server of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// Creates an empty database with a name of its own and gives its address:
    /// `postgres://app@127.0.0.1:PORT/NAME`.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.address(&name)
    }

    /// Starts a streaming standby of this server and waits until it has all that is committed here.
    ///
    /// From then on this server keeps whatever the standby has not received, even when the standby
    /// is killed or dropped: a test that writes much afterwards has a server of its own.
    #[must_use]
    pub fn standby(&self) -> Standby {
        let slot = format!("standby_{}", self.standbys.fetch_add(1, Ordering::Relaxed));
        Standby::start(self, &slot)
    }

    /// Runs SQL in `database` (a name or an address of [`Postgres::create_database`]) and gives the
    /// rows, one a line, columns separated by `|`.
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

    /// Stops the server as an operator would ("fast shutdown"): sessions get an error and are closed, and
    /// its standbys receive the rest first (a paused one holds this up for a minute).
    pub fn stop(&self) {
        let process = self.server.process();
        process.signal("INT");
        process.wait_exit(STOP_TIMEOUT);
    }

    /// The address of a database of this server.
    pub(crate) fn address(&self, database: &str) -> String {
        format!("postgres://app@127.0.0.1:{}/{database}", self.port())
    }
}

/// What is not as PostgreSQL has it by default, with a test's own settings on top.
fn settings<'a>(options: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    // What a standby needs of its primary (wal_level, max_wal_senders, max_replication_slots, a line in
    // pg_hba.conf) is there by default since PostgreSQL 10.
    let ours = [
        ("listen_addresses", "127.0.0.1"),
        ("max_connections", "300"),
        // In the folder, so that it vanishes with it; /dev/shm is not emptied after a killed server.
        ("dynamic_shared_memory_type", "mmap"),
        ("shared_preload_libraries", "pg_stat_statements,auto_explain"),
    ];
    [&ours, options].concat()
}

/// The settings as lines of a configuration file.
fn lines(settings: &[(&str, &str)]) -> String {
    settings
        .iter()
        .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
