//! The heartbeat, and the outages that its gaps tell of.
//!
//! Replicas beat one row each second. Whoever first finds it old, a beat or a batch, writes the gap down
//! before anything is decided, so that every replica forgives the same holds.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{DatabaseConnection, DbErr, TransactionTrait as _};

use crate::domain::clock::{EpochMs, Outage};
use crate::domain::execution_error::StoreError;
use crate::domain::ids::BatchId;
use crate::domain::rules::Policy;

use crate::store::Store;
use crate::store::connection::routing::system_ms;
use crate::store::connection::rows;
use crate::store::connection::transaction::Session;
use crate::store::queries::outages::outages;

/// An older heartbeat than this means that nobody could write.
const GAP_MS: i64 = 3_000;

/// From this age on a batch beats along with its own work: a database that is busy writing is not away,
/// even if the beats themselves do not get their turn (SQLite's one write lock is not fair).
const OVERDUE_MS: i64 = 1_500;

/// What a batch knows besides its rows.
pub(crate) struct BatchContext {
    pub(crate) now: EpochMs,
    pub(crate) committed_attempt: Option<i16>,
    pub(crate) outages: Vec<Outage>,
    /// Whether a gap was written down, which must be committed whatever else is decided.
    pub(crate) recorded_gap: bool,
}

/// Reads clock, batch and outages in one statement; writes a gap down if there is one.
pub(crate) async fn context(
    session: &Session<'_>,
    batch: BatchId,
    policy: &Policy,
) -> Result<BatchContext, DbErr> {
    // Two rounds at most: whoever loses the race for a gap finds it written down by the winner.
    for _ in 0..2 {
        let (context, beat_at) = read(session, batch, policy).await?;
        let age = context.now.0 - beat_at;
        let gap = beat_at > 0 && age > GAP_MS;
        if beat_at > 0 && !gap && age > OVERDUE_MS {
            beat(session, beat_at, context.now).await?;
        }
        if !gap || record(session, beat_at, context.now).await? {
            let mut context = context;
            if gap {
                context.outages.push(Outage { began: EpochMs(beat_at), ended: context.now });
                context.recorded_gap = true;
            }
            return Ok(context);
        }
    }
    Err(rows::corrupt("heartbeat"))
}

async fn read(
    session: &Session<'_>,
    batch: BatchId,
    policy: &Policy,
) -> Result<(BatchContext, i64), DbErr> {
    let now = session.dialect.now();
    let sql = format!(
        "SELECT {now}, h.beat_at, b.attempt,
            (SELECT string_agg(o.began_at || ':' || o.ended_at, ',') FROM outage o
             WHERE o.ended_at > {now} - $2)
         FROM heartbeat h LEFT JOIN batch b ON b.id = $1 WHERE h.id = 1"
    );
    // No hold alive now can have been touched by an older outage.
    let horizon = policy.hold_ttl_max.saturating_add(policy.outage_grace) * 2;
    let horizon = i64::try_from(horizon.as_millis()).unwrap_or(i64::MAX);
    let statement = session.dialect.statement(sql, vec![batch.0.into(), horizon.into()]);
    let found = session.query(statement).await?;
    let row = found.first().ok_or_else(|| rows::corrupt("heartbeat"))?;
    let (now, beat_at, committed_attempt, text) =
        row.try_get_many_by_index::<(i64, i64, Option<i16>, Option<String>)>()?;
    let outages = outages(text.as_deref().unwrap_or_default())?;
    let context =
        BatchContext { now: EpochMs(now), committed_attempt, outages, recorded_gap: false };
    Ok((context, beat_at))
}

/// Moves the beat from what was seen to now; false if somebody else did.
async fn beat(session: &Session<'_>, seen: i64, now: EpochMs) -> Result<bool, DbErr> {
    let sql = "UPDATE heartbeat SET beat_at = $1 WHERE id = 1 AND beat_at = $2";
    let beat = session.dialect.statement(sql, vec![now.0.into(), seen.into()]);
    Ok(session.execute(beat).await? > 0)
}

/// Moves the beat from what was seen to now and writes the gap down; false if somebody else did.
async fn record(session: &Session<'_>, seen: i64, now: EpochMs) -> Result<bool, DbErr> {
    if !beat(session, seen, now).await? {
        return Ok(false);
    }
    let sql = "INSERT INTO outage (began_at, ended_at) VALUES ($1, $2)";
    session.execute(session.dialect.statement(sql, vec![seen.into(), now.0.into()])).await?;
    Ok(true)
}

impl Store {
    /// Beats once, on the writable database; a gap is written down first. Call it each second: it is also
    /// the proof that writing works. Fails if it takes longer than `limit`.
    pub async fn beat(self: &Arc<Self>, limit: Duration) -> Result<(), StoreError> {
        let (dialect, policy) = (self.dialect, self.settings.policy);
        let asked_ms = system_ms();
        let work = move |db: DatabaseConnection| async move {
            let transaction = db.begin_with_options(dialect.begin()).await?;
            let session = Session::new(&transaction, dialect);
            let nobody = BatchId(uuid::Uuid::nil());
            let context = context(&session, nobody, &policy).await?;
            let sql = "UPDATE heartbeat SET beat_at = $1 WHERE id = 1 AND beat_at < $1 - 500";
            session.execute(dialect.statement(sql, vec![context.now.0.into()])).await?;
            transaction.commit().await?;
            Ok::<_, DbErr>(context.now)
        };
        let now = self.bounded(&self.beat, limit, work).await?;
        self.set_clock(now, asked_ms);
        Ok(())
    }
}
