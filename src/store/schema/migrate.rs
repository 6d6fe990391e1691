//! Migrates the schema. Several replicas may do so at the same time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbErr};
use sea_orm_migration::MigratorTrait as _;

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::store::Store;
use crate::store::connection::errors::timed_out;
use crate::store::connection::lineage::Lineage;
use crate::store::connection::{Db, DbResult, Dialect, ErrorClass, Limits, Target, classify};
use crate::store::schema::compatibility::{Schema, Steps, schema_status};
use crate::store::schema::distribute::distribute;

/// The advisory lock under which one replica migrates while the others wait. An arbitrary number.
const ADVISORY_LOCK: i64 = 0x5EA7_10C4;

/// The pause between two attempts to open a file that another process is creating.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// The most attempts to open the file: two seconds.
const BUSY_ATTEMPTS: usize = 100;

/// How long a step waits for the lock of a table. Statements that need the table queue behind the waiting step, so
/// one attempt stops sales for at most this time. A backup or an audit may use the table for an hour.
const TABLE_LOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// The pause between two attempts to lock a table.
const TABLE_LOCK_PAUSE: Duration = Duration::from_millis(800);

/// After this time the migration fails: an operator has to find out what uses the table.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(600);

/// The pause between two attempts to take the advisory lock. Replicas do not wait for the lock inside PostgreSQL:
/// the creation of an index would have to wait for their waiting statements, which count as transactions.
const ADVISORY_LOCK_PAUSE: Duration = Duration::from_millis(200);

impl Store {
    /// Applies the missing steps on its own connection, under an advisory lock. Returns their number.
    /// sea-orm-migration takes no lock, so that replicas that start together would create the same tables and fail.
    pub async fn migrate(target: &Target, limits: &Limits) -> StoreResult<usize> {
        target.prepare()?;
        let db = connect_writer(target, limits, &Arc::default()).await?;
        let steps = match db.dialect {
            Dialect::Postgres | Dialect::Citus => migrate_locked(&db).await,
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

/// Opens one connection that writes, with the newest password.
pub(crate) async fn connect_writer(
    target: &Target,
    limits: &Limits,
    lineage: &Arc<Lineage>,
) -> StoreResult<Db> {
    let mut options = target.writer_options(limits, 1, lineage);
    options.connect_lazy(false);
    if let Some(login) = target.writer_login() {
        login.set_newest(&mut options).await?;
    }
    let mut db = Db::new(connect(options).await?, target.dialect());
    db.dialect = target.ask_dialect(&db).await?;
    Ok(db)
}

/// Connects, and retries while SQLite is busy. SQLite does not wait for the lock under which it switches a new file
/// to the write-ahead log: if several processes open a new file, all but one get a busy error.
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

/// Applies the missing steps. Steps of a newer program are not changed.
async fn apply(db: &Db) -> DbResult<usize> {
    match schema_status(db).await? {
        Schema::Behind(steps) => {
            Steps::up(&db.connection, None).await?;
            if db.dialect == Dialect::Citus {
                distribute(db).await?;
            }
            Ok(steps)
        }
        Schema::Current | Schema::Newer(_) | Schema::Incompatible(_) => Ok(0),
    }
}

/// PostgreSQL: one replica migrates under the advisory lock; the others then find the steps applied.
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

/// Applies the steps, and retries while other sessions use the tables. A step that cannot lock a table is rolled
/// back.
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
                        "a migration step waits for a table that other sessions use: {error}"
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
        "a migration step waited ten minutes for a table that other sessions use ({error}); find the session \
         (perhaps a backup) in pg_locks and pg_stat_activity, and migrate again when it has ended"
    )))
}

/// SQLite: one process migrates under the write lock; the others then find the steps applied.
async fn migrate_file(db: &Db) -> DbResult<usize> {
    db.connection.execute_unprepared("BEGIN IMMEDIATE").await?;
    let steps = apply(db).await;
    let end = if steps.is_ok() { "COMMIT" } else { "ROLLBACK" };
    db.connection.execute_unprepared(end).await?;
    steps
}
