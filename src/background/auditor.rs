//! The auditor checks the invariants in the background. To keep bookings fast, it audits one schedule at a time, and
//! only schedules that have changed.
//!
//! A round covers every schedule that has changed and every answer that was recorded since the last round. A round
//! consists of runs of bounded length; each run continues where the previous one ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::ArbiterHandle;
use tokio::sync::mpsc;

use crate::domain::audit::{Invariant, Violation};
use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::ScheduleId;
use crate::store::{ANSWERS_AT_A_TIME, AuditPace, AuditScope, Audited, Store};
use crate::telemetry::metrics::Metrics;

use super::periodic::run_every;

/// The pause between two schedules, so that the audit does not load the database permanently.
const AUDIT_PAUSE: Duration = Duration::from_millis(50);

/// The share of the interval that a run may take. The audit of a schedule that has begun is always finished.
const RUN_SHARE: f64 = 0.25;

/// The most schedules whose audited version is remembered. Further schedules are audited in every round.
const SCHEDULES_MAX: usize = 100_000;

/// The most violations logged in one run. `seatlock verify` prints all violations.
const LOGGED_MAX: u64 = 10;

/// A version that no schedule has.
const UNAUDITED: i64 = i64::MIN;

/// An id that sorts before the id of every schedule.
const BEFORE_ALL: ScheduleId = ScheduleId(i64::MIN);

/// The number of violations of each invariant.
type Counts = BTreeMap<Invariant, u64>;

/// The auditor of a replica. Every replica has one; all of them read the same rows, at different times.
pub struct Auditor {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    /// The length of a run.
    run_limit: Duration,
    /// The last audited version of each schedule.
    audited: HashMap<ScheduleId, i64>,
    /// The progress of the current round: its last schedule, and the versions that were audited or found unchanged.
    after: ScheduleId,
    seen: HashMap<ScheduleId, i64>,
    /// The schedules with violations.
    violated: HashMap<ScheduleId, Counts>,
    /// Violations in recorded answers. An answer never changes, so each answer is audited once.
    answers: Counts,
    answers_until: EpochMs,
    logged: u64,
}

impl Auditor {
    /// Starts an auditor on the arbiter, with a run every `interval`. Answers that expire before `answers_from` are
    /// not audited, because they were recorded before this process started.
    pub fn start_in(
        arbiter: &ArbiterHandle,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
        interval: Duration,
        answers_from: EpochMs,
    ) {
        let auditor = Self {
            store,
            metrics,
            run_limit: interval.mul_f64(RUN_SHARE),
            audited: HashMap::new(),
            after: BEFORE_ALL,
            seen: HashMap::new(),
            violated: HashMap::new(),
            answers: Counts::new(),
            answers_until: answers_from,
            logged: 0,
        };
        // A random delay, so that replicas that were started together do not audit at the same time.
        let delay = interval.mul_f64(0.75 + fastrand::f64() / 2.0);
        run_every(arbiter, "the auditor", delay, interval, auditor, Self::run);
    }

    async fn run(&mut self) {
        if let Err(error) = self.audit_until(Instant::now() + self.run_limit).await {
            self.metrics.audit.failures_total.inc();
            log::warn!("the database could not be audited: {error}");
        }
    }

    /// Audits until the round is finished or `end` has passed.
    async fn audit_until(&mut self, end: Instant) -> Result<(), StoreError> {
        self.logged = 0;
        if self.audit_schedules(end).await? && self.audit_answers(end).await? {
            self.violated.retain(|schedule, _| self.seen.contains_key(schedule));
            self.audited = std::mem::take(&mut self.seen);
            self.after = BEFORE_ALL;
            self.metrics.audit.rounds_total.inc();
        }
        self.report();
        Ok(())
    }

    /// Returns whether the round has covered every schedule.
    async fn audit_schedules(&mut self, end: Instant) -> Result<bool, StoreError> {
        loop {
            let page = self.store.versions(self.after).await?;
            if page.is_empty() {
                return Ok(true);
            }
            for (schedule, version) in page {
                self.after = schedule;
                if self.audited.get(&schedule) != Some(&version) {
                    // After an error the next run continues with the next schedule, and the next round audits this
                    // schedule again.
                    self.mark_seen(schedule, UNAUDITED);
                    self.audit_schedule(schedule).await?;
                    tokio::time::sleep(AUDIT_PAUSE).await;
                }
                self.mark_seen(schedule, version);
                if Instant::now() >= end {
                    return Ok(false);
                }
            }
        }
    }

    fn mark_seen(&mut self, schedule: ScheduleId, version: i64) {
        if self.seen.len() < SCHEDULES_MAX || self.seen.contains_key(&schedule) {
            self.seen.insert(schedule, version);
        }
    }

    async fn audit_schedule(&mut self, schedule: ScheduleId) -> Result<(), StoreError> {
        let (_, counts) = self.audit(AuditScope::ScheduleAlone(schedule)).await?;
        self.metrics.audit.schedules_total.inc();
        if counts.is_empty() {
            self.violated.remove(&schedule);
        } else {
            self.violated.insert(schedule, counts);
            // Violations are reported immediately, not at the end of the run.
            self.report();
        }
        Ok(())
    }

    /// Returns whether all committed answers were audited.
    async fn audit_answers(&mut self, end: Instant) -> Result<bool, StoreError> {
        loop {
            let scope = AuditScope::AnswersSince(self.answers_until);
            let (audited, counts) = self.audit(scope).await?;
            for (invariant, count) in counts {
                *self.answers.entry(invariant).or_default() += count;
            }
            self.answers_until = audited.answers_until.unwrap_or(self.answers_until);
            if audited.answers < ANSWERS_AT_A_TIME {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
        }
    }

    async fn audit(&mut self, scope: AuditScope) -> Result<(Audited, Counts), StoreError> {
        let (sender, mut found) = mpsc::channel::<Violation>(64);
        let mut counts = Counts::new();
        let count = async {
            while let Some(violation) = found.recv().await {
                *counts.entry(violation.invariant).or_default() += 1;
                self.logged += 1;
                if self.logged <= LOGGED_MAX {
                    log::error!("an invariant is violated: {violation}");
                }
            }
        };
        let (audited, ()) =
            tokio::join!(self.store.audit(scope, AuditPace::Background, sender), count);
        Ok((audited?, counts))
    }

    fn report(&self) {
        for invariant in Invariant::ALL {
            let found = |counts: &Counts| counts.get(invariant).copied().unwrap_or(0);
            let schedules: u64 = self.violated.values().map(found).sum();
            self.metrics.audit.report(*invariant, schedules + found(&self.answers));
        }
    }
}
