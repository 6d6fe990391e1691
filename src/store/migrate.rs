//! Brings the schema up to date, safely from many replicas at once.

use std::sync::Arc;
use std::time::Duration;

use migration::Migrator;
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr};
use sea_orm_migration::MigratorTrait as _;

use crate::domain::failure::StoreError;
use crate::faults::mutants::Mutant;

use super::Store;
use super::connect::{Limits, Target};
use super::dialect::Dialect;
use super::failure::{Meaning, meaning};

/// The advisory lock under which one replica migrates while the others wait. Any number would do, as long
/// as nobody else in the database uses it.
const ADVISORY_LOCK: i64 = 0x5EA7_10C4;

/// Between two tries to open a file that another process is making.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Tries before the file counts as unusable: two seconds.
const BUSY_TRIES: usize = 100;

/// How the schema stands against this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Every step of this program has been taken.
    Current,
    /// This many steps are missing.
    Behind(usize),
}

impl Store {
    /// Takes the missing steps on a connection of its own, under an advisory lock (sea-orm-migration takes
    /// none: replicas that start together would fail on each other's tables). Takes as long as it takes.
    pub async fn migrate(target: &Target, limits: &Limits) -> Result<usize, StoreError> {
        let mut options = target.writer(limits, 1, &Arc::default());
        options.connect_lazy(false);
        let connection = connect(options).await?;
        let steps = match target.dialect() {
            Dialect::Postgres => locked(&connection).await,
            Dialect::Sqlite => alone(&connection).await,
        };
        connection.close().await?;
        Ok(steps?)
    }

    /// Compares the schema with this program without changing it.
    pub async fn schema(self: &Arc<Self>) -> Result<Schema, StoreError> {
        let look = |db: DatabaseConnection| async move {
            Ok::<_, DbErr>(Migrator::get_pending_migrations(&db).await?.len())
        };
        let limit = self.settings.limits.statement_timeout;
        let pending = self.bounded(&self.write, limit, look).await?;
        Ok(if pending == 0 { Schema::Current } else { Schema::Behind(pending) })
    }
}

/// SQLite turns a new file over to its write-ahead log under a lock that nobody waits for: of several
/// processes that start together on one, all but one are told that it is busy.
async fn connect(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    for _ in 0..BUSY_TRIES {
        match Database::connect(options.clone()).await {
            Err(error) if meaning(&error) == Meaning::Again => tokio::time::sleep(BUSY_PAUSE).await,
            connected => return connected,
        }
    }
    Database::connect(options).await
}

async fn up(connection: &DatabaseConnection) -> Result<usize, DbErr> {
    let pending = Migrator::get_pending_migrations(connection).await?.len();
    Migrator::up(connection, None).await?;
    if Mutant::NoIndex.is_on() {
        connection.execute_unprepared("DROP INDEX IF EXISTS booking_seat_live").await?;
    }
    Ok(pending)
}

async fn locked(connection: &DatabaseConnection) -> Result<usize, DbErr> {
    let lock = format!(
        "SET statement_timeout = 0; SET lock_timeout = 0; SELECT pg_advisory_lock({ADVISORY_LOCK})"
    );
    connection.execute_unprepared(&lock).await?;
    let steps = up(connection).await;
    let unlock = format!("SELECT pg_advisory_unlock({ADVISORY_LOCK})");
    connection.execute_unprepared(&unlock).await?;
    steps
}

/// SQLite: whoever loses the race for the file finds the steps taken.
async fn alone(connection: &DatabaseConnection) -> Result<usize, DbErr> {
    connection.execute_unprepared("BEGIN IMMEDIATE").await?;
    let steps = up(connection).await;
    let end = if steps.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.execute_unprepared(end).await?;
    steps
}
