//! The history that the database is writing. After a failover it must not be older than one seen before, and
//! nothing cached, streamed or tagged in a lost history may match the new one, be it that of a promoted standby
//! or of a restored backup.
//!
//! Each history has a random name, written in the same transaction as its first versions. A state and the name
//! are read with one statement.
//!
//! A history is new if PostgreSQL's cluster, its timeline or the identifier of the table `lineage` has changed, or
//! after `UPDATE lineage SET system_id = 'restored'`, as `seatlock backup` does in its copies. (A copy of a
//! cluster's files that is started without `recovery.signal` cannot be told from the original:
//! docs/operations.md.)

use parking_lot::Mutex;
use sea_orm::sqlx::{self, AssertSqlSafe, Executor as _, PgConnection, SqliteConnection};

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::domain::ids::HistoryId;
use crate::domain::version::HISTORY_JUMP;
use crate::store::connection::session::Db;
use crate::store::connection::{DbResult, rows};
use crate::store::{ReadFrom, Store};

/// An expression for the name of the history; whatever else its statement reads belongs to that history.
pub(crate) const HISTORY: &str = "(SELECT history FROM lineage WHERE id = 1)";

/// The newest timeline that this process has written to.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    newest: Mutex<Option<Timeline>>,
}

/// A cluster and its timeline (PostgreSQL manual, 26.3.5): a promotion begins a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Timeline {
    system: String,
    number: i64,
}

impl Lineage {
    /// Verifies that the server of a new write connection is not an old primary that came back. The first
    /// writer on a new timeline begins a new history before any batch.
    pub(crate) async fn verify(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let sql = "SELECT system_identifier::text,
             ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
             FROM pg_control_system()";
        let (system, number): (String, i64) =
            sqlx::query_as(sql).fetch_one(&mut *connection).await?;
        let found = Timeline { system, number };
        if !self.accept(&found) {
            let text = format!("this primary is at timeline {number}, older than one seen before");
            return Err(sqlx::Error::Configuration(text.into()));
        }
        connection.execute(AssertSqlSafe(begin_history(&found))).await?;
        Ok(())
    }

    /// Stores a timeline, unless it is older than the newest of the same cluster: then false.
    fn accept(&self, found: &Timeline) -> bool {
        let mut newest = self.newest.lock();
        let is_older = |seen: &Timeline| seen.system == found.system && found.number < seen.number;
        if newest.as_ref().is_some_and(is_older) {
            return false;
        }
        *newest = Some(found.clone());
        true
    }
}

/// The statement that begins a new history if the timeline is a new one. One writer at a time, by the row's lock;
/// before the migrations there is no row. Ids of the lost history are not reused.
fn begin_history(found: &Timeline) -> String {
    let Timeline { system, number: timeline } = found;
    // The identifier is a number by its source, so it needs no quoting of its own.
    let system: String = system.chars().filter(char::is_ascii_digit).collect();
    let version = first_version("floor(extract(epoch FROM clock_timestamp()))::bigint", "greatest");
    format!(
        "DO $$ DECLARE known record; place bigint := to_regclass('lineage')::oid::bigint; BEGIN
             PERFORM 1 FROM pg_attribute WHERE attrelid = place AND attname = 'table_oid';
             IF NOT FOUND THEN RETURN; END IF;
             PERFORM 1 FROM lineage
                 WHERE system_id = '{system}' AND timeline = {timeline} AND table_oid = place;
             IF FOUND THEN RETURN; END IF;
             SELECT system_id, timeline, table_oid INTO known FROM lineage WHERE id = 1 FOR UPDATE;
             UPDATE lineage SET system_id = '{system}', timeline = {timeline}, table_oid = place
                 WHERE system_id <> '{system}' OR timeline <> {timeline}
                     OR table_oid IS DISTINCT FROM place;
             IF FOUND AND known.system_id <> '' AND NOT (known.system_id = '{system}'
                 AND known.timeline = {timeline} AND known.table_oid IS NULL) THEN
                 UPDATE schedule_version SET version = {version};
                 PERFORM 1 FROM pg_attribute WHERE attrelid = place AND attname = 'history';
                 IF FOUND THEN
                     UPDATE lineage SET history = left(gen_random_uuid()::text, 8);
                 END IF;
                 PERFORM nextval(pg_get_serial_sequence('event', 'id')),
                     nextval(pg_get_serial_sequence('schedule', 'id')) FROM generate_series(1, {IDS});
             END IF;
         END $$"
    )
}

