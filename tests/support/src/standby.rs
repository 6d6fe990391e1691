//! A streaming standby of a PostgreSQL server. It answers reads, and becomes a primary when it is promoted.

use std::ops::Deref;
use std::time::Duration;

use crate::cluster;
use crate::folder::Folder;
use crate::postgres::Postgres;
use crate::wait::holds_within;

/// The longest time to catch up with an idle primary, or to execute a command, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The settings that differ from those of the primary, which are copied with its files.
const SETTINGS: [(&str, &str); 2] = [
    // A promoted standby has no standby itself. With the setting of the primary it would never confirm a commit.
    ("synchronous_standby_names", ""),
    // The time between two attempts to connect to the primary; the default is 5 seconds.
    ("wal_retrieve_retry_interval", "100ms"),
];

/// A server that replicates another one and answers reads (PostgreSQL's documentation, 27.4 "Hot Standby"). It has the
/// same databases, and its own port and folder.
///
/// It is created by [`Postgres::standby`]. The server is killed and its folder deleted on drop and when the test
/// process ends.
pub struct Standby {
    server: Postgres,
    /// The address of a database of the primary.
    primary: String,
}

impl Deref for Standby {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        &self.server
    }
}

impl Standby {
    /// Copies `primary`, and replicates it through the new replication slot `slot`.
    pub(crate) fn start(primary: &Postgres, slot: &str) -> Self {
        let folder = Folder::new();
        cluster::copy_to_follow(folder.path(), primary.port(), slot);
        // This file is read after postgresql.conf, and also contains the settings of `ALTER SYSTEM` on the primary, so
        // the appended settings override all others.
        let server = Postgres::run(folder, "postgresql.auto.conf", &SETTINGS, None);
        let standby = Self { server, primary: primary.address("postgres") };
        standby.wait_until_caught_up(TIMEOUT);
        standby
    }

    /// The address on the standby of the database with the address `primary_url` (of [`Postgres::create_database`]) on
    /// the primary. The database exists on the standby when it has caught up.
    pub fn url(&self, primary_url: &str) -> String {
        let database = match primary_url.split_once("://") {
            Some((_, place)) => place.split_once('/').map_or("", |(_, database)| database),
            None => primary_url,
        };
        self.server.address(database)
    }

    /// Runs SQL on the standby, like [`Postgres::psql`]. `database` is the name of a database, or its address on the
    /// primary.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.server.psql(&self.url(database), sql)
    }

    /// Pauses the replay: reads do not see later commits, but the standby still receives the log (and confirms it to a
    /// synchronous primary). [`Standby::resume_replay`], [`Standby::promote`] and a restart end the pause.
    pub fn pause_replay(&self) {
        self.psql("postgres", "SELECT pg_wal_replay_pause()");
        // The function only requests the pause; the replay may continue for a short time.
        let paused = || self.psql("postgres", "SELECT pg_get_wal_replay_pause_state()") == "paused";
        assert!(holds_within(TIMEOUT, paused), "the standby does not pause its replay");
    }

    /// Resumes the replay.
    pub fn resume_replay(&self) {
        self.psql("postgres", "SELECT pg_wal_replay_resume()");
    }

    /// Waits until reads on the standby see everything that the primary has flushed until now, which includes
    /// everything that it has confirmed.
    pub fn wait_until_caught_up(&self, timeout: Duration) {
        let wanted = self.server.psql(&self.primary, "SELECT pg_current_wal_flush_lsn()");
        // The result is empty, not `t`, before anything has been replayed.
        let question = format!("SELECT pg_last_wal_replay_lsn() >= '{wanted}'::pg_lsn");
        let caught_up = holds_within(timeout, || self.psql("postgres", &question) == "t");
        assert!(
            caught_up,
            "the standby is behind: after {timeout:?} it has replayed up to {}, not {wanted}",
            self.psql("postgres", "SELECT pg_last_wal_replay_lsn()")
        );
    }

    /// Promotes the standby to a primary, and waits until it accepts writes. It replays everything that it has received
    /// first. The old primary is not stopped; the caller must kill it before.
    pub fn promote(&self) {
        // The result is `t` if the recovery has ended, and `f` if it has not ended within this many seconds.
        let promoted = self.psql("postgres", "SELECT pg_promote(true, 50)");
        assert_eq!(promoted, "t", "the standby does not become a primary");
    }
}
