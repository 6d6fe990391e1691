//! Configuration: environment variables, which override a `.env` file, and files of secrets (`*_FILE`).
//!
//! Each section has a file, which declares the variables once: name, default, range and help (`macros.rs`).
//! [`Config::from_vars`] is pure and finds all problems together; `timeout_order` and `replicas` compare sections with
//! each other. [`Config::read`] also reads the `.env` file and the files of secrets.

mod address;
mod audit;
mod customer_tokens;
mod database;
mod database_url;
mod duration;
mod file;
mod http;
mod log;
mod macros;
mod problem;
#[cfg(test)]
mod properties;
mod queue;
mod reader;
mod redis;
mod replicas;
mod reservation;
mod seat_lock;
mod seat_map;
mod secret;
mod service_link;
mod source;
mod suggestions;
#[cfg(test)]
mod tests;
mod timeout_order;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

pub use address::{HostPort, is_loopback_host};
pub use audit::AuditConfig;
pub use customer_tokens::TokenConfig;
pub use database::{Database, DatabaseConfig, DatabaseEngine, DatabaseServer};
pub use database_url::DatabaseUrl;
pub use http::{HttpConfig, TlsFiles};
pub use log::{LogConfig, LogFormat};
pub use problem::{ConfigProblem, ConfigProblems};
pub use queue::{QueueConfig, QueueMode, QueueUrl};
pub use reader::{Setting, Variable};
pub use redis::{RedisClientConfig, RedisConfig, RedisMode};
pub use reservation::{HOLD_TTL_MAX_DEFAULT, ReservationConfig};
pub use seat_lock::SeatLockConfig;
pub use seat_map::SeatMapConfig;
pub use secret::{FromFile, Secret};

use crate::telemetry::redaction;

use reader::{ReadFile, Reader};
use replicas::Replicas;

/// The whole configuration, checked. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// The HTTP server.
    pub http: HttpConfig,
    /// Customer tokens.
    pub tokens: TokenConfig,
    /// The database.
    pub database: DatabaseConfig,
    /// Seat locks.
    pub seat_lock: SeatLockConfig,
    /// The seat maps in memory.
    pub seat_map: SeatMapConfig,
    /// Redis; without it seat locks are kept in this process, which is safe for one replica.
    pub redis: Option<RedisConfig>,
    /// Holds and batches.
    pub reservation: ReservationConfig,
    /// The background audit.
    pub audit: AuditConfig,
    /// The admission queue.
    pub queue: QueueConfig,
    /// `REPLICAS`: how many replicas of this service run.
    pub replicas: u32,
    /// The log.
    pub log: LogConfig,
    /// Suspicious settings that do not prevent the start, a line each, without values.
    pub warnings: Vec<String>,
    settings: Vec<Setting>,
}

impl Config {
    /// Reads the configuration from variables alone. A `*_FILE` variable is a problem here.
    ///
    /// # Errors
    /// All problems in the order of the sections, those of checks across sections last.
    pub fn from_vars(vars: &BTreeMap<String, String>) -> Result<Self, Vec<ConfigProblem>> {
        Self::from_vars_and_files(vars, &no_files)
    }

    /// Like [`Config::from_vars`], reading the file of a `*_FILE` secret with `read_file`.
    ///
    /// # Errors
    /// All problems; a file that cannot be read is one.
    pub fn from_vars_and_files(
        vars: &BTreeMap<String, String>,
        read_file: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Self, Vec<ConfigProblem>> {
        let (config, problems, _) = Self::build(vars, read_file);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Reads the configuration from the process environment, given as pairs, over a `.env` file (see
    /// [`source::merge`]), and secrets from the files that `*_FILE` names. Afterwards [`redaction`] removes the secrets
    /// from all output, also those of a refused configuration.
    ///
    /// # Errors
    /// All problems of the `.env` file, the secrets' files and the variables.
    pub fn read(
        env: impl IntoIterator<Item = (String, String)>,
        dotenv: Option<&Path>,
    ) -> Result<Self, ConfigProblems> {
        let (vars, mut problems) = source::merge(env, dotenv, &variables());
        let (config, more, secrets) = Self::build(&vars, &file::read_text);
        secrets.iter().for_each(|secret| redaction::register(secret.expose()));
        problems.extend(more);
        if problems.is_empty() { Ok(config) } else { Err(ConfigProblems(problems)) }
    }

    /// The settings in effect: every variable that is set or has a default, in order of declaration. Secrets are
    /// `[redacted]`; settings of a database or Redis that is not used are left out.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(|setting| self.is_in_effect(setting.name))
    }

    /// One line for the start-up log: the backends, then all settings in effect. It contains no secret.
    #[must_use]
    pub fn summary(&self) -> String {
        let database = match self.database.backend() {
            Database::Sqlite { .. } => "sqlite",
            Database::Postgres { .. } => "postgresql",
        };
        let locks = match self.redis {
            Some(_) => "seat locks in redis",
            None => "seat locks in this process (safe for one replica)",
        };
        let settings: Vec<String> = self.settings().map(assignment).collect();
        format!("{database}, {locks}: {}", settings.join(" "))
    }

    fn is_in_effect(&self, name: &str) -> bool {
        match name {
            "SQLITE_PATH" => matches!(self.database.backend(), Database::Sqlite { .. }),
            "SEAT_CACHE_TTL" => self.redis.is_some(),
            _ => self.redis.is_some() || !name.starts_with("REDIS_"),
        }
    }

    fn build(
        vars: &BTreeMap<String, String>,
        read_file: ReadFile<'_>,
    ) -> (Self, Vec<ConfigProblem>, Vec<Secret>) {
        let mut reader = Reader::new(vars, read_file);
        let mut config = Self::read_sections(&mut reader);
        config.http.check(&mut reader);
        config.tokens.check(&mut reader);
        config.database.check(&mut reader);
        replicas::check(&config, &mut reader);
        queue::check(&config, &mut reader);
        timeout_order::check(&config, &mut reader);
        config.warnings = suggestions::warnings(vars, &reader.variables);
        config.warnings.append(&mut reader.warnings);
        config.settings = reader.settings;
        (config, reader.problems, reader.secrets)
    }

    fn read_sections(reader: &mut Reader<'_>) -> Self {
        Self {
            http: HttpConfig::read(reader),
            tokens: TokenConfig::read(reader),
            database: DatabaseConfig::read(reader),
            seat_lock: SeatLockConfig::read(reader),
            seat_map: SeatMapConfig::read(reader),
            redis: RedisConfig::read(reader),
            reservation: ReservationConfig::read(reader),
            audit: AuditConfig::read(reader),
            queue: QueueConfig::read(reader),
            replicas: Replicas::read(reader).count,
            log: LogConfig::read(reader),
            warnings: Vec::new(),
            settings: Vec::new(),
        }
    }
}

/// Every variable with its default and help, in order of declaration: the documentation table. The `*_FILE` variables
/// of secrets are not listed.
#[must_use]
pub fn variables() -> Vec<Variable> {
    let vars = BTreeMap::new();
    let mut reader = Reader::new(&vars, &no_files);
    Config::read_sections(&mut reader);
    reader.variables
}

fn no_files(_: &Path) -> io::Result<String> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// `NAME=value`; the value is quoted if it contains white space or control characters.
fn assignment(Setting { name, value }: &Setting) -> String {
    match value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        true => format!("{name}={value:?}"),
        false => format!("{name}={value}"),
    }
}
