//! The history of the database. A promoted standby or a restored backup may lack the newest commits, so it begins a
//! new history. The program refuses to write to a history that is older than one it has written to. Nothing that was
//! cached, streamed or tagged in a lost history may match the new one.
//!
//! Each history has a random name, written in the same transaction as its first versions. A state and the name of
//! its history are read in one statement.
//!
//! A new history begins when PostgreSQL's cluster, its timeline or the identifier of the table `lineage` has changed,
//! when the newest batch that this process has committed is missing, after `UPDATE lineage SET system_id = 'restored'`,
//! which `seatlock backup` does in its copies, and by `seatlock history begin`. (A copy of a cluster's files that is
//! started without `recovery.signal` cannot be distinguished from the original, except by a process that has sold
//! since: docs/operations.md.) Some managed services refuse the functions that return the cluster and the timeline.
//! There the rest of this list remains (docs/managed-postgresql.md).

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sea_orm::sqlx::{self, AssertSqlSafe, Executor as _, PgConnection, Row as _, SqliteConnection};

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::domain::ids::{BatchId, HistoryId};
use crate::domain::version::HISTORY_JUMP;
use crate::store::connection::session::Db;
use crate::store::connection::{DbResult, rows};
use crate::store::{ReadFrom, Store};

/// The SQL expression for the name of the history. Everything that the same statement reads belongs to that history.
pub(crate) const HISTORY: &str = "(SELECT history FROM lineage WHERE id = 1)";

/// How long a committed batch is looked up. Its record is purged after 24 hours.
const BATCH_RECORDED: Duration = Duration::from_secs(12 * 3_600);

/// What one process has found out about the histories of its database.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    /// The newest timeline that this process has written to.
    newest: Mutex<Option<Timeline>>,
    /// Why the last server did not return its cluster or timeline; empty if it did.
    unknown: Mutex<String>,
    /// The newest batch that this process has committed.
    committed: Mutex<Option<(BatchId, Instant)>>,
}

/// A cluster and its timeline (PostgreSQL manual, 26.3.5): a promotion begins a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Timeline {
    /// PostgreSQL's identifier of the cluster, digits; empty if the server refuses to return it.
    system: String,
    /// The number of the timeline; 0 if the server refuses to return it.
    number: i64,
}

impl Lineage {
    /// Verifies that the server of a new write connection is not an old primary that was started again. The first
    /// writer on a new timeline begins a new history before any batch.
    pub(crate) async fn verify(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.verify_or_begin(connection, false).await
    }

    /// Begins a new history on the server of this write connection, because an operator has asked for it.
    pub(crate) async fn begin(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.verify_or_begin(connection, true).await
    }

    /// Records that this process has committed a batch. A server that lacks it has lost commits.
    pub(crate) fn record_commit(&self, batch: BatchId) {
        *self.committed.lock() = Some((batch, Instant::now()));
    }

    /// What cannot be found out about the history on the last server, with the consequence; `None` if nothing.
    pub(crate) fn warning(&self) -> Option<String> {
        let unknown = self.unknown.lock();
        (!unknown.is_empty()).then(|| {
            format!(
                "the database does not return what its history is recognised by ({unknown}): after a restore or a \
                 failover that lost commits run `seatlock history begin` (docs/managed-postgresql.md)"
            )
        })
    }

    async fn verify_or_begin(
        &self,
        connection: &mut PgConnection,
        asked_for: bool,
    ) -> Result<(), sqlx::Error> {
        let row = sqlx::raw_sql(IDENTIFY).fetch_one(&mut *connection).await?;
        let (system, number): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        *self.unknown.lock() = row.try_get(2)?;
        let number = number.parse().unwrap_or(0);
        let found = Timeline { system, number };
        if !self.accept(&found) {
            let text = format!("this primary is at timeline {number}, older than one seen before");
            return Err(sqlx::Error::Configuration(text.into()));
        }
        let committed = *self.committed.lock();
        let recent = committed.filter(|(_, at)| at.elapsed() < BATCH_RECORDED).map(|(id, _)| id);
        let begin = AssertSqlSafe(begin_history(&found, recent, asked_for));
        let row = sqlx::raw_sql(begin).fetch_one(&mut *connection).await?;
        let reason: String = row.try_get(0)?;
        if !reason.is_empty() {
            log::warn!("a new history of the database begins: {reason}");
            let mut last = self.committed.lock();
            // A commit of another connection may have been recorded meanwhile.
            if last.map(|(id, _)| id) == committed.map(|(id, _)| id) {
                *last = None;
            }
        }
        Ok(())
    }

    /// Stores a timeline and returns true. Returns false, and stores nothing, if the timeline is older than the
    /// newest one of the same cluster. A timeline that is not known is never older.
    fn accept(&self, found: &Timeline) -> bool {
        let mut newest = self.newest.lock();
        let is_older = |seen: &Timeline| {
            found.number != 0 && seen.system == found.system && found.number < seen.number
        };
        if newest.as_ref().is_some_and(is_older) {
            return false;
        }
        *newest = Some(found.clone());
        true
    }
}

