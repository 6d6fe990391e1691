//! Batches of commands against the database, from the lane's call to the outcome of each command.
//!
//! `run_batch` here keeps at a batch until every command has an outcome or a failure: it runs it again,
//! splits it, or finds out what became of a COMMIT whose answer was lost. `attempt` is one transaction.

pub(crate) mod attempt;
pub(crate) mod load;
pub(crate) mod recovery;
pub(crate) mod rows_to_lock;
pub(crate) mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait as _, DbErr};
use uuid::Uuid;

use crate::domain::command::{Command, CommandKind};
use crate::domain::decide::Decision;
use crate::domain::effect::Outcome;
use crate::domain::execution_error::ExecutionError;
use crate::domain::ids::{BatchId, ScheduleId};
use crate::domain::rows::JournalEntry;
use crate::telemetry::metrics::batch::{BatchOutcome, CommandOutcome, Guard};

use crate::store::Store;
use crate::store::connection::connect::Connections;
use crate::store::connection::errors;
use crate::store::connection::errors::ErrorClass;
use attempt::{Attempt, AttemptError, Attempted};
use recovery::{RecoveryAction, RecoveryAttempts, next_step};

/// What became of one command.
pub type CommandResult = Result<Outcome, ExecutionError>;

/// What became of a batch.
#[derive(Debug)]
pub struct BatchReport {
    /// One result per command, in order.
    pub results: Vec<CommandResult>,
    /// What was committed, in order.
    pub journal: Vec<JournalEntry>,
    /// Where results say that seats were given back: the schedules, each with a version at which those seats
    /// are free.
    pub freed: Vec<(ScheduleId, i64)>,
}

/// Says whether the command at this place in the batch is still wanted; asked before every run.
pub type IsActive<'a> = &'a (dyn Fn(usize) -> bool + Send + Sync);

/// A batch, or what is left of one: the places of its commands, and its runs so far.
struct Part {
    id: BatchId,
    places: Vec<usize>,
    runs: i16,
    /// What each run decided, for which places; a run is durable or not as a whole.
    kept: BTreeMap<i16, (Vec<usize>, Decision)>,
    tries: RecoveryAttempts,
    uncertain: bool,
}

impl Part {
    fn new(places: Vec<usize>) -> Self {
        let id = BatchId(Uuid::now_v7());
        let tries = RecoveryAttempts::default();
        Self { id, places, runs: 0, kept: BTreeMap::new(), tries, uncertain: false }
    }
}

/// The work on one batch.
struct Work<'a> {
    store: &'a Store,
    lane: &'a Connections,
    commands: Vec<Command>,
    wanted: IsActive<'a>,
    results: Vec<Option<CommandResult>>,
    journal: Vec<JournalEntry>,
    freed: Vec<(ScheduleId, i64)>,
    parts: VecDeque<Part>,
}

impl Store {
    /// Executes the commands as one batch on the connection of `lane`, in order. Never fails as a whole:
    /// every command gets its own result. A lane must run one batch at a time.
    pub async fn run_batch(
        self: &Arc<Self>,
        lane: usize,
        commands: Vec<Command>,
        wanted: IsActive<'_>,
    ) -> BatchReport {
        let Some(lane) = self.lanes.get(lane % self.lanes.len().max(1)) else {
            let away = ExecutionError::Unavailable("there is no write connection".to_owned());
            let results = commands.iter().map(|_| Err(away.clone())).collect();
            return BatchReport { results, journal: Vec::new(), freed: Vec::new() };
        };
        let results = commands.iter().map(|_| None).collect();
        let parts = VecDeque::from([Part::new((0..commands.len()).collect())]);
        let (journal, freed) = (Vec::new(), Vec::new());
        let mut work = Work { store: self, lane, commands, wanted, results, journal, freed, parts };
        let started = Instant::now();
        while let Some(part) = work.parts.pop_front() {
            work.finish(part).await;
        }
        self.metrics.batch.duration_seconds.observe(started.elapsed().as_secs_f64());
        work.report()
    }
}

