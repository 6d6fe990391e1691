//! Which history the database is writing: after a failover it must not be an older one than any seen, and
//! nothing cached, streamed or tagged from a history that was lost may match the new one, be it that of a
//! promoted standby or of a backup.
//!
//! Each history has a random name, which is written in the same transaction as the versions that it begins with.
//! A state and the name are read with the same statement.
//!
//! A history is new where PostgreSQL's cluster, its timeline, or the table that says so is another one than
//! before, or where somebody has said so: `UPDATE lineage SET system_id = 'restored'`, as `seatlock backup`
//! does in its copies. (A copy of a cluster's files that is started without `recovery.signal` cannot be told
//! from the original: docs/operations.md.)

use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::sqlx::{self, AssertSqlSafe, Executor as _, PgConnection, SqliteConnection};
use sea_orm::{ConnectionTrait as _, DbErr};

use crate::domain::execution_error::StoreError;
use crate::domain::ids::HistoryId;
use crate::domain::version::HISTORY_JUMP;

use crate::store::connection::rows;
use crate::store::{ReadFrom, Store};

/// The history that a database is at, as part of a statement: what the statement reads besides is of that history.
pub(crate) const HISTORY: &str = "(SELECT history FROM lineage WHERE id = 1)";

/// The newest history that this process has written to.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    newest: Mutex<Option<History>>,
}

/// A cluster and its timeline (PostgreSQL manual, 26.3.5): a promotion begins a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct History {
    system: String,
    timeline: i64,
}

impl Lineage {
    /// Admits a new write connection, or refuses it: the server may be an old primary that came back.
    /// The first writer on a new history moves every version on, before any batch.
    pub(crate) async fn admit(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let sql = "SELECT system_identifier::text,
             ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint
             FROM pg_control_system()";
        let (system, timeline): (String, i64) =
            sqlx::query_as(sql).fetch_one(&mut *connection).await?;
        let found = History { system, timeline };
        if !self.is_current(&found) {
            let text =
                format!("this primary is at timeline {timeline}, older than one seen before");
            return Err(sqlx::Error::Configuration(text.into()));
        }
        connection.execute(AssertSqlSafe(adopt(&found))).await?;
        Ok(())
    }

    /// Remembers a history unless it is older than the newest of the same cluster.
    fn is_current(&self, found: &History) -> bool {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let older = newest
            .as_ref()
            .is_some_and(|known| known.system == found.system && found.timeline < known.timeline);
        if !older {
            *newest = Some(found.clone());
        }
        !older
    }
}

/// Writes the history down if it is a new one. The row's lock lets one writer do it; before the migrations
/// there is no row. Ids of the lost history are not given again either.
fn adopt(found: &History) -> String {
    let History { system, timeline } = found;
    // The identifier is a number by its source, so it needs no quoting of its own.
    let system: String = system.chars().filter(char::is_ascii_digit).collect();
    let version = moved_on("floor(extract(epoch FROM clock_timestamp()))::bigint", "greatest");
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

/// The version with which a schedule begins a new history, given the words for the seconds of the clock and
/// for the greater of two numbers. It differs from the old one by whole [`HISTORY_JUMP`]s, and says when the
/// history began: a backup may be restored twice, and one from before a failover after it.
fn moved_on(seconds: &str, greater: &str) -> String {
    format!("version + {HISTORY_JUMP} * {greater}(1, {seconds} - version / {HISTORY_JUMP})")
}

/// Ids left out of each sequence: more than a lost history can have given since its backup.
const IDS: u32 = 1_000;

/// Begins a new history if the file is marked as a copy of another one.
pub(crate) async fn admit_sqlite(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'lineage'";
    if connection.fetch_optional(there).await?.is_none()
        || connection.fetch_optional(IS_COPY).await?.is_none()
    {
        return Ok(());
    }
    connection.execute("BEGIN IMMEDIATE").await?;
    let adopted = adopt_copy(connection).await;
    connection.execute(if adopted.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    adopted
}

/// The row of a file that is marked as a copy.
const IS_COPY: &str = "SELECT 1 FROM lineage WHERE system_id <> ''";

async fn adopt_copy(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    // Another connection may have been first.
    if connection.fetch_optional(IS_COPY).await?.is_some() {
        let version = moved_on("unixepoch()", "max");
        let adopt = format!(
            "UPDATE schedule_version SET version = {version};
             UPDATE sqlite_sequence SET seq = seq + {IDS} WHERE name IN ('event', 'schedule');
             UPDATE lineage SET system_id = ''"
        );
        connection.execute(AssertSqlSafe(adopt)).await?;
        if connection.fetch_optional(HAS_NAME).await?.is_some() {
            connection.execute("UPDATE lineage SET history = lower(hex(randomblob(4)))").await?;
        }
    }
    Ok(())
}

/// Whether histories have names yet: a copy may be older than the step that adds them.
const HAS_NAME: &str = "SELECT 1 FROM pragma_table_info('lineage') WHERE name = 'history'";

/// Reads the column of [`HISTORY`].
pub(crate) fn history(column: &str) -> Result<HistoryId, DbErr> {
    column.parse().map_err(|_| rows::corrupt("name of the history"))
}

impl Store {
    /// Where a page that begins at a cursor is read, and in which history; an error if the cursor is of another
    /// one than the newest.
    pub(crate) async fn history_of_page(
        self: &Arc<Self>,
        cursor: Option<HistoryId>,
    ) -> Result<(HistoryId, ReadFrom), StoreError> {
        let dialect = self.dialect;
        for from in [ReadFrom::Anywhere, ReadFrom::Primary] {
            let read = move |db: sea_orm::DatabaseConnection| async move {
                let sql = format!("SELECT {HISTORY}");
                let row = db.query_one_raw(dialect.statement(&sql, Vec::new())).await?;
                let row = row.ok_or_else(|| rows::corrupt("name of the history"))?;
                history(&row.try_get_by_index::<String>(0)?)
            };
            let found = self.read_from(from, read).await?;
            if cursor.is_none_or(|cursor| cursor == found) {
                return Ok((found, from));
            }
            // A replica may not have heard of the newest history yet.
        }
        Err(StoreError::OtherHistory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(system: &str, timeline: i64) -> History {
        History { system: system.to_owned(), timeline }
    }

    #[test]
    fn an_older_timeline_of_the_same_cluster_is_refused() {
        let lineage = Lineage::default();
        assert!(lineage.is_current(&history("1", 3)));
        assert!(lineage.is_current(&history("1", 3)));
        assert!(!lineage.is_current(&history("1", 2)));
        assert!(lineage.is_current(&history("1", 4)));
        assert!(!lineage.is_current(&history("1", 3)));
    }

    #[test]
    fn another_cluster_has_timelines_of_its_own() {
        let lineage = Lineage::default();
        assert!(lineage.is_current(&history("1", 3)));
        assert!(lineage.is_current(&history("2", 1)), "restored from a dump");
    }
}
