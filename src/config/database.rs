//! The database: its kind, the number of its connections, and its timeouts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::database_url::{self, DatabaseUrl};
use super::macros::variables;
use super::reader::Reader;
use super::secret::{FromFile, Secret};

const URL: &str = "postgres://seatlock:password@localhost:5432/seatlock";
const PASSWORD: &str = "\"$(openssl rand -hex 24)\"";
const COMMAND: &str = "a program and its arguments, separated by spaces, without a shell";
const COMMAND_EXAMPLE: &str = "/usr/local/bin/database-token primary.example.com";

variables! {
    /// Settings of the database.
    pub struct DatabaseConfig {
        /// URL of the PostgreSQL primary; an SQLite file is used if not set
        write_url: Option<FromFile<DatabaseUrl>> =
            WRITE_DB_URL.secret_and_file(database_url::EXPECTED, URL, DatabaseUrl::parse),
        /// password for WRITE_DB_URL, if the URL has none; its file is read again for new connections
        write_password: Option<FromFile<Secret>> =
            WRITE_DB_PASSWORD.secret_and_file("a password", PASSWORD, parse_password),
        /// program, with arguments, that prints the password for WRITE_DB_URL when connections need one
        write_password_command: Option<Vec<String>> =
            WRITE_DB_PASSWORD_COMMAND.optional(COMMAND, COMMAND_EXAMPLE, parse_command),
        /// URL of a PostgreSQL replica to read from; the primary is read if not set
        read_url: Option<FromFile<DatabaseUrl>> =
            READ_DB_URL.secret_and_file(database_url::EXPECTED, URL, DatabaseUrl::parse),
        /// password for READ_DB_URL, if the URL has none; its file is read again for new connections
        read_password: Option<FromFile<Secret>> =
            READ_DB_PASSWORD.secret_and_file("a password", PASSWORD, parse_password),
        /// program, with arguments, that prints the password for READ_DB_URL when connections need one
        read_password_command: Option<Vec<String>> =
            READ_DB_PASSWORD_COMMAND.optional(COMMAND, COMMAND_EXAMPLE, parse_command),
        /// how long a password that a command has printed is used for new connections
        password_lifetime: Duration =
            DB_PASSWORD_LIFETIME.duration(Duration::from_secs(300)),
        /// file of the SQLite database that is used if WRITE_DB_URL is not set
        sqlite_path: PathBuf = SQLITE_PATH.setting(
            (PathBuf::from("./seatlock.db"), "./seatlock.db"),
            "the path of a file (no URL, and not :memory:, which is lost)",
            parse_path,
        ),
        /// engine behind WRITE_DB_URL, postgresql or citus; the database is asked if not set
        engine: Option<DatabaseEngine> =
            WRITE_DB_ENGINE.optional("postgresql or citus", "citus", DatabaseEngine::parse),
        /// booking lanes; each opens two connections that write; 2, or 16 on Citus, if not set
        write_pool: Option<usize> = WRITE_DB_POOL.optional_number(1..=256, 4),
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

/// An engine that speaks the protocol of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseEngine {
    /// One primary has all tables.
    Postgresql,
    /// A coordinator of Citus and its workers.
    Citus,
}

impl DatabaseEngine {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "postgresql" => Some(Self::Postgresql),
            "citus" => Some(Self::Citus),
            _ => None,
        }
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
        write: DatabaseServer<'a>,
        /// A replica to read from; without it the primary is read.
        read: Option<DatabaseServer<'a>>,
    },
}

/// A PostgreSQL server and the source of its password: the first of command, password and URL that is there.
#[derive(Debug, Clone, Copy)]
pub struct DatabaseServer<'a> {
    /// The URL.
    pub url: &'a FromFile<DatabaseUrl>,
    /// The password.
    pub password: Option<&'a FromFile<Secret>>,
    /// The program that prints the password, and its arguments.
    pub command: Option<&'a [String]>,
}