/// The version with which a schedule begins a new history, given the SQL for the seconds of the clock and for the
/// greater of two numbers. It differs from the old one by whole [`HISTORY_JUMP`]s and contains the time: a backup
/// may be restored twice, and one from before a failover after it.
fn first_version(seconds: &str, greater: &str) -> String {
    format!("version + {HISTORY_JUMP} * {greater}(1, {seconds} - version / {HISTORY_JUMP})")
}

/// Ids skipped in each sequence: more than a lost history can have used since its backup.
const IDS: u32 = 1_000;

/// The row of a file that is marked as a copy.
const IS_COPY: &str = "SELECT 1 FROM lineage WHERE system_id <> ''";

/// Whether histories have names yet: a copy may be older than the step that adds them.
const HAS_NAME: &str = "SELECT 1 FROM pragma_table_info('lineage') WHERE name = 'history'";

/// Begins a new history if the file is marked as a copy.
pub(crate) async fn verify_sqlite(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'lineage'";
    if connection.fetch_optional(table).await?.is_none()
        || connection.fetch_optional(IS_COPY).await?.is_none()
    {
        return Ok(());
    }
    connection.execute("BEGIN IMMEDIATE").await?;
    let begun = begin_history_of_copy(connection).await;
    connection.execute(if begun.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    begun
}

async fn begin_history_of_copy(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    // Another connection may have been first.
    if connection.fetch_optional(IS_COPY).await?.is_none() {
        return Ok(());
    }
    let version = first_version("unixepoch()", "max");
    let begin = format!(
        "UPDATE schedule_version SET version = {version};
         UPDATE sqlite_sequence SET seq = seq + {IDS} WHERE name IN ('event', 'schedule');
         UPDATE lineage SET system_id = ''"
    );
    connection.execute(AssertSqlSafe(begin)).await?;
    if connection.fetch_optional(HAS_NAME).await?.is_some() {
        connection.execute("UPDATE lineage SET history = lower(hex(randomblob(4)))").await?;
    }
    Ok(())
}

/// Reads the column of [`HISTORY`].
pub(crate) fn history(column: &str) -> DbResult<HistoryId> {
    column.parse().map_err(|_| rows::corrupt("name of the history"))
}

impl Store {
    /// The history of a page that begins at a cursor, and the database to read it from; an error if the cursor
    /// belongs to another history than the newest.
    pub(crate) async fn history_of_page(
        &self,
        cursor: Option<HistoryId>,
    ) -> StoreResult<(HistoryId, ReadFrom)> {
        // A replica may not have received the newest history yet.
        for from in [ReadFrom::Anywhere, ReadFrom::Primary] {
            let read = |db: Db| async move {
                let name = db.fetch_one::<String>(format!("SELECT {HISTORY}"), Vec::new()).await?;
                history(&name.unwrap_or_default())
            };
            let found = self.read_from(from, read).await?;
            if cursor.is_none_or(|cursor| cursor == found) {
                return Ok((found, from));
            }
        }
        Err(StoreError::OtherHistory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(system: &str, number: i64) -> Timeline {
        Timeline { system: system.to_owned(), number }
    }

    #[test]
    fn an_older_timeline_of_the_same_cluster_is_refused() {
        let lineage = Lineage::default();
        assert!(lineage.accept(&timeline("1", 3)));
        assert!(lineage.accept(&timeline("1", 3)));
        assert!(!lineage.accept(&timeline("1", 2)));
        assert!(lineage.accept(&timeline("1", 4)));
        assert!(!lineage.accept(&timeline("1", 3)));
    }

    #[test]
    fn another_cluster_has_timelines_of_its_own() {
        let lineage = Lineage::default();
        assert!(lineage.accept(&timeline("1", 3)));
        assert!(lineage.accept(&timeline("2", 1)), "restored from a dump");
    }
}
