//! Brings the schema up to date, safely from many replicas at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr};
use sea_orm_migration::MigratorTrait as _;

use crate::domain::execution_error::StoreError;

use crate::store::Store;
use crate::store::connection::connect::{Limits, Target};
use crate::store::connection::dialect::Dialect;
use crate::store::connection::errors::{ErrorClass, meaning, timed_out};
use crate::store::schema::compatibility::{Schema, Steps, stand_of};

/// The advisory lock under which one replica migrates while the others wait. Any number would do, as long
/// as nobody else in the database uses it.
const ADVISORY_LOCK: i64 = 0x5EA7_10C4;

/// Between two tries to open a file that another process is making.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Tries before the file counts as unusable: two seconds.
const BUSY_TRIES: usize = 100;

/// How long a step waits for a table that others use. Whoever comes meanwhile waits behind it, so this is the
/// longest that selling stands still for a migration; a backup or an audit may use the table for an hour.
const TABLE_WAIT: Duration = Duration::from_millis(200);

/// Between two tries to get hold of a table.
const TABLE_PAUSE: Duration = Duration::from_millis(800);

/// After this time somebody has to look who uses the table.
const TABLE_PATIENCE: Duration = Duration::from_secs(600);

/// Between two tries to get the advisory lock. Replicas do not wait for it inside PostgreSQL: their
/// waiting statements would count as transactions that the creation of an index has to wait for.
const TURN_PAUSE: Duration = Duration::from_millis(200);

impl Store {
    /// Takes the missing steps on a connection of its own, under an advisory lock (sea-orm-migration takes
    /// none: replicas that start together would fail on each other's tables). Takes as long as it takes.
    pub async fn migrate(target: &Target, limits: &Limits) -> Result<usize, StoreError> {
        target.prepare()?;
        let mut options = target.writer(limits, 1, &Arc::default());
        options.connect_lazy(false);
        let connection = connect(options).await?;
        let steps = match target.dialect() {
            Dialect::Postgres => locked(&connection).await,
            Dialect::Sqlite => alone(&connection).await,
        };
        let schema = stand_of(&connection).await;
        connection.close().await?;
        match (steps?, schema?.problem()) {
            (steps, None) => Ok(steps),
            (_, Some(problem)) => Err(StoreError::Unfit(problem)),
        }
    }
}

/// SQLite turns a new file over to its write-ahead log under a lock that nobody waits for: of several
/// processes that start together on one, all but one are told that it is busy.
async fn connect(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    for _ in 0..BUSY_TRIES {
        match Database::connect(options.clone()).await {
            Err(error) if meaning(&error) == ErrorClass::Again => {
                tokio::time::sleep(BUSY_PAUSE).await
            }
            connected => return connected,
        }
    }
    Database::connect(options).await
}

/// Takes what is missing, and leaves alone what a newer program has made.
async fn up(connection: &DatabaseConnection) -> Result<usize, DbErr> {
    match stand_of(connection).await? {
        Schema::Behind(steps) => {
            Steps::up(connection, None).await?;
            Ok(steps)
        }
        Schema::Current | Schema::Newer(_) | Schema::Contracted(_) => Ok(0),
    }
}

async fn locked(connection: &DatabaseConnection) -> Result<usize, DbErr> {
    let patience =
        format!("SET statement_timeout = 0; SET lock_timeout = {}", TABLE_WAIT.as_millis());
    connection.execute_unprepared(&patience).await?;
    while !has_turn(connection).await? {
        tokio::time::sleep(TURN_PAUSE).await;
    }
    let steps = patiently(connection).await;
    let unlock = format!("SELECT pg_advisory_unlock({ADVISORY_LOCK})");
    connection.execute_unprepared(&unlock).await?;
    steps
}

/// Takes the advisory lock if it is free.
async fn has_turn(connection: &DatabaseConnection) -> Result<bool, DbErr> {
    let sql = format!("SELECT pg_try_advisory_lock({ADVISORY_LOCK})");
    let row = connection.query_one_raw(Dialect::Postgres.statement(sql, Vec::new())).await?;
    row.map_or(Ok(false), |row| row.try_get_by_index(0))
}

/// Tries until every step has found its tables free for a moment; one that has not is undone whole.
async fn patiently(connection: &DatabaseConnection) -> Result<usize, DbErr> {
    let mut steps = 0;
    let mut in_use = None;
    let began = Instant::now();
    while began.elapsed() < TABLE_PATIENCE {
        let missing = stand_of(connection).await?;
        match up(connection).await {
            Err(error) if timed_out(&error) || meaning(&error) == ErrorClass::Again => {
                if in_use.is_none() {
                    log::warn!(
                        "others use a table that a step of the schema changes, waiting: {error}"
                    );
                }
                in_use = Some(error);
                tokio::time::sleep(TABLE_PAUSE).await;
            }
            taken => return taken.map(|last| steps + last),
        }
        if let (Schema::Behind(before), Schema::Behind(after)) =
            (missing, stand_of(connection).await?)
        {
            steps += before.saturating_sub(after);
        }
    }
    let error = in_use.map(|error| error.to_string()).unwrap_or_default();
    Err(DbErr::Custom(format!(
        "a table that a step of the schema changes was in use for ten minutes ({error}); find the session in \
         pg_locks and pg_stat_activity, a backup perhaps, and try again when it has ended"
    )))
}

/// SQLite: whoever loses the race for the file finds the steps taken.
async fn alone(connection: &DatabaseConnection) -> Result<usize, DbErr> {
    connection.execute_unprepared("BEGIN IMMEDIATE").await?;
    let steps = up(connection).await;
    let end = if steps.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.execute_unprepared(end).await?;
    steps
}
