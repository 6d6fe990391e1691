//! Runs one batch until every command has a result: retries it, bisects it, or resolves a lost COMMIT.
//! On Citus a transaction has one schedule, and so one worker: a batch has a part for each of its schedules.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use sea_orm::DbErr;
use uuid::Uuid;

use super::attempt::{Attempt, Attempted, Begin, Progress};
use super::recovery::{AttemptError, RecoveryAction, RecoveryAttempts, recovery_action};
use super::turn::Turn;
use super::write::RenderedAnswers;
use super::{BatchReport, CommandResult, IsActive};
use crate::domain::command::{Command, CommandKind};
use crate::domain::decide::Decision;
use crate::domain::effect::{ExecutedCommand, Outcome};
use crate::domain::execution_error::ExecutionError;
use crate::domain::ids::{BatchId, ScheduleId};
use crate::store::Store;
use crate::store::connection::{Connections, Db, DbResult, Dialect, ErrorClass, errors};
use crate::store::queries::heartbeat;
use crate::telemetry::metrics::batch::{BatchOutcome, CommandOutcome, Guard};

/// After a repeated key, recorded answers are read first for this long, so that repeated keys cannot make each batch
/// run twice.
const REPEATED_KEYS: Duration = Duration::from_secs(1);

/// A batch, or a part of one after bisecting: the indexes of its commands, and its runs so far.
struct Part {
    id: BatchId,
    indexes: Vec<usize>,
    runs: i16,
    decisions_by_run: BTreeMap<i16, DecidedRun>,
    attempts: RecoveryAttempts,
    /// The answer to a COMMIT was lost.
    uncertain: bool,
}

/// The decision of a run. It is durable as a whole or not at all.
struct DecidedRun {
    indexes: Vec<usize>,
    decision: Decision,
    answers: RenderedAnswers,
}

impl Part {
    fn new(indexes: Vec<usize>) -> Self {
        Self {
            id: BatchId(Uuid::now_v7()),
            indexes,
            runs: 0,
            decisions_by_run: BTreeMap::new(),
            attempts: RecoveryAttempts::default(),
            uncertain: false,
        }
    }
}

/// The indexes of commands, in their order, one list for each schedule.
fn by_schedule(commands: &[Command]) -> impl Iterator<Item = Vec<usize>> {
    let mut parts: BTreeMap<ScheduleId, Vec<usize>> = BTreeMap::new();
    for (index, command) in commands.iter().enumerate() {
        parts.entry(command.schedule).or_default().push(index);
    }
    parts.into_values()
}

/// The state of one batch while it is executed.
pub(super) struct BatchRun<'a> {
    store: &'a Store,
    connections: &'a Connections,
    commands: Vec<Command>,
    is_active: IsActive<'a>,
    repeated_key_at: &'a mut Option<Instant>,
    results: Vec<Option<CommandResult>>,
    report: BatchReport,
    parts: VecDeque<Part>,
    /// For the first transaction.
    turn: Option<Turn>,
}

impl<'a> BatchRun<'a> {
    pub(super) fn new(
        store: &'a Store,
        connections: &'a Connections,
        commands: Vec<Command>,
        is_active: IsActive<'a>,
        repeated_key_at: &'a mut Option<Instant>,
    ) -> Self {
        let results = commands.iter().map(|_| None).collect();
        let parts = match store.dialect {
            Dialect::Citus => by_schedule(&commands).map(Part::new).collect(),
            Dialect::Postgres | Dialect::Sqlite => {
                VecDeque::from([Part::new((0..commands.len()).collect())])
            }
        };
        let report = BatchReport { results: Vec::new(), journal: Vec::new(), freed: Vec::new() };
        Self {
            store,
            connections,
            commands,
            is_active,
            repeated_key_at,
            results,
            report,
            parts,
            turn: None,
        }
    }

    /// Runs the batch until every command has a result. Its first transaction is that of the turn, if there is one.
    pub(super) async fn finish(mut self, turn: Option<Turn>) -> BatchReport {
        let started = Instant::now();
        self.turn = turn;
        while let Some(part) = self.parts.pop_front() {
            self.finish_part(part).await;
        }
        if let Some(unused) = self.turn.take() {
            unused.end().await;
        }
        self.store.metrics.batch.duration_seconds.observe(started.elapsed().as_secs_f64());
        self.into_report()
    }

