//! The settings of PostgreSQL's sessions, which a new connection sends first.

use std::time::Duration;

/// Makes PostgreSQL use indexes only. A cached plan is used after the tables have grown, and no form of a statement
/// excludes these plans: on a table of one page a scan is cheaper than a look-up, and so is a hash table or a sorted
/// input for a join. If few rows are expected, it is cheaper to sort them than to read a page of them in the order of
/// an index. A bitmap scan has no order either, and it never marks the index entries of deleted rows as dead: where rows
/// are deleted from the front, as in a queue, it reads them again and again until a vacuum.
const INDEX_SCANS_ONLY: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off;
     SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_sort = off; SET jit = off";

/// Settings that a provider or an administrator may have made for the role or the database, and that would end our
/// sessions or make our statements see other rows. `default_transaction_read_only` is not among them: a server sets it to
/// refuse writes. PostgreSQL has the last two settings since 14 and 17.
const OWN_SETTINGS: &str = "SET default_transaction_isolation = 'read committed';
     SELECT set_config(name, '0', false)
         FROM (VALUES ('idle_session_timeout'), ('transaction_timeout')) AS own (name)
         WHERE current_setting(name, true) IS NOT NULL";

/// The settings of a writing session, sent in one round trip. A standby is refused.
pub(crate) fn writer_session(statement: Duration, lock: Duration, transaction: Duration) -> String {
    format!(
        "SET statement_timeout = {statement}; SET lock_timeout = {lock};
         SET idle_in_transaction_session_timeout = {transaction};
         {INDEX_SCANS_ONLY}; {OWN_SETTINGS}; SET client_min_messages = error;
         DO $$ BEGIN IF pg_is_in_recovery() THEN
             RAISE 'this server is a standby' USING ERRCODE = '25006'; END IF; END $$",
        statement = statement.as_millis(),
        lock = lock.as_millis(),
        transaction = transaction.as_millis(),
    )
}

/// The settings of a session that only reads, sent in one round trip.
pub(crate) fn reader_session(statement: Duration, lock: Duration) -> String {
    format!(
        "SET statement_timeout = {statement}; SET lock_timeout = {lock};
         SET default_transaction_read_only = on;
         SET idle_in_transaction_session_timeout = {statement};
         {INDEX_SCANS_ONLY}; {OWN_SETTINGS}; SET client_min_messages = error",
        statement = statement.as_millis(),
        lock = lock.as_millis(),
    )
}
