//! A PostgreSQL server for one test process.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::certificates::Certificates;
use crate::citus::Citus;
use crate::cluster::{self, as_server_user, program};
use crate::disk::SmallDisk;
use crate::folder::Folder;
use crate::server::{Recipe, Server, server};
use crate::standby::Standby;
use crate::tool::{command, try_run};

/// The longest time of a fast shutdown, which writes a checkpoint first, and waits for a paused standby until
/// `wal_sender_timeout` (60 seconds) has passed.
const STOP_TIMEOUT: Duration = Duration::from_secs(120);

/// The beginning of the line that a ready server logs. It ends with "connections" on a primary, and with "read-only
/// connections" on a standby.
const READY: &str = "database system is ready to accept";

/// A killed server leaves a System V shared memory segment behind, and the number of segments of a machine is limited.
/// The number of the segment is in the seventh line of postmaster.pid (`src/include/utils/pidfile.h` of PostgreSQL). A
/// server that was shut down has removed both.
const REMOVE_SHARED_MEMORY: &str = "ipcrm -m $(awk 'NR == 7 { print $2 }' data/postmaster.pid)";

/// A new PostgreSQL server on 127.0.0.1, in its own folder.
///
/// All logins are accepted; the superuser is `app`. `pg_stat_statements` and `auto_explain` are loaded.
/// Committed data survives [`Server::kill`] and [`Server::restart`]: `fsync` is on, as the service requires. The server
/// is killed and its folder deleted on drop and when the test process ends.
pub struct Postgres {
    server: Server,
    databases: AtomicU32,
    standbys: AtomicU32,
    /// The databases are created in this cluster.
    cluster: Option<&'static Citus>,
}

server!(Postgres);

impl Postgres {
    /// Starts a server with these additional settings (`("synchronous_standby_names", "*")`, …).
    #[must_use]
    pub fn start(options: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        cluster::create(folder.path());
        Self::run(folder, "postgresql.conf", &settings(options), None)
    }

    /// Like [`Postgres::start`], with the folder `part` of its data (`pg_wal`, `base`) on a separate disk of
    /// `mebibytes` MiB.
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

    /// Starts a server that encrypts connections by these certificates, as `ssl = on`. The role `seller`, which does not
    /// exist yet, must use such connections, and log in with a password.
    #[must_use]
    pub fn start_guarded(certificates: &Certificates) -> Self {
        let folder = Folder::new();
        cluster::create(folder.path());
        let data = folder.path().join("data");
        let owner = fs::metadata(&data).expect("the cluster has just been created");
        for (from, name) in
            [(certificates.certificate(), "server.crt"), (certificates.key(), "server.key")]
        {
            let to = data.join(name);
            fs::copy(from, &to).expect("the folder is ours to write");
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).expect("as above");
            chown(&to, Some(owner.uid()), Some(owner.gid())).expect("as above");
        }
        let rules = data.join("pg_hba.conf");
        let own = "hostssl all seller all scram-sha-256\nhost all seller all reject\n";
        write(&rules, &format!("{own}{}", read(&rules)));
        Self::run(folder, "postgresql.conf", &settings(&[("ssl", "on")]), None)
    }

    /// Runs a server on the cluster in `folder`/data, on a free port. `settings` are appended to the configuration file
    /// `file`, in which the last setting of a name is used. If `disk` is given, the server runs in its mount namespace.
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
        let (databases, standbys) = (AtomicU32::new(0), AtomicU32::new(0));
        let postgres = Self { server, databases, standbys, cluster: None };
        let found = postgres.psql("postgres", "SELECT current_setting('data_directory')");
        assert_eq!(Path::new(&found), data, "another server answers on this port");
        postgres
    }

    /// The server that the tests of this process share. The first call starts it.
    ///
    /// It must not be killed or paused. A test that does so must start its own server. With `CITUS_URL` its databases and
    /// its port are those of the [`Citus`] cluster.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self { cluster: Citus::given(), ..Self::start(&[]) })
    }

    /// Creates an empty database with a new name, and returns its address:
    /// `postgres://app@127.0.0.1:PORT/NAME`.
    pub fn create_database(&self) -> String {
        if let Some(cluster) = self.cluster {
            return cluster.create_database();
        }
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.address(&name)
    }

    /// The port at which its databases are.
    pub fn port(&self) -> u16 {
        self.cluster.map_or_else(|| self.server.port(), Citus::port)
    }

    /// Starts a streaming standby of this server, and waits until the standby has everything that is committed on this
    /// server.
    ///
    /// From then on this server stores all log that the standby has not received, even after the standby was killed or
    /// dropped. A test that writes much afterwards must start its own server.
    #[must_use]
    pub fn standby(&self) -> Standby {
        let slot = format!("standby_{}", self.standbys.fetch_add(1, Ordering::Relaxed));
        Standby::start(self, &slot)
    }

    /// Runs SQL in `database` (a name or an address of [`Postgres::create_database`]), and returns the rows, one per
    /// line, with columns separated by `|`.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let address = match database.contains("://") {
            true => database.to_owned(),
            false => self.address(database),
        };
        psql(&address, sql).unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Stops the server with a "fast shutdown", as an operator does: sessions get an error and are closed, and the
    /// standbys receive the remaining log before the server ends (a paused standby delays this for a minute).
    pub fn stop(&self) {
        let process = self.server.process();
        process.signal("INT");
        process.wait_exit(STOP_TIMEOUT);
    }

    /// The address of a database of this server.
    pub(crate) fn address(&self, database: &str) -> String {
        format!("postgres://app@127.0.0.1:{}/{database}", self.server.port())
    }
}

/// Runs SQL at this address, and returns the rows, one per line, with columns separated by `|`. A failure is returned as
/// a text.
pub(crate) fn psql(address: &str, sql: &str) -> Result<String, String> {
    let settings = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"].map(OsString::from);
    let mut psql = command![program("psql")].to_vec();
    psql.extend(settings);
    psql.extend(command!["-c", sql, address]);
    try_run(Path::new("/"), &psql)
}

/// The settings that differ from the defaults of PostgreSQL, followed by those of the test.
fn settings<'a>(options: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    // The settings that a standby requires on its primary (wal_level, max_wal_senders, max_replication_slots, a line in
    // pg_hba.conf) are defaults since PostgreSQL 10.
    let ours = [
        ("listen_addresses", "127.0.0.1"),
        ("max_connections", "300"),
        // Shared memory is in the folder, so that it is deleted with it; a killed server would leave it in /dev/shm.
        ("dynamic_shared_memory_type", "mmap"),
        ("pg_stat_statements.max", "50000"),
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
