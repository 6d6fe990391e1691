//! The auditor: looks for broken promises in the background, one schedule at a time and only those that
//! changed, so that it never hurts selling.
//!
//! A round is every schedule that changed, and the answers given since. It is worked on in turns: when the
//! time of a turn is over, the next one goes on where it ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::mpsc;

use crate::domain::audit::{Invariant, Violation};
use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::ScheduleId;
use crate::store::{ANSWERS_AT_A_TIME, AuditPace, AuditScope, Audited, Store};
use crate::telemetry::metrics::Metrics;

/// Between two schedules: others want to read, too.
const BREATH: Duration = Duration::from_millis(50);

/// The part of the interval that a turn may take. The schedule under way when it is over is finished.
const TURN: f64 = 0.25;

/// Schedules whose last audit is remembered; those beyond are audited each time.
const REMEMBERED: usize = 100_000;

/// Violations written to the log in one turn; the command tells them all.
const LOGGED: u64 = 10;

/// No schedule is at this version.
const UNAUDITED: i64 = i64::MIN;

/// Before every schedule.
const FIRST: ScheduleId = ScheduleId(i64::MIN);

/// The auditing actor. Every replica has one; they look at the same rows at different times.
pub struct Auditor {
    rounds: Option<Rounds>,
    interval: Duration,
}

/// How many violations of each invariant.
type Counts = BTreeMap<Invariant, u64>;

/// What is known from one round to the next.
struct Rounds {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    /// The version last audited.
    audited: HashMap<ScheduleId, i64>,
    /// The round under way: where it goes on, and the versions that it has audited or found unchanged.
    after: ScheduleId,
    seen: HashMap<ScheduleId, i64>,
    /// Schedules with violations.
    broken: HashMap<ScheduleId, Counts>,
    /// Answers are given once, so each is audited once.
    answers: Counts,
    answers_until: EpochMs,
    logged: u64,
}

impl Auditor {
    /// Starts it on the arbiter given, beginning a turn about every `interval`. Answers that end before
    /// `answers_from` are taken on trust: they were given before this process began.
    pub fn start_in(
        arbiter: &ArbiterHandle,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
        interval: Duration,
        answers_from: EpochMs,
    ) -> Addr<Self> {
        let rounds = Rounds {
            store,
            metrics,
            audited: HashMap::new(),
            after: FIRST,
            seen: HashMap::new(),
            broken: HashMap::new(),
            answers: Counts::new(),
            answers_until: answers_from,
            logged: 0,
        };
        Self::start_in_arbiter(arbiter, move |_| Self { rounds: Some(rounds), interval })
    }

    /// Replicas that were started together do not audit together.
    fn rest(&self, ctx: &mut Context<Self>) {
        ctx.run_later(self.interval.mul_f64(0.75 + fastrand::f64() / 2.0), Self::look);
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(mut rounds) = self.rounds.take() else { return };
        let end = Instant::now() + self.interval.mul_f64(TURN);
        let task = async move {
            if let Err(error) = rounds.turn(end).await {
                rounds.metrics.audit.failures_total.inc();
                log::warn!("the database could not be audited: {error}");
            }
            rounds
        };
        let done = task.into_actor(self).map(|rounds, actor, ctx| {
            actor.rounds = Some(rounds);
            actor.rest(ctx);
        });
        ctx.spawn(done);
    }
}

impl Actor for Auditor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.rest(ctx);
    }
}

impl Rounds {
    /// Works until the round is finished or the time is over.
    async fn turn(&mut self, end: Instant) -> Result<(), StoreError> {
        self.logged = 0;
        if self.schedules(end).await? && self.answers(end).await? {
            self.broken.retain(|schedule, _| self.seen.contains_key(schedule));
            self.audited = std::mem::take(&mut self.seen);
            self.after = FIRST;
            self.metrics.audit.rounds_total.inc();
        }
        self.report();
        Ok(())
    }

    /// Says whether every schedule was seen in this round.
    async fn schedules(&mut self, end: Instant) -> Result<bool, StoreError> {
        loop {
            let page = self.store.versions(self.after).await?;
            if page.is_empty() {
                return Ok(true);
            }
            for (schedule, version) in page {
                self.after = schedule;
                if self.audited.get(&schedule) != Some(&version) {
                    // If this fails, the next turn goes on behind it, and the next round tries again.
                    self.see(schedule, UNAUDITED);
                    self.schedule(schedule).await?;
                    tokio::time::sleep(BREATH).await;
                }
                self.see(schedule, version);
                if Instant::now() >= end {
                    return Ok(false);
                }
            }
        }
    }

    fn see(&mut self, schedule: ScheduleId, version: i64) {
        if self.seen.len() < REMEMBERED || self.seen.contains_key(&schedule) {
            self.seen.insert(schedule, version);
        }
    }

    async fn schedule(&mut self, schedule: ScheduleId) -> Result<(), StoreError> {
        let (_, counts) = self.audit(AuditScope::ScheduleAlone(schedule)).await?;
        self.metrics.audit.schedules_total.inc();
        if counts.is_empty() {
            self.broken.remove(&schedule);
        } else {
            self.broken.insert(schedule, counts);
            // What is broken is told at once.
            self.report();
        }
        Ok(())
    }

    /// Says whether all answers were seen that have settled.
    async fn answers(&mut self, end: Instant) -> Result<bool, StoreError> {
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
                if self.logged <= LOGGED {
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
            let schedules: u64 = self.broken.values().map(found).sum();
            self.metrics.audit.report(*invariant, schedules + found(&self.answers));
        }
    }
}
