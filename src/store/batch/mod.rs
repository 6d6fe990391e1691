//! The lanes of the booking engine: each runs batches of commands, one at a time, on connections of its own.
//!
//! `run` works on a batch until every command has a result, `recovery` decides what follows a failed run, and
//! `attempt` is one transaction.

pub(crate) mod attempt;
pub(crate) mod load;
pub(crate) mod recovery;
pub(crate) mod rows_to_lock;
mod run;
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
}

impl Lane {
    pub(crate) fn new(store: Arc<Store>, connections: Arc<Connections>) -> Self {
        Self { store, connections, repeated_key_at: None }
    }

    /// Executes the commands as one batch, in order. The batch never fails as a whole: every command has its own
    /// result.
    pub async fn run_batch(
        &mut self,
        commands: Vec<Command>,
        is_active: IsActive<'_>,
    ) -> BatchReport {
        let repeated_key_at = &mut self.repeated_key_at;
        BatchRun::new(&self.store, &self.connections, commands, is_active, repeated_key_at)
            .finish()
            .await
    }
}