impl DatabaseConfig {
    /// The database that is used: PostgreSQL if `WRITE_DB_URL` is set.
    #[must_use]
    pub fn backend(&self) -> Database<'_> {
        match self.write_server() {
            Some(write) => Database::Postgres { write, read: self.read_server() },
            None => Database::Sqlite { path: &self.sqlite_path },
        }
    }

    fn write_server(&self) -> Option<DatabaseServer<'_>> {
        Some(DatabaseServer {
            url: self.write_url.as_ref()?,
            password: self.write_password.as_ref(),
            command: self.write_password_command.as_deref(),
        })
    }

    fn read_server(&self) -> Option<DatabaseServer<'_>> {
        Some(DatabaseServer {
            url: self.read_url.as_ref()?,
            password: self.read_password.as_ref(),
            command: self.read_password_command.as_deref(),
        })
    }

    /// Adds a problem for a replica without its primary, and for servers and passwords that do not fit.
    pub(super) fn check(&self, reader: &mut Reader<'_>) {
        check_server("WRITE_DB", self.write_server(), reader);
        check_server("READ_DB", self.read_server(), reader);
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

/// Adds problems of the server whose variables begin with `prefix`.
fn check_server(prefix: &str, server: Option<DatabaseServer<'_>>, reader: &mut Reader<'_>) {
    let [url, password, command] =
        ["URL", "PASSWORD", "PASSWORD_COMMAND"].map(|name| format!("{prefix}_{name}"));
    if reader.is_set(&password) && reader.is_set(&command) {
        let expected = format!("no value, since {password} is set too");
        reader.refuse(&command, expected, format!("{command}={COMMAND_EXAMPLE}"));
    }
    let passwords = [&password, &command].map(|name| reader.is_set(name).then_some(name));
    let set = passwords.into_iter().flatten().next();
    let Some(server) = server else {
        if let Some(set) = set.filter(|_| !reader.is_refused(&url)) {
            let expected = format!("the URL of the server, since {set} is set");
            reader.refuse(&url, expected, format!("{url}=postgres://seatlock@db:5432/seatlock"));
        }
        return;
    };
    if let Some(set) = set.filter(|_| server.url.value.has_password()) {
        let expected = format!("a URL without a password, since {set} is set");
        reader.refuse(&url, expected, format!("{url}=postgres://seatlock@db:5432/seatlock"));
    }
    if let Some(file) = server.url.value.files().find(|file| !reader.can_read(file)) {
        let expected = format!("the file {} that it names to be readable", file.display());
        let example = format!("{url}=postgres://…?sslmode=verify-full&sslrootcert=/etc/ssl/db.pem");
        reader.refuse(&url, expected, example);
    }
}

fn parse_password(text: &str) -> Option<Secret> {
    Some(Secret::new(text))
}

fn parse_command(text: &str) -> Option<Vec<String>> {
    Some(text.split_whitespace().map(str::to_owned).collect())
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
        let Database::Postgres { write, read } = config.database.backend() else {
            panic!("WRITE_DB_URL is set");
        };
        assert_eq!(write.url.value.expose(), WRITE.1);
        assert_eq!(read.unwrap().url.value.expose(), READ.1);
    }

    #[test]
    fn a_password_has_one_source_and_a_server() {
        let url = ("WRITE_DB_URL", "postgres://u@primary/s");
        let password = ("WRITE_DB_PASSWORD", "hunter2");
        let command = ("WRITE_DB_PASSWORD_COMMAND", "/bin/token  primary --quiet");
        let config = config(&[url, command]);
        let Database::Postgres { write, .. } = config.database.backend() else {
            panic!("WRITE_DB_URL is set");
        };
        assert_eq!(write.command.unwrap(), ["/bin/token", "primary", "--quiet"]);
        for (variables, expected) in [
            (&[url, password, command][..], "no value, since WRITE_DB_PASSWORD is set too"),
            (&[WRITE, password], "a URL without a password, since WRITE_DB_PASSWORD is set"),
            (&[command], "the URL of the server, since WRITE_DB_PASSWORD_COMMAND is set"),
            (&[url, ("READ_DB_PASSWORD", "hunter2")], "since READ_DB_PASSWORD is set"),
        ] {
            let found = problems(variables);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(expected), "{found:?}");
            assert!(!found[0].contains("hunter2"), "{found:?}");
        }
    }

    #[test]
    fn a_file_of_certificates_must_be_readable() {
        let found = problems(&[("WRITE_DB_URL", "postgres://u@db/s?sslrootcert=/none/ca.pem")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("the file /none/ca.pem"), "{found:?}");
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