    /// Runs a part until all its commands have results, or it was bisected.
    async fn finish_part(&mut self, mut part: Part) {
        loop {
            self.drop_cancelled(&mut part);
            if part.indexes.is_empty() {
                return;
            }
            let Some(error) = self.run_once(&mut part).await else { return };
            self.count_guard(&error);
            if matches!(error, AttemptError::KeyTaken) {
                *self.repeated_key_at = Some(Instant::now());
            }
            let commands = part.indexes.len();
            let action = recovery_action(&error, &mut part.attempts, commands, part.uncertain);
            // The connection is stuck, or leads to a demoted primary.
            let unusable = match &error {
                AttemptError::Deadline | AttemptError::Uncertain => true,
                AttemptError::Database(error) => errors::classify(error) == ErrorClass::ReadOnly,
                AttemptError::KeyTaken | AttemptError::RowCount(_) => false,
            };
            if unusable {
                self.reconnect().await;
            }
            match action {
                RecoveryAction::Retry(pause) => {
                    self.count(BatchOutcome::Retried);
                    tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
                }
                RecoveryAction::Reconnect => {
                    self.count(BatchOutcome::Retried);
                    self.reconnect().await;
                }
                RecoveryAction::ResolveCommit => {
                    part.uncertain = true;
                    if self.resolve_commit(&mut part).await {
                        return;
                    }
                }
                RecoveryAction::Bisect => {
                    self.count(BatchOutcome::Halved);
                    let second = part.indexes.split_off(commands / 2);
                    self.parts.push_front(Part::new(second));
                    self.parts.push_front(Part::new(part.indexes));
                    return;
                }
                RecoveryAction::Fail(error) => return self.fail(&part, &error),
            }
        }
    }

    /// Removes the cancelled commands before a run, so that retries and halves do not execute them.
    fn drop_cancelled(&mut self, part: &mut Part) {
        let error =
            if part.uncertain { ExecutionError::Unknown } else { ExecutionError::Withdrawn };
        let indexes = std::mem::take(&mut part.indexes).into_iter();
        let (active, cancelled): (_, Vec<usize>) =
            indexes.partition(|index| (self.is_active)(*index));
        part.indexes = active;
        self.set_errors(&cancelled, &error);
    }

    fn set_errors(&mut self, indexes: &[usize], error: &ExecutionError) {
        for index in indexes {
            self.set_result(*index, Err(error.clone()));
        }
    }

    fn set_result(&mut self, index: usize, result: CommandResult) {
        if let Some(slot) = self.results.get_mut(index) {
            *slot = Some(result);
        }
    }

    /// Runs one transaction. Returns `None` if the commands of the part have their results.
    async fn run_once(&mut self, part: &mut Part) -> Option<AttemptError> {
        let store = self.store;
        let metrics = &self.store.metrics.batch;
        let commands = part.indexes.iter().filter_map(|index| self.commands.get(*index).cloned());
        let number = part.runs;
        let settings = &store.settings;
        let commands = commands.collect();
        let repeated_keys = self.repeated_key_at.is_some_and(|at| at.elapsed() < REPEATED_KEYS);
        let attempt = Attempt { settings, batch: part.id, number, commands, repeated_keys };
        part.runs = part.runs.saturating_add(1);
        metrics.size.observe(f64::from(u32::try_from(part.indexes.len()).unwrap_or(0)));
        let report = match self.turn.take() {
            Some(turn) => attempt.run(Begin::WithTurn(turn)).await,
            None => {
                let db = match self.connections.ready().await {
                    Ok(connection) => Db::new(connection, store.dialect),
                    Err(error) => return Some(AttemptError::Database(error)),
                };
                self.connections.wait(&store.metrics).measure(attempt.run(Begin::On(db))).await
            }
        };
        let Progress { decision, answers, statements, lock_time } = report.progress;
        if let Some(time) = lock_time {
            metrics.row_lock_wait_seconds.observe(time.as_secs_f64());
        }
        metrics.transaction_timeouts_total.inc_by(u64::from(report.timed_out));
        metrics.statements_total.inc_by(u64::from(statements));
        metrics.statements.observe(f64::from(statements));
        if let Some(decision) = decision {
            let decided = DecidedRun { indexes: part.indexes.clone(), decision, answers };
            part.decisions_by_run.insert(number, decided);
        }
        match report.result {
            Ok(Attempted::Earlier(earlier)) => self.deliver(part, earlier, BatchOutcome::Committed),
            Ok(Attempted::Committed) => {
                store.record_commit(part.id);
                self.deliver(part, number, BatchOutcome::Committed);
            }
            // A refusal had no effect, even if an earlier run of the others is durable.
            Ok(Attempted::ReadOnly) => self.deliver(part, number, BatchOutcome::ReadOnly),
            Err(error) => return Some(error),
        }
        None
    }

