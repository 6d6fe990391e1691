//! The database: its kind, the number of its connections, and its timeouts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::database_url::{self, DatabaseUrl};
use super::macros::variables;
use super::reader::Reader;

const URL: &str = "postgres://seatlock:password@localhost:5432/seatlock";

variables! {
    /// Settings of the database.
    pub struct DatabaseConfig {
        /// URL of the PostgreSQL primary; an SQLite file is used if not set
        write_url: Option<DatabaseUrl> =
            WRITE_DB_URL.secret(database_url::EXPECTED, URL, DatabaseUrl::parse),
        /// URL of a PostgreSQL replica to read from; the primary is read if not set
        read_url: Option<DatabaseUrl> =
            READ_DB_URL.secret(database_url::EXPECTED, URL, DatabaseUrl::parse),
        /// file of the SQLite database that is used if WRITE_DB_URL is not set
        sqlite_path: PathBuf = SQLITE_PATH.setting(
            (PathBuf::from("./seatlock.db"), "./seatlock.db"),
            "the path of a file (no URL, and not :memory:, which is lost)",
            parse_path,
        ),
        /// booking lanes; each opens two connections that write
        write_pool: usize = WRITE_DB_POOL.number(2, 1..=256),
        /// connections that only read
        read_pool: usize = READ_DB_POOL.number(8, 1..=256),
        /// how long to wait for a free connection
        pool_wait: Duration = DB_POOL_WAIT.duration(Duration::from_millis(500)),
        /// how long a statement may wait for a row lock
        lock_timeout: Duration = DB_LOCK_TIMEOUT.duration(Duration::from_secs(1)),
        /// how long a statement may run
        statement_timeout: Duration = DB_STATEMENT_TIMEOUT.duration(Duration::from_secs(3)),
        /// how long a transaction may take, COMMIT included
        transaction_timeout: Duration = DB_TRANSACTION_TIMEOUT.duration(Duration::from_secs(10)),
        /// whether serve migrates the database first; off leaves that to seatlock migrate
        migrate: bool = MIGRATE.flag(true),
    }
}

/// The database that holds the bookings.
#[derive(Debug, Clone, Copy)]
pub enum Database<'a> {
    /// An SQLite file.
    Sqlite {
        /// The file.
        path: &'a Path,
    },
    /// PostgreSQL.
    Postgres {
        /// The primary.
        write_url: &'a DatabaseUrl,
        /// A replica to read from; without it the primary is read.
        read_url: Option<&'a DatabaseUrl>,
    },
}

impl DatabaseConfig {
    /// The database that is used: PostgreSQL if `WRITE_DB_URL` is set.
    #[must_use]
    pub fn backend(&self) -> Database<'_> {
        match &self.write_url {
            Some(write_url) => Database::Postgres { write_url, read_url: self.read_url.as_ref() },
            None => Database::Sqlite { path: &self.sqlite_path },
        }
    }

    /// Adds a problem for a replica without its primary.
    pub(super) fn check(&self, reader: &mut Reader<'_>) {
        let is_alone = self.write_url.is_none() && reader.is_set("READ_DB_URL");
        if is_alone && !reader.is_refused("WRITE_DB_URL") {
            reader.refuse(
                "WRITE_DB_URL",
                "the primary's URL, since READ_DB_URL is set",
                "WRITE_DB_URL=postgres://seatlock:password@primary:5432/seatlock",
            );
        }
    }
}

fn parse_path(text: &str) -> Option<PathBuf> {
    let is_url = text.starts_with("sqlite:") || text.contains("://");
    (!is_url && !text.starts_with(":memory:")).then(|| PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, problems};

    const WRITE: (&str, &str) = ("WRITE_DB_URL", "postgres://u:hunter2@primary/s");
    const READ: (&str, &str) = ("READ_DB_URL", "postgresql://u:hunter2@replica/s");

    #[test]
    fn a_url_chooses_postgresql() {
        let config = config(&[WRITE, READ]);
        let Database::Postgres { write_url, read_url } = config.database.backend() else {
            panic!("WRITE_DB_URL is set");
        };
        assert_eq!(write_url.expose(), WRITE.1);
        assert_eq!(read_url.unwrap().expose(), READ.1);
    }

    #[test]
    fn a_replica_needs_its_primary() {
        let found = problems(&[READ]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("WRITE_DB_URL is not set: expected the primary's URL"));
    }

    #[test]
    fn another_database_is_refused_without_showing_its_url() {
        let found = problems(&[("WRITE_DB_URL", "mysql://u:hunter2@db/s"), READ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("WRITE_DB_URL=\"[redacted]\": expected postgres://"));
    }

    #[test]
    fn sqlite_needs_a_file() {
        for path in [":memory:", "sqlite:x.db", "sqlite://x.db", "postgres://db/s"] {
            assert_eq!(problems(&[("SQLITE_PATH", path)]).len(), 1, "{path}");
        }
        for name in ["/data/s.db", "file:x.db", "s.db?mode=memory", "50%25.db"] {
            let config = config(&[("SQLITE_PATH", name)]);
            let Database::Sqlite { path } = config.database.backend() else {
                panic!("WRITE_DB_URL is not set");
            };
            assert_eq!(path, Path::new(name));
        }
    }
}
