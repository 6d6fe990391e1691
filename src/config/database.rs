//! The database: which one, how many connections, and how long anything may take there.

use std::path::PathBuf;
use std::time::Duration;

use super::database_url::{self, DatabaseUrl};
use super::reader::{Reader, ValueFormat};

/// Settings of the database.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// Which database holds the bookings.
    pub backend: Database,
    /// `WRITE_DB_POOL`, default `2`: connections that write, which is the number of booking lanes.
    pub write_pool: usize,
    /// `READ_DB_POOL`, default `8`: connections that only read.
    pub read_pool: usize,
    /// `DB_POOL_WAIT`, default `500ms`: how long to wait for a free connection.
    pub pool_wait: Duration,
    /// `DB_LOCK_TIMEOUT`, default `1s`: how long a statement may wait for a row lock.
    pub lock_timeout: Duration,
    /// `DB_STATEMENT_TIMEOUT`, default `3s`: how long a statement may run.
    pub statement_timeout: Duration,
    /// `DB_TRANSACTION_TIMEOUT`, default `10s`: how long a transaction may take, COMMIT included.
    pub transaction_timeout: Duration,
    /// `MIGRATE`, default `on`: whether `serve` migrates the database before it starts.
    pub migrate: bool,
}

/// Which database holds the bookings.
#[derive(Debug, Clone)]
pub enum Database {
    /// An SQLite file, where `WRITE_DB_URL` is not set.
    Sqlite {
        /// `SQLITE_PATH`, default `./seatlock.db`: the file.
        path: PathBuf,
    },
    /// PostgreSQL.
    Postgres {
        /// `WRITE_DB_URL`, no default, secret: the primary.
        write_url: DatabaseUrl,
        /// `READ_DB_URL`, no default, secret: a replica to read from; without it the primary is
        /// read.
        read_url: Option<DatabaseUrl>,
    },
}

impl DatabaseConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            backend: Database::read(reader),
            write_pool: reader.number(
                "WRITE_DB_POOL",
                2,
                1..=256,
                "connections that write, which is the number of booking lanes",
            ),
            read_pool: reader.number("READ_DB_POOL", 8, 1..=256, "connections that only read"),
            pool_wait: reader.duration(
                "DB_POOL_WAIT",
                Duration::from_millis(500),
                "how long to wait for a free connection",
            ),
            lock_timeout: reader.duration(
                "DB_LOCK_TIMEOUT",
                Duration::from_secs(1),
                "how long a statement may wait for a row lock",
            ),
            statement_timeout: reader.duration(
                "DB_STATEMENT_TIMEOUT",
                Duration::from_secs(3),
                "how long a statement may run",
            ),
            transaction_timeout: reader.duration(
                "DB_TRANSACTION_TIMEOUT",
                Duration::from_secs(10),
                "how long a transaction may take, COMMIT included",
            ),
            migrate: reader.flag(
                "MIGRATE",
                true,
                "whether serve migrates the database first; off leaves that to seatlock migrate",
            ),
        }
    }
}

impl Database {
    fn read(reader: &mut Reader<'_>) -> Self {
        let write_url = read_url(
            reader,
            "WRITE_DB_URL",
            "URL of the PostgreSQL primary; an SQLite file serves if not set",
        );
        let read_url = read_url(
            reader,
            "READ_DB_URL",
            "URL of a PostgreSQL replica to read from; the primary is read if not set",
        );
        let path = read_sqlite_path(reader);
        match write_url {
            Some(write_url) => Self::Postgres { write_url, read_url },
            None => {
                if reader.is_set("READ_DB_URL") && !reader.is_refused("WRITE_DB_URL") {
                    reader.refuse(
                        "WRITE_DB_URL",
                        "the primary's URL, since READ_DB_URL is set",
                        "WRITE_DB_URL=postgres://seatlock:password@primary:5432/seatlock",
                    );
                }
                Self::Sqlite { path }
            }
        }
    }
}

fn read_url(
    reader: &mut Reader<'_>,
    name: &'static str,
    help: &'static str,
) -> Option<DatabaseUrl> {
    let example = "postgres://seatlock:password@localhost:5432/seatlock";
    reader.secret(name, help, ValueFormat::new(database_url::EXPECTED, example), DatabaseUrl::parse)
}

fn read_sqlite_path(reader: &mut Reader<'_>) -> PathBuf {
    let default = "./seatlock.db";
    let form =
        ValueFormat::new("the path of a file (no URL, and not :memory:, which is lost)", default);
    let help = "file of the SQLite database that serves if WRITE_DB_URL is not set";
    reader.setting("SQLITE_PATH", (PathBuf::from(default), default), help, form, |text| {
        let url = ["sqlite:", ":memory:"].iter().any(|start| text.starts_with(start));
        (!url && !text.contains("://")).then(|| PathBuf::from(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, problems};

    const WRITE: (&str, &str) = ("WRITE_DB_URL", "postgres://u:hunter2@primary/s");
    const READ: (&str, &str) = ("READ_DB_URL", "postgresql://u:hunter2@replica/s");

    #[test]
    fn a_url_chooses_postgresql() {
        let Database::Postgres { write_url, read_url } = config(&[WRITE, READ]).database.backend
        else {
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
            let Database::Sqlite { path } = config(&[("SQLITE_PATH", name)]).database.backend
            else {
                panic!("WRITE_DB_URL is not set");
            };
            assert_eq!(path, PathBuf::from(name));
        }
    }
}
