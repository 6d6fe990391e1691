//! The audit of the database: one snapshot, read in pages, judged by `domain::audit`.
//!
//! It only reads, and where reads go: it takes no lock, needs one connection, and holds at most the seats
//! of one schedule and a page of everything else.

mod answers;
mod claims;
mod pace;
mod page;
mod schedule;

pub use answers::ANSWERS_AT_A_TIME;
pub use pace::AuditPace;

use std::sync::Arc;
use std::time::Duration;

use entity::schedule_version;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbErr,
    EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    TransactionTrait as _,
};
use tokio::sync::mpsc;

use crate::domain::audit::answer::RecordedEffect;
use crate::domain::audit::schedule::ScheduleAudit;
use crate::domain::audit::{Invariant, Subject, Violation};
use crate::domain::clock::EpochMs;
use crate::domain::effect::RecordedAnswer;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::ScheduleId;
use crate::domain::rules::Policy;

use crate::store::connection::dialect::Dialect;
use crate::store::connection::rows;
use crate::store::{ReadFrom, Store};

/// Reads what [`Renderer`](super::Renderer) wrote; `None` if nobody here can have written it.
pub type AnswerReader = fn(&RecordedAnswer) -> Option<RecordedEffect>;

/// Rows of one page.
const PAGE: u64 = 2_000;

/// An audit that has not ended after this has lost its server.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// The ends of all answers.
const ALL: (EpochMs, EpochMs) = (EpochMs(i64::MIN), EpochMs(i64::MAX));

/// Each page is read from an index, in its order. On tables that it does not know yet PostgreSQL would sort
/// all the rest for each page.
const IN_ORDER_OF_KEYS: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
     SET LOCAL enable_sort = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/// Longer than any transaction that records an answer.
const UNSETTLED_MS: i64 = 120_000;

/// What to audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditScope {
    /// Every schedule and every answer.
    Everything,
    /// One schedule and the answers that tell of it.
    Schedule(ScheduleId),
    /// One schedule without its answers.
    ScheduleAlone(ScheduleId),
    /// At most [`ANSWERS_AT_A_TIME`] of the answers that end after this time, and those that end with the last
    /// of them: those given since answers were last audited. The very last are left for the next time, since a transaction that began before them may still commit.
    AnswersSince(EpochMs),
}

/// What an audit has seen.
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
    /// Every answer that ends before this was seen; `None` if answers were not asked for.
    pub answers_until: Option<EpochMs>,
}

/// An audit at work.
struct Auditor {
    transaction: DatabaseTransaction,
    dialect: Dialect,
    read_answer: AnswerReader,
    policy: Policy,
    found: mpsc::Sender<Violation>,
    audited: Audited,
    rests: pace::AuditPauses,
}

impl Store {
    /// Audits one snapshot of the database where reads go, changing nothing. Violations are sent as they
    /// are found; a slow receiver slows the audit down, one that is gone hears nothing more. The work grows
    /// with what is stored in the scope, and the memory with the seats of one schedule.
    ///
    /// # Errors
    /// Any failure of the database; what was sent until then is true.
    pub async fn audit(
        self: &Arc<Self>,
        scope: AuditScope,
        pace: AuditPace,
        found: mpsc::Sender<Violation>,
    ) -> Result<Audited, StoreError> {
        let (dialect, read_answer) = (self.dialect, self.settings.read_answer);
        let policy = self.settings.policy;
        let rests = pace::AuditPauses::new(pace, self.settings.limits.statement_timeout);
        let work = move |db: DatabaseConnection| async move {
            let transaction = db.begin_with_options(dialect.snapshot()).await?;
            let audited = Audited::default();
            let mut auditor =
                Auditor { transaction, dialect, read_answer, policy, found, audited, rests };
            let done = auditor.run(scope).await;
            // Nothing was written; what counts is that the snapshot is given back.
            auditor.transaction.rollback().await?;
            done.map(|()| auditor.audited)
        };
        self.bounded(&self.read, LONGEST, work).await
    }

    /// At most 1,000 schedules after `after` by id, with the versions they are at.
    pub async fn versions(
        self: &Arc<Self>,
        after: ScheduleId,
    ) -> Result<Vec<(ScheduleId, i64)>, StoreError> {
        self.read_from(ReadFrom::Anywhere, move |db| async move {
            let rows = schedule_version::Entity::find()
                .filter(schedule_version::Column::ScheduleId.gt(after.0))
                .order_by_asc(schedule_version::Column::ScheduleId)
                .limit(1_000)
                .all(&db)
                .await?;
            Ok(rows.into_iter().map(|row| (ScheduleId(row.schedule_id), row.version)).collect())
        })
        .await
    }
}

impl Auditor {
    async fn run(&mut self, scope: AuditScope) -> Result<(), DbErr> {
        if self.dialect == Dialect::Postgres {
            self.transaction.execute_unprepared(IN_ORDER_OF_KEYS).await?;
        }
        // The first read takes the snapshot, so the clock is not behind anything in it.
        let sql = format!("SELECT {} FROM heartbeat WHERE id = 1", self.dialect.now());
        let statement = self.dialect.statement(sql, Vec::new());
        let row = self.transaction.query_one_raw(statement).await?;
        let row = row.ok_or_else(|| rows::corrupt("heartbeat"))?;
        self.audited.at = EpochMs(row.try_get_by_index(0)?);
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
                let settled = self.audited.at.0.saturating_sub(UNSETTLED_MS);
                let until = EpochMs(settled).plus(self.policy.idempotency_ttl);
                self.some_answers(since, until.max(since)).await
            }
        }
    }

    async fn schedules(&mut self, only: Option<ScheduleId>) -> Result<(), DbErr> {
        let mut after = i64::MIN;
        loop {
            let page = entity::schedule::Entity::find()
                .filter(entity::schedule::Column::Id.gt(after))
                .apply_if(only, |find, id| find.filter(entity::schedule::Column::Id.eq(id.0)))
                .order_by_asc(entity::schedule::Column::Id)
                .limit(PAGE)
                .all(&self.transaction)
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

    /// After each page: says what was found, and rests as the pace wants it.
    async fn page_done(&mut self, audit: &mut ScheduleAudit) {
        self.tell(audit.take_found()).await;
        self.rests.rest().await;
    }

    async fn tell(&self, violations: Vec<Violation>) {
        for violation in violations {
            // Whoever asked is gone: nobody is left to be told.
            drop(self.found.send(violation).await);
        }
    }

    /// Gives what could be read of a row, and tells of it if it could not.
    async fn readable<T>(
        &self,
        (table, schedule, key): (&'static str, Option<ScheduleId>, String),
        read: Result<T, DbErr>,
    ) -> Option<T> {
        let error = match read {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let subject = Subject::Row(table, key);
        let expected = "a row that this program can have written".to_owned();
        let found = error.to_string();
        let invariant = Invariant::RowIsReadable;
        self.tell(vec![Violation { invariant, schedule, subject, expected, found }]).await;
        None
    }
}