/// Returns the identifier of the cluster and the number of the timeline as texts, and why one of them is not known.
///
/// Managed services refuse some of these functions, for want of rights (42501) or because of their own storage (55000 or
/// 0A000). A refusal is caught in the database, so that it fills no log there. If the log of the server cannot be
/// asked, the control file can: a promotion writes the number of its timeline there before the server accepts writes,
/// and a checkpoint moves it from one field to the other (`CreateEndOfRecoveryRecord` in xlog.c of PostgreSQL).
const IDENTIFY: &str =
    "DO $$ DECLARE cluster text := ''; line bigint := 0; unknown text := ''; refusal text;
     BEGIN
         BEGIN
             SELECT system_identifier::text INTO cluster FROM pg_control_system();
         EXCEPTION WHEN insufficient_privilege OR object_not_in_prerequisite_state
             OR feature_not_supported OR undefined_function THEN
             unknown := 'cluster: ' || SQLSTATE || ', ' || SQLERRM;
         END;
         BEGIN
             line := ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint;
         EXCEPTION WHEN insufficient_privilege OR object_not_in_prerequisite_state
             OR feature_not_supported OR undefined_function THEN
             refusal := 'timeline: ' || SQLSTATE || ', ' || SQLERRM;
             BEGIN
                 SELECT greatest(timeline_id, min_recovery_end_timeline) INTO line
                     FROM pg_control_checkpoint(), pg_control_recovery();
             EXCEPTION WHEN insufficient_privilege OR object_not_in_prerequisite_state
                 OR feature_not_supported OR undefined_function THEN
                 unknown := concat_ws('; ', nullif(unknown, ''), refusal);
             END;
         END;
         PERFORM set_config('seatlock.cluster', cluster, true),
             set_config('seatlock.timeline', line::text, true),
             set_config('seatlock.unknown', unknown, true);
     END $$;
     SELECT current_setting('seatlock.cluster'), current_setting('seatlock.timeline'),
         current_setting('seatlock.unknown')";

/// The statements that begin a new history if there is a reason, and return the reason as a text, empty if there is
/// none. The row lock admits one writer at a time. Before the migrations the row does not exist, and nothing is done.
/// Ids of the lost history are not reused.
///
/// A part of `found` that is not known is not compared, and does not replace one that was known. `committed` is a batch
/// that must exist.
fn begin_history(found: &Timeline, committed: Option<BatchId>, asked_for: bool) -> String {
    let Timeline { system, number: timeline } = found;
    // PostgreSQL's identifier is a number. Only digits are kept, so the text needs no quoting.
    let system: String = system.chars().filter(char::is_ascii_digit).collect();
    let version = first_version("seconds", "greatest");
    let committed = committed.map_or_else(|| "NULL".to_owned(), |batch| format!("'{}'", batch.0));
    let reason = if asked_for { "'an operator has asked for it'" } else { "''" };
    format!(
        "DO $$ DECLARE known record; reason text := {reason}; committed uuid := {committed};
             this_oid bigint := to_regclass('lineage')::oid::bigint;
             seconds bigint := floor(extract(epoch FROM clock_timestamp()));
         BEGIN
             PERFORM set_config('seatlock.reason', '', true);
             PERFORM 1 FROM pg_attribute WHERE attrelid = this_oid AND attname = 'table_oid';
             IF NOT FOUND THEN RETURN; END IF;
             IF committed IS NOT NULL THEN
                 PERFORM 1 FROM batch WHERE id = committed;
                 IF NOT FOUND THEN
                     reason := 'the newest batch that this process has committed is missing';
                 END IF;
             END IF;
             PERFORM 1 FROM lineage WHERE reason = '' AND table_oid = this_oid
                 AND timeline = coalesce(nullif({timeline}, 0), timeline)
                 AND (system_id = '{system}' OR '{system}' = '' AND system_id !~ '[^0-9]');
             IF FOUND THEN RETURN; END IF;
             SELECT system_id, timeline, table_oid INTO known FROM lineage WHERE id = 1 FOR UPDATE;
             reason := CASE WHEN reason <> '' THEN reason
                 WHEN known.system_id ~ '[^0-9]' THEN 'the database is marked as a copy'
                 WHEN known.system_id <> '' AND '{system}' NOT IN ('', known.system_id)
                     THEN 'the cluster is another one'
                 WHEN known.timeline <> 0 AND {timeline} NOT IN (0, known.timeline)
                     THEN 'the timeline is another one'
                 WHEN known.table_oid <> this_oid THEN 'the tables were restored' ELSE '' END;
             UPDATE lineage SET table_oid = this_oid,
                 system_id = CASE WHEN '{system}' = '' AND reason = '' THEN system_id
                     ELSE '{system}' END,
                 timeline = CASE WHEN {timeline} = 0 AND reason = '' THEN timeline
                     ELSE {timeline} END;
             IF reason <> '' THEN
                 UPDATE schedule_version SET version = {version};
                 PERFORM 1 FROM pg_attribute WHERE attrelid = this_oid AND attname = 'history';
                 IF FOUND THEN
                     UPDATE lineage SET history = left(gen_random_uuid()::text, 8);
                 END IF;
                 PERFORM nextval(pg_get_serial_sequence('event', 'id')),
                     nextval(pg_get_serial_sequence('schedule', 'id'))
                     FROM generate_series(1, {SKIPPED_IDS});
                 PERFORM set_config('seatlock.reason', reason, true);
             END IF;
         END $$;
         SELECT current_setting('seatlock.reason')"
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
    fn a_timeline_that_is_not_known_is_not_older() {
        let lineage = Lineage::default();
        assert!(lineage.accept(&timeline("1", 3)));
        assert!(lineage.accept(&timeline("1", 0)));
        assert!(lineage.accept(&timeline("", 3)), "the cluster is no longer known");
        assert!(!lineage.accept(&timeline("", 2)));
    }

    #[test]
    fn another_cluster_has_timelines_of_its_own() {
        let lineage = Lineage::default();
        assert!(lineage.accept(&timeline("1", 3)));
        assert!(lineage.accept(&timeline("2", 1)), "restored from a dump");
    }
}
