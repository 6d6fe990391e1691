//! The auditor: looks for broken promises in the background, one schedule at a time and only those that
//! changed, so that it never hurts selling.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::mpsc;

use crate::domain::audit::{Invariant, Violation};
use crate::domain::clock::EpochMs;
use crate::domain::failure::StoreError;
use crate::domain::ids::ScheduleId;
use crate::metrics::Metrics;
use crate::store::{AuditScope, Audited, Store};

/// Between two schedules: others want to read, too.
const BREATH: Duration = Duration::from_millis(50);

/// Schedules whose last audit is remembered; those beyond are audited each time.
const REMEMBERED: usize = 100_000;

/// Violations written to the log in one round; the command tells them all.
const LOGGED: u64 = 10;

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
    /// Schedules with violations.
    broken: HashMap<ScheduleId, Counts>,
    /// Answers are given once, so each is audited once.
    answers: Counts,
    answers_until: EpochMs,
    logged: u64,
}

impl Auditor {
    /// Starts it on the arbiter given, beginning a round about every `interval`. Answers that end before
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
        let task = async move {
            if let Err(error) = rounds.run().await {
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
    async fn run(&mut self) -> Result<(), StoreError> {
        self.logged = 0;
        let mut seen = HashMap::new();
        let mut after = ScheduleId(i64::MIN);
        loop {
            let page = self.store.versions(after).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            for (schedule, version) in page {
                if self.audited.get(&schedule) != Some(&version) {
                    self.schedule(schedule).await?;
                    tokio::time::sleep(BREATH).await;
                }
                if seen.len() < REMEMBERED {
                    seen.insert(schedule, version);
                }
            }
        }
        self.broken.retain(|schedule, _| seen.contains_key(schedule));
        self.audited = seen;
        self.answers().await?;
        self.report();
        self.metrics.audit.rounds_total.inc();
        Ok(())
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

    async fn answers(&mut self) -> Result<(), StoreError> {
        let scope = AuditScope::AnswersSince(self.answers_until);
        let (audited, counts) = self.audit(scope).await?;
        for (invariant, count) in counts {
            *self.answers.entry(invariant).or_default() += count;
        }
        self.answers_until = audited.answers_until.unwrap_or(self.answers_until);
        Ok(())
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
        let (audited, ()) = tokio::join!(self.store.audit(scope, sender), count);
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
