//! Brings the schema up to date, safely from many replicas at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr};
use sea_orm_migration::MigratorTrait as _;

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::store::Store;
use crate::store::connection::errors::timed_out;
use crate::store::connection::{Db, DbResult, Dialect, ErrorClass, Limits, Target, classify};
use crate::store::schema::compatibility::{Schema, Steps, schema_status};

/// The advisory lock under which one replica migrates while the others wait. An arbitrary number.
const ADVISORY_LOCK: i64 = 0x5EA7_10C4;

/// Between two attempts to open a file that another process is creating.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Attempts before the file counts as unusable: two seconds.
const BUSY_ATTEMPTS: usize = 100;

/// How long a step waits for a lock of a table. Other statements queue behind it meanwhile, so this is the longest
/// that sales stop for a migration; a backup or an audit may use the table for an hour.
const TABLE_LOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// Between two attempts to lock a table.
const TABLE_LOCK_PAUSE: Duration = Duration::from_millis(800);

/// After this time the migration fails: an operator has to find out what uses the table.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);

/// Between two attempts to take the advisory lock. Replicas do not wait for it inside PostgreSQL: their waiting
/// statements would count as transactions for which the creation of an index has to wait.
const ADVISORY_LOCK_PAUSE: Duration = Duration::from_millis(200);

impl Store {
    /// Applies the missing steps on a connection of its own, under an advisory lock (sea-orm-migration takes
    /// none: replicas that start together would fail on each other's tables). Returns their number.
    pub async fn migrate(target: &Target, limits: &Limits) -> StoreResult<usize> {
        target.prepare()?;
        let mut options = target.writer_options(limits, 1, &Arc::default());
        options.connect_lazy(false);
        let db = Db::new(connect(options).await?, target.dialect());
        let steps = match target.dialect() {
            Dialect::Postgres => migrate_locked(&db).await,
            Dialect::Sqlite => migrate_file(&db).await,
        };
        let schema = schema_status(&db).await;
        db.connection.close().await?;
        match (steps?, schema?.problem()) {
            (steps, None) => Ok(steps),
            (_, Some(problem)) => Err(StoreError::Unfit(problem)),
        }
    }
}

/// SQLite switches a new file to its write-ahead log under a lock for which it does not wait: if several processes
/// start on one file, all but one get a busy error.
async fn connect(options: ConnectOptions) -> DbResult<DatabaseConnection> {
    for _ in 0..BUSY_ATTEMPTS {
        match Database::connect(options.clone()).await {
            Err(error) if classify(&error) == ErrorClass::Retry => {
                tokio::time::sleep(BUSY_PAUSE).await
            }
            connected => return connected,
        }
    }
    Database::connect(options).await
}

/// Applies what is missing, and leaves the steps of a newer program alone.
async fn apply(db: &Db) -> DbResult<usize> {
    match schema_status(db).await? {
        Schema::Behind(steps) => {
            Steps::up(&db.connection, None).await?;
            Ok(steps)
        }
        Schema::Current | Schema::Newer(_) | Schema::Incompatible(_) => Ok(0),
    }
}

async fn migrate_locked(db: &Db) -> DbResult<usize> {
    let timeout = TABLE_LOCK_TIMEOUT.as_millis();
    let settings = format!("SET statement_timeout = 0; SET lock_timeout = {timeout}");
    db.connection.execute_unprepared(&settings).await?;
    let lock = format!("SELECT pg_try_advisory_lock({ADVISORY_LOCK})");
    while db.fetch_one::<bool>(&lock, Vec::new()).await? != Some(true) {
        tokio::time::sleep(ADVISORY_LOCK_PAUSE).await;
    }
    let steps = apply_until_unlocked(db).await;
    let unlock = format!("SELECT pg_advisory_unlock({ADVISORY_LOCK})");
    db.connection.execute_unprepared(&unlock).await?;
    steps
}

/// Tries again until every step has locked its tables; a step that could not is rolled back.
async fn apply_until_unlocked(db: &Db) -> DbResult<usize> {
    let mut steps = 0;
    let mut in_use = None;
    let began = Instant::now();
    while began.elapsed() < MIGRATION_TIMEOUT {
        let before = schema_status(db).await?;
        match apply(db).await {
            Err(error) if timed_out(&error) || classify(&error) == ErrorClass::Retry => {
                if in_use.is_none() {
                    log::warn!(
                        "other sessions use a table that a step of the schema changes, waiting: {error}"
                    );
                }
                in_use = Some(error);
                tokio::time::sleep(TABLE_LOCK_PAUSE).await;
            }
            applied => return applied.map(|last| steps + last),
        }
        if let (Schema::Behind(before), Schema::Behind(after)) = (before, schema_status(db).await?)
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

/// SQLite: of several processes one migrates, and the others then find the steps applied.
async fn migrate_file(db: &Db) -> DbResult<usize> {
    db.connection.execute_unprepared("BEGIN IMMEDIATE").await?;
    let steps = apply(db).await;
    let end = if steps.is_ok() { "COMMIT" } else { "ROLLBACK" };
    db.connection.execute_unprepared(end).await?;
    steps
}