impl Work<'_> {
    /// Runs a part until it is done with or has been split.
    async fn finish(&mut self, mut part: Part) {
        loop {
            self.drop_unwanted(&mut part);
            if part.places.is_empty() {
                return;
            }
            let Some(error) = self.run(&mut part).await else { return };
            self.note_guard(&error);
            let step = next_step(&error, &mut part.tries, part.places.len(), part.uncertain);
            // It is stuck, or leads to a primary that was demoted and goes on answering.
            let leads_nowhere = match &error {
                AttemptError::Deadline | AttemptError::Uncertain => true,
                AttemptError::Database(error) => errors::meaning(error) == ErrorClass::ReadOnly,
                AttemptError::KeyTaken | AttemptError::RowCount(_) => false,
            };
            if leads_nowhere {
                self.renew().await;
            }
            match step {
                RecoveryAction::Again(pause) => {
                    self.note(BatchOutcome::Retried);
                    tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
                }
                RecoveryAction::Renew => {
                    self.note(BatchOutcome::Retried);
                    self.renew().await;
                }
                RecoveryAction::Resolve => {
                    part.uncertain = true;
                    if self.resolve(&mut part).await {
                        return;
                    }
                }
                RecoveryAction::Halve => {
                    self.note(BatchOutcome::Halved);
                    let second = part.places.split_off(part.places.len() / 2);
                    self.parts.push_front(Part::new(second));
                    self.parts.push_front(Part::new(part.places));
                    return;
                }
                RecoveryAction::Fail(failure) => {
                    self.fail(&part, &failure);
                    return;
                }
            }
        }
    }

    /// Before a run, so that retries and halves do not execute what nobody waits for any more.
    fn drop_unwanted(&mut self, part: &mut Part) {
        let failure =
            if part.uncertain { ExecutionError::Unknown } else { ExecutionError::Withdrawn };
        part.places.retain(|place| {
            let wanted = (self.wanted)(*place);
            if !wanted && let Some(result) = self.results.get_mut(*place) {
                *result = Some(Err(failure.clone()));
            }
            wanted
        });
    }

    /// One transaction; `None` if the part is done with.
    async fn run(&mut self, part: &mut Part) -> Option<AttemptError> {
        let store = self.store;
        let commands = part.places.iter().filter_map(|place| self.commands.get(*place).cloned());
        let attempt = Attempt {
            dialect: store.dialect,
            policy: store.settings.policy,
            render: store.settings.render,
            limit: store.settings.limits.transaction_timeout,
            batch: part.id,
            number: part.runs,
            commands: commands.collect(),
        };
        part.runs = part.runs.saturating_add(1);
        store.metrics.batch.size.observe(f64::from(u32::try_from(part.places.len()).unwrap_or(0)));
        let number = attempt.number;
        let waiting = self.lane.waiting(&store.metrics);
        let report = waiting.during(attempt.run(&self.lane.get())).await;
        if let Some(locking) = report.locking {
            store.metrics.batch.row_lock_wait_seconds.observe(locking.as_secs_f64());
        }
        store.metrics.batch.transaction_timeouts_total.inc_by(u64::from(report.timed_out));
        store.metrics.batch.statements_total.inc_by(u64::from(report.statements));
        store.metrics.batch.statements.observe(f64::from(report.statements));
        if let Some(decision) = report.decision {
            part.kept.insert(number, (part.places.clone(), decision));
        }
        match report.result {
            Ok(Attempted::Earlier(earlier)) => self.deliver(part, earlier, BatchOutcome::Committed),
            Ok(Attempted::Committed) => {
                store.note_commit();
                self.deliver(part, number, BatchOutcome::Committed);
            }
            // A refusal had no effect, whatever became of an earlier run of the others.
            Ok(Attempted::ReadOnly) => self.deliver(part, number, BatchOutcome::ReadOnly),
            Err(error) => return Some(error),
        }
        None
    }

    /// Asks whether a run of the part is durable; true if it is, and its outcomes are delivered.
    async fn resolve(&mut self, part: &mut Part) -> bool {
        match self.look_up(part.id).await {
            Ok(Some(run)) => {
                self.deliver(part, run, BatchOutcome::Committed);
                true
            }
            // Not found proves nothing: the old server process may still commit. Run it again.
            Ok(None) => false,
            Err(error) => {
                log::warn!("cannot find out yet whether a batch was committed: {error}");
                let pause = Duration::from_millis(100) * part.tries.resolved.min(5);
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                self.renew().await;
                false
            }
        }
    }

    async fn look_up(&self, batch: BatchId) -> Result<Option<i16>, DbErr> {
        let connection = self.lane.get();
        let statement = self
            .store
            .dialect
            .statement("SELECT attempt FROM batch WHERE id = $1", vec![batch.0.into()]);
        let limit = self.store.settings.limits.statement_timeout;
        match tokio::time::timeout(limit, connection.query_one_raw(statement)).await {
            Ok(Ok(Some(row))) => row.try_get_by_index(0).map(Some),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(DbErr::Custom("no answer in time".to_owned())),
        }
    }

    fn deliver(&mut self, part: &mut Part, run: i16, how: BatchOutcome) {
        let Some((places, decision)) = part.kept.remove(&run) else {
            self.fail(part, &ExecutionError::Unknown);
            return;
        };
        self.note(how);
        for _ in 0..decision.row_lock_saves {
            self.store.metrics.batch.saved_by(Guard::RowLock);
        }
        self.journal.extend(decision.journal);
        self.freed.extend(decision.freed);
        for (place, outcome) in places.into_iter().zip(decision.outcomes) {
            if let Some(result) = self.results.get_mut(place) {
                *result = Some(Ok(outcome));
            }
        }
    }

    fn fail(&mut self, part: &Part, failure: &ExecutionError) {
        let unknown = *failure == ExecutionError::Unknown;
        self.note(if unknown { BatchOutcome::Unknown } else { BatchOutcome::Failed });
        log::warn!("a batch of {} commands failed: {failure}", part.places.len());
        for place in &part.places {
            if let Some(result) = self.results.get_mut(*place) {
                *result = Some(Err(failure.clone()));
            }
        }
    }

    async fn renew(&self) {
        if let Err(error) = self.lane.renew().await {
            log::warn!("a write connection could not be replaced: {error}");
        }
    }

    fn note(&self, outcome: BatchOutcome) {
        self.store.metrics.batch.batch(outcome);
    }

    /// A later guard held where an earlier one should have: nothing is wrong yet, but somebody must look.
    fn note_guard(&self, error: &AttemptError) {
        let guard = match error {
            AttemptError::RowCount(_) => Guard::RowCount,
            AttemptError::Database(error) => {
                let named = errors::constraint(error).unwrap_or_default();
                let live = ["booking_seat_live", "booking_seat.schedule_id, booking_seat.number"];
                if !live.iter().any(|name| named.contains(name)) {
                    return;
                }
                Guard::UniqueIndex
            }
            _ => return,
        };
        log::error!("a guard behind the row locks saved a promise: {}", guard.as_ref());
        self.store.metrics.batch.saved_by(guard);
    }

    fn report(self) -> BatchReport {
        let unknown = || Err(ExecutionError::Unknown);
        let results: Vec<CommandResult> =
            self.results.into_iter().map(|result| result.unwrap_or_else(unknown)).collect();
        for (command, result) in self.commands.iter().zip(&results) {
            let outcome = match result {
                Ok(Outcome::Done(_)) => CommandOutcome::Done,
                Ok(Outcome::Repeated(_) | Outcome::Replayed(_)) => CommandOutcome::Replayed,
                Ok(Outcome::Refused(_) | Outcome::NotRecorded) => CommandOutcome::Refused,
                Err(_) => CommandOutcome::Failed,
            };
            self.store.metrics.batch.command(CommandKind::from(&command.action), outcome);
        }
        BatchReport { results, journal: self.journal, freed: self.freed }
    }
}
