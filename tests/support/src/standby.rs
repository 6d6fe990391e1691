//! A streaming standby of a PostgreSQL server: reads there, and takes its place when promoted.

use std::ops::Deref;
use std::time::Duration;

use crate::cluster;
use crate::folder::Folder;
use crate::postgres::Postgres;
use crate::wait::holds_within;

/// How long the standby may take to catch up with an idle primary, or to obey, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What is not as on the primary, whose settings are copied with everything else.
const SETTINGS: [(&str, &str); 2] = [
    // Once promoted it has no standby of its own: it would never acknowledge anything.
    ("synchronous_standby_names", ""),
    // Between two attempts to reach its primary; the default is 5 seconds.
    ("wal_retrieve_retry_interval", "100ms"),
];

/// A server that follows another one, and answers reads (PostgreSQL's documentation, 27.4 "Hot
/// Standby"). It has the same databases, on a port and in a folder of its own.
///
/// Made by [`Postgres::standby`]. Server and folder are gone on drop and when the test process
/// ends.
pub struct Standby {
    server: Postgres,
    /// The address of a database of the server that it follows.
    primary: String,
}

impl Deref for Standby {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        &self.server
    }
}

impl Standby {
    /// Copies `primary` and follows it by the replication slot named `slot`, which is new.
    pub(crate) fn start(primary: &Postgres, slot: &str) -> Self {
        let folder = Folder::new();
        cluster::copy_to_follow(folder.path(), primary.port(), slot);
        // Read after postgresql.conf, so that it also overrides what `ALTER SYSTEM` did there.
        let server = Postgres::run(folder, "postgresql.auto.conf", &SETTINGS, None);
        let standby = Self { server, primary: primary.address("postgres") };
        standby.wait_until_caught_up(TIMEOUT);
        standby
    }

    /// The address here of the database that `primary_url` (of [`Postgres::create_database`]) names
    /// on the primary. It is here once the standby has caught up.
    pub fn url(&self, primary_url: &str) -> String {
        let database = match primary_url.split_once("://") {
            Some((_, place)) => place.split_once('/').map_or("", |(_, database)| database),
            None => primary_url,
        };
        self.server.address(database)
    }

    /// Runs SQL here in `database`, as [`Postgres::psql`] does; the database's name and its address
    /// on the primary will do, too.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.server.psql(&self.url(database), sql)
    }

    /// Stops showing what arrives: reads stay as they are, while the standby still receives (and
    /// acknowledging, for a synchronous primary). Ends with [`Standby::resume_replay`],
    /// [`Standby::promote`] and a restart.
    pub fn pause_replay(&self) {
        self.psql("postgres", "SELECT pg_wal_replay_pause()");
        // The function only asks for it, and something may still be replayed meanwhile.
        let paused = || self.psql("postgres", "SELECT pg_get_wal_replay_pause_state()") == "paused";
        assert!(holds_within(TIMEOUT, paused), "the standby does not pause its replay");
    }

    /// Shows again what has arrived and what arrives.
    pub fn resume_replay(&self) {
        self.psql("postgres", "SELECT pg_wal_replay_resume()");
    }

    /// Waits until reads here see all that the primary has flushed by now, that is everything that
    /// it has acknowledged.
    pub fn wait_until_caught_up(&self, timeout: Duration) {
        let wanted = self.server.psql(&self.primary, "SELECT pg_current_wal_flush_lsn()");
        // Empty, and not `t`, before anything has been replayed.
        let question = format!("SELECT pg_last_wal_replay_lsn() >= '{wanted}'::pg_lsn");
        let caught_up = holds_within(timeout, || self.psql("postgres", &question) == "t");
        assert!(
            caught_up,
            "the standby is behind: after {timeout:?} it has replayed up to {}, not {wanted}",
            self.psql("postgres", "SELECT pg_last_wal_replay_lsn()")
        );
    }

    /// Makes a primary of it and waits until it can be written. What it has received and not yet
    /// replayed counts. The old primary is not stopped: kill it first.
    pub fn promote(&self) {
        // `t` when recovery has ended, `f` when it has not within these seconds.
        let promoted = self.psql("postgres", "SELECT pg_promote(true, 50)");
        assert_eq!(promoted, "t", "the standby does not become a primary");
    }
}
