//! The lanes of the booking engine: each runs batches of commands, one at a time, on connections of its own.
//!
//! `turn` lets the lanes of several processes take turns, `run` works on a batch until every command has a result,
//! `recovery` decides what follows a failed run, and `attempt` is one transaction.

pub(crate) mod attempt;
pub(crate) mod load;
pub(crate) mod recovery;
pub(crate) mod rows_to_lock;
mod run;
mod turn;
pub(crate) mod write;

use std::sync::Arc;
use std::time::Instant;

use crate::domain::command::Command;
use crate::domain::effect::ExecutedCommand;
use crate::domain::execution_error::ExecutionError;
use crate::domain::ids::ScheduleId;
use crate::domain::rows::JournalEntry;
use crate::store::Store;
use crate::store::connection::Connections;
use run::BatchRun;
use turn::Turns;

/// The result of one command.
pub type CommandResult = Result<ExecutedCommand, ExecutionError>;

/// The results of a batch.
#[derive(Debug)]
pub struct BatchReport {
    /// One result per command, in order.
    pub results: Vec<CommandResult>,
    /// The journal entries that were committed, in order.
    pub journal: Vec<JournalEntry>,
    /// The schedules in which commands freed seats, each with a version at which those seats are free.
    pub freed: Vec<(ScheduleId, i64)>,
}

/// Whether the command at this index of the batch is still active, not cancelled; called before every run.
pub type IsActive<'a> = &'a (dyn Fn(usize) -> bool + Send + Sync);

/// A lane of the booking engine, with connections of its own.
pub struct Lane {
    store: Arc<Store>,
    connections: Arc<Connections>,
    /// When a batch was last found to have a key that an earlier batch has recorded.
    repeated_key_at: Option<Instant>,
    turns: Turns,
}

impl Lane {
    /// The lane `number` of `lanes`.
    pub(crate) fn new(
        store: Arc<Store>,
        connections: Arc<Connections>,
        number: usize,
        lanes: usize,
    ) -> Self {
        let turns = Turns::new(store.dialect, number, lanes);
        Self { store, connections, repeated_key_at: None, turns }
    }

    /// Waits for the turn of this lane if other processes write the same schedules, at most for the time limit of a
    /// lock. Returns whether the lane has its turn, which ends with the next batch.
    pub async fn take_turn(&mut self) -> bool {
        self.turns.take(&self.store, &self.connections).await
    }

    /// Ends the turn of this lane without a batch.
    pub async fn end_turn(&mut self) {
        if let Some(turn) = self.turns.release() {
            turn.end().await;
        }
    }

    /// Executes the commands as one batch, in order. The batch never fails as a whole: every command has its own
    /// result.
    pub async fn run_batch(
        &mut self,
        commands: Vec<Command>,
        is_active: IsActive<'_>,
    ) -> BatchReport {
        let (turn, count) = (self.turns.release(), commands.len());
        let repeated_key_at = &mut self.repeated_key_at;
        let run =
            BatchRun::new(&self.store, &self.connections, commands, is_active, repeated_key_at);
        let report = run.finish(turn).await;
        self.turns.note(count, &report.journal);
        report
    }
}