    /// Looks up whether a run of the part is durable. If so, delivers its outcomes and returns true.
    async fn resolve_commit(&mut self, part: &mut Part) -> bool {
        let first = part.indexes.first().and_then(|index| self.commands.get(*index));
        let schedule = first.map_or(ScheduleId::NONE, |command| command.schedule);
        match self.committed_run(part.id, schedule).await {
            Ok(Some(run)) => {
                self.deliver(part, run, BatchOutcome::Committed);
                true
            }
            // A missing record proves nothing: the old server process may still commit. Run the batch again.
            Ok(None) => false,
            Err(error) => {
                log::warn!("cannot find out yet whether a batch was committed: {error}");
                let pause = Duration::from_millis(100) * part.attempts.resolved.min(5);
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                self.reconnect().await;
                false
            }
        }
    }

    async fn committed_run(&self, batch: BatchId, schedule: ScheduleId) -> DbResult<Option<i16>> {
        let db = Db::new(self.connections.ready().await?, self.store.dialect);
        let found = heartbeat::committed_attempt(&db, batch, schedule);
        let limit = self.store.settings.limits.statement_timeout;
        match tokio::time::timeout(limit, found).await {
            Ok(found) => found,
            Err(_) => Err(DbErr::Custom("no answer in time".to_owned())),
        }
    }

    /// Sets the results of the commands to the outcomes that a run decided.
    fn deliver(&mut self, part: &mut Part, run: i16, batch_outcome: BatchOutcome) {
        let Some(decided) = part.decisions_by_run.remove(&run) else {
            return self.fail(part, &ExecutionError::Unknown);
        };
        self.count(batch_outcome);
        let DecidedRun { indexes, decision, answers } = decided;
        for _ in 0..decision.row_lock_saves {
            self.store.metrics.batch.saved_by(Guard::RowLock);
        }
        self.report.journal.extend(decision.journal);
        self.report.freed.extend(decision.freed);
        for (index, outcome) in indexes.into_iter().zip(decision.outcomes) {
            let keyed = self.commands.get(index).and_then(|command| command.keyed.as_ref());
            let answer = match &outcome {
                Outcome::Done(_) | Outcome::Repeated(_) => {
                    keyed.and_then(|keyed| answers.get(&keyed.request)).cloned()
                }
                Outcome::Replayed(_) | Outcome::NotRecorded | Outcome::Refused(_) => None,
            };
            self.set_result(index, Ok(ExecutedCommand { outcome, answer }));
        }
    }

    fn fail(&mut self, part: &Part, error: &ExecutionError) {
        let unknown = *error == ExecutionError::Unknown;
        self.count(if unknown { BatchOutcome::Unknown } else { BatchOutcome::Failed });
        log::warn!("a batch of {} commands failed: {error}", part.indexes.len());
        self.set_errors(&part.indexes, error);
    }

    async fn reconnect(&self) {
        if let Err(error) = self.connections.renew().await {
            log::warn!("a write connection could not be replaced: {error}");
        }
    }

    fn count(&self, outcome: BatchOutcome) {
        self.store.metrics.batch.batch(outcome);
    }

    /// Counts the error if a guard behind the row locks caused it: the guards before this one have failed.
    fn count_guard(&self, error: &AttemptError) {
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

    fn into_report(self) -> BatchReport {
        let unknown = || Err(ExecutionError::Unknown);
        let results: Vec<CommandResult> =
            self.results.into_iter().map(|result| result.unwrap_or_else(unknown)).collect();
        for (command, result) in self.commands.iter().zip(&results) {
            let outcome = match result.as_ref().map(|executed| &executed.outcome) {
                Ok(Outcome::Done(_)) => CommandOutcome::Done,
                Ok(Outcome::Repeated(_) | Outcome::Replayed(_)) => CommandOutcome::Replayed,
                Ok(Outcome::Refused(_) | Outcome::NotRecorded) => CommandOutcome::Refused,
                Err(_) => CommandOutcome::Failed,
            };
            self.store.metrics.batch.command(CommandKind::from(&command.action), outcome);
        }
        BatchReport { results, ..self.report }
    }
}
