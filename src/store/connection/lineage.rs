//! The history of the database. A promoted standby or a restored backup may lack the newest commits, so it begins a
//! new history. The program refuses to write to a history that is older than one it has written to. Nothing that was
//! cached, streamed or tagged in a lost history may match the new one.
//!
//! Each history has a random name, written in the same transaction as its first versions. A state and the name of
//! its history are read in one statement.
//!
//! A new history begins when PostgreSQL's cluster, its timeline or the identifier of the table `lineage` has changed,
//! or after `UPDATE lineage SET system_id = 'restored'`, which `seatlock backup` does in its copies. (A copy of a
//! cluster's files that is started without `recovery.signal` cannot be distinguished from the original:
//! docs/operations.md.)

use parking_lot::Mutex;
use sea_orm::sqlx::{self, AssertSqlSafe, Executor as _, PgConnection, SqliteConnection};

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::domain::ids::HistoryId;
use crate::domain::version::HISTORY_JUMP;
use crate::store::connection::session::Db;
use crate::store::connection::{DbResult, rows};
use crate::store::{ReadFrom, Store};

/// The SQL expression for the name of the history. Everything that the same statement reads belongs to that history.
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
    /// Verifies that the server of a new write connection is not an old primary that was started again. The first
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

    /// Stores a timeline and returns true. Returns false, and stores nothing, if the timeline is older than the
    /// newest one of the same cluster.
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

/// The statement that begins a new history if the timeline is new. The row lock admits one writer at a time. Before
/// the migrations the row does not exist, and the statement does nothing. Ids of the lost history are not reused.
fn begin_history(found: &Timeline) -> String {
    let Timeline { system, number: timeline } = found;
    // PostgreSQL's identifier is a number. Only digits are kept, so the text needs no quoting.
    let system: String = system.chars().filter(char::is_ascii_digit).collect();
    let version = first_version("floor(extract(epoch FROM clock_timestamp()))::bigint", "greatest");
    format!(
        "DO $$ DECLARE known record; this_oid bigint := to_regclass('lineage')::oid::bigint; BEGIN
             PERFORM 1 FROM pg_attribute WHERE attrelid = this_oid AND attname = 'table_oid';
             IF NOT FOUND THEN RETURN; END IF;
             PERFORM 1 FROM lineage
                 WHERE system_id = '{system}' AND timeline = {timeline} AND table_oid = this_oid;
             IF FOUND THEN RETURN; END IF;
             SELECT system_id, timeline, table_oid INTO known FROM lineage WHERE id = 1 FOR UPDATE;
             UPDATE lineage SET system_id = '{system}', timeline = {timeline}, table_oid = this_oid
                 WHERE system_id <> '{system}' OR timeline <> {timeline}
                     OR table_oid IS DISTINCT FROM this_oid;
             IF FOUND AND known.system_id <> '' AND NOT (known.system_id = '{system}'
                 AND known.timeline = {timeline} AND known.table_oid IS NULL) THEN
                 UPDATE schedule_version SET version = {version};
                 PERFORM 1 FROM pg_attribute WHERE attrelid = this_oid AND attname = 'history';
                 IF FOUND THEN
                     UPDATE lineage SET history = left(gen_random_uuid()::text, 8);
                 END IF;
                 PERFORM nextval(pg_get_serial_sequence('event', 'id')),
                     nextval(pg_get_serial_sequence('schedule', 'id'))
                     FROM generate_series(1, {SKIPPED_IDS});
             END IF;
         END $$"
    )
}

/// The SQL for a schedule's first version in a new history, given the SQL for the seconds of the clock and for the
/// greater of two numbers. The version differs from the old one by a multiple of [`HISTORY_JUMP`]. It contains the
/// time, so that histories differ that begin with the same version: a backup may be restored twice, and an older
/// backup may be restored after a failover.
fn first_version(seconds: &str, greater: &str) -> String {
    format!("version + {HISTORY_JUMP} * {greater}(1, {seconds} - version / {HISTORY_JUMP})")
}

/// How many ids a new history skips in each sequence: more than a lost history can have used since its backup.
const SKIPPED_IDS: u32 = 1_000;

/// Returns a row if the file is marked as a copy.
const IS_COPY: &str = "SELECT 1 FROM lineage WHERE system_id <> ''";

/// Returns a row if the schema has names of histories: a copy may be older than the step that adds them.
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
    // Another connection may have begun the new history first.
    if connection.fetch_optional(IS_COPY).await?.is_none() {
        return Ok(());
    }
    let version = first_version("unixepoch()", "max");
    let begin = format!(
        "UPDATE schedule_version SET version = {version};
         UPDATE sqlite_sequence SET seq = seq + {SKIPPED_IDS} WHERE name IN ('event', 'schedule');
         UPDATE lineage SET system_id = ''"
    );
    connection.execute(AssertSqlSafe(begin)).await?;
    if connection.fetch_optional(HAS_NAME).await?.is_some() {
        connection.execute("UPDATE lineage SET history = lower(hex(randomblob(4)))").await?;
    }
    Ok(())
}

/// Parses the column of [`HISTORY`].
pub(crate) fn history(column: &str) -> DbResult<HistoryId> {
    column.parse().map_err(|_| rows::corrupt("name of the history"))
}

impl Store {
    /// The history of a page that begins at a cursor, and the database to read the page from. Fails if the cursor
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
