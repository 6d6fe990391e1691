//! The audit of the database: one snapshot is read in pages, and `domain::audit` checks the rows.
//!
//! The audit reads from the replica, if there is one. It writes nothing, takes no lock and uses one connection. Its
//! memory has at most the seats of one schedule and one page of other rows.

mod answers;
mod claims;
mod pace;
mod page;
mod schedule;

pub use answers::ANSWERS_AT_A_TIME;
pub use pace::AuditPace;

use std::time::Duration;

use entity::schedule_version;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    QueryTrait as _,
};
use tokio::sync::mpsc;

use crate::domain::answer_codec::AnswerCodec;
use crate::domain::audit::schedule::ScheduleAudit;
use crate::domain::audit::{Invariant, Subject, Violation};
use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::ScheduleId;
use crate::domain::rules::Policy;
use crate::store::connection::{Db, DbResult, Dialect, Transaction, rows};
use crate::store::{ReadFrom, Store};

/// Rows of one page.
const PAGE: u64 = 2_000;

/// The time limit of an audit.
const TIMEOUT: Duration = Duration::from_secs(24 * 3_600);

/// The range of times in which all answers expire.
const ALL: (EpochMs, EpochMs) = (EpochMs(i64::MIN), EpochMs(i64::MAX));

/// Recent answers are not audited for this time, since a transaction that began before them may still commit. No
/// transaction that records an answer takes longer.
const COMMIT_GRACE_MS: i64 = 120_000;

/// The scope of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditScope {
    /// Every schedule and every answer.
    Everything,
    /// One schedule and the answers that describe it or its claims.
    Schedule(ScheduleId),
    /// One schedule without its answers.
    ScheduleAlone(ScheduleId),
    /// The answers that expire after this time: at most [`ANSWERS_AT_A_TIME`], and those that expire in the same
    /// millisecond as the last of them. Given [`Audited::answers_until`] of the previous audit, these are the
    /// answers that were recorded since. The newest answers are left for the next audit, since a transaction that
    /// began before them may still commit.
    AnswersSince(EpochMs),
}

/// How much an audit has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Audited {
    /// The database's clock at the snapshot.
    pub at: EpochMs,
    /// Schedules.
    pub schedules: u64,
    /// Their seats.
    pub seats: u64,
    /// Holds, bookings and blocks.
    pub claims: u64,
    /// Journal entries.
    pub journal: u64,
    /// Recorded answers.
    pub answers: u64,
    /// Every answer that expires before this time was read; `None` if the scope has no answers.
    pub answers_until: Option<EpochMs>,
}

/// A running audit.
struct Auditor {
    session: Transaction,
    codec: &'static dyn AnswerCodec,
    policy: Policy,
    found: mpsc::Sender<Violation>,
    audited: Audited,
    pauses: pace::AuditPauses,
}

impl Store {
    /// Audits one snapshot of the database, read from the replica if there is one. Violations are sent as they are
    /// found; a slow receiver slows the audit down. The work is proportional to the stored data of the scope, and
    /// the memory to the seats of one schedule.
    ///
    /// # Errors
    /// Any failure of the database. Violations that were sent before the failure are valid.
    pub async fn audit(
        &self,
        scope: AuditScope,
        pace: AuditPace,
        found: mpsc::Sender<Violation>,
    ) -> StoreResult<Audited> {
        let codec = self.settings.codec;
        let policy = self.settings.policy;
        let pauses = pace::AuditPauses::new(pace, self.settings.limits.statement_timeout);
        let work = move |db: Db| async move {
            let session = db.begin_snapshot().await?;
            let audited = Audited::default();
            let mut auditor = Auditor { session, codec, policy, found, audited, pauses };
            let done = auditor.run(scope).await;
            // Nothing was written; this ends the snapshot.
            auditor.session.rollback().await?;
            done.map(|()| auditor.audited)
        };
        self.bounded(&self.read, TIMEOUT, work).await
    }

    /// At most 1,000 schedules with ids above `after`, in the order of their ids, each with its version.
    pub async fn versions(&self, after: ScheduleId) -> StoreResult<Vec<(ScheduleId, i64)>> {
        self.read_from(ReadFrom::Anywhere, move |db| async move {
            let rows = schedule_version::Entity::find()
                .filter(schedule_version::Column::ScheduleId.gt(after.0))
                .order_by_asc(schedule_version::Column::ScheduleId)
                .limit(1_000)
                .all(&db.connection)
                .await?;
            Ok(rows.into_iter().map(|row| (ScheduleId(row.schedule_id), row.version)).collect())
        })
        .await
    }
}

impl Auditor {
    async fn run(&mut self, scope: AuditScope) -> DbResult<()> {
        if self.session.dialect == Dialect::Citus {
            // Each worker takes its snapshot when it gets the first statement, and has one for each connection.
            let one = "SET LOCAL citus.max_adaptive_executor_pool_size = 1";
            self.session.execute(one, Vec::new()).await?;
            let all = "SELECT count(*) FROM schedule_version";
            self.session.fetch_one::<i64>(all, Vec::new()).await?;
        }
        // This first statement takes the snapshot and then reads the clock, so no row is newer than that time.
        let sql = format!("SELECT {} FROM heartbeat WHERE id = 1", self.session.dialect.now());
        let now = self.session.fetch_one(sql, Vec::new()).await?;
        self.audited.at = EpochMs(now.ok_or_else(|| rows::corrupt("heartbeat"))?);
        match scope {
            AuditScope::Everything => {
                self.schedules(None).await?;
                self.answers(ALL, None).await
            }
            AuditScope::Schedule(id) => {
                self.schedules(Some(id)).await?;
                self.answers(ALL, Some(id)).await
            }
            AuditScope::ScheduleAlone(id) => self.schedules(Some(id)).await,
            AuditScope::AnswersSince(since) => {
                let recorded_until = self.audited.at.0.saturating_sub(COMMIT_GRACE_MS);
                let until = EpochMs(recorded_until).plus(self.policy.idempotency_ttl);
                self.recent_answers(since, until.max(since)).await
            }
        }
    }

    async fn schedules(&mut self, only: Option<ScheduleId>) -> DbResult<()> {
        let mut after = i64::MIN;
        loop {
            let page = entity::schedule::Entity::find()
                .filter(entity::schedule::Column::Id.gt(after))
                .apply_if(only, |find, id| find.filter(entity::schedule::Column::Id.eq(id.0)))
                .order_by_asc(entity::schedule::Column::Id)
                .limit(PAGE)
                .all(&self.session.connection)
                .await?;
            for row in &page {
                after = row.id;
                self.schedule(row).await?;
            }
            if (page.len() as u64) < PAGE {
                return Ok(());
            }
        }
    }

    /// Reports the violations found so far, and pauses. Call this after each page.
    async fn page_done(&mut self, audit: &mut ScheduleAudit) {
        self.report(audit.take_found()).await;
        self.pauses.pause().await;
    }

    async fn report(&self, violations: Vec<Violation>) {
        for violation in violations {
            // An error means that the receiver was dropped.
            drop(self.found.send(violation).await);
        }
    }

    /// Returns the decoded row. Reports a row that cannot be decoded, and returns `None`.
    async fn readable<T>(
        &self,
        (table, schedule, key): (&'static str, Option<ScheduleId>, String),
        read: DbResult<T>,
    ) -> Option<T> {
        let error = match read {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let subject = Subject::Row(table, key);
        let expected = "a row that this program can have written".to_owned();
        let found = error.to_string();
        let invariant = Invariant::RowIsReadable;
        self.report(vec![Violation { invariant, schedule, subject, expected, found }]).await;
        None
    }
}
