//! The state of a submitted command. Its caller may cancel the command, and a batch may start it; only one of the two
//! comes first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

const PENDING: u8 = 0;
const STARTED: u8 = 1;
const CANCELLED: u8 = 2;

/// Whether a cancelled command may have had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelOutcome {
    /// No batch has started the command, and no batch will. The command has no effect.
    NotStarted,
    /// A batch had started the command before. The command may have had its effect.
    Started,
}

/// A group of commands that must be executed in the order of their submission. After one command of the group has
/// failed, no later one is started. Their caller submits all of them again, in order.
#[derive(Debug, Clone, Default)]
pub struct OrderedGroup(Arc<AtomicBool>);

impl OrderedGroup {
    /// Prevents the start of every command of the group that has not started yet.
    pub(crate) fn abort(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_aborted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The state of one command, shared by its caller and its batch.
#[derive(Debug)]
pub(crate) struct CancellationState {
    state: AtomicU8,
    deadline: Instant,
    group: Option<OrderedGroup>,
}

impl CancellationState {
    pub(crate) fn new(deadline: Instant, group: Option<OrderedGroup>) -> Self {
        Self { state: AtomicU8::new(PENDING), deadline, group }
    }

    /// Aborts the group of a command that has failed or was not started, so that no later command of the group is
    /// executed before it.
    pub(crate) fn abort_group(&self) {
        if let Some(group) = &self.group {
            group.abort();
        }
    }

    /// Cancels the command, even if a batch has started it.
    pub(crate) fn cancel(&self) -> CancelOutcome {
        match self.state.swap(CANCELLED, Ordering::SeqCst) {
            PENDING => CancelOutcome::NotStarted,
            _ => CancelOutcome::Started,
        }
    }

    /// Cancels the command if no batch has started it. Returns true if it was cancelled; then it has no effect.
    pub(crate) fn try_cancel(&self) -> bool {
        self.leave_pending(CANCELLED)
    }

    /// Marks the command as started by a batch. Returns false if the command was cancelled, its deadline has passed or
    /// its group was aborted.
    pub(crate) fn try_start(&self) -> bool {
        Instant::now() < self.deadline
            && !self.group.as_ref().is_some_and(OrderedGroup::is_aborted)
            && self.leave_pending(STARTED)
    }

    /// Whether the batch that has started the command should still execute it.
    pub(crate) fn is_active(&self) -> bool {
        self.state.load(Ordering::SeqCst) == STARTED && Instant::now() < self.deadline
    }

    fn leave_pending(&self, next: u8) -> bool {
        self.state.compare_exchange(PENDING, next, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pending() -> CancellationState {
        CancellationState::new(Instant::now() + Duration::from_secs(60), None)
    }

    #[test]
    fn after_a_failed_command_none_of_its_group_is_started() {
        let group = OrderedGroup::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        let [first, second, third] =
            [(); 3].map(|()| CancellationState::new(deadline, Some(group.clone())));
        assert!(first.try_start() && second.try_start());
        first.abort_group();
        assert!(second.is_active(), "its batch is executed as a whole");
        assert!(!third.try_start());
        assert!(pending().try_start(), "commands without the group are not affected");
    }

    #[test]
    fn a_cancelled_command_is_never_started() {
        let command = pending();
        assert_eq!(command.cancel(), CancelOutcome::NotStarted);
        assert!(!command.try_start());
    }

    #[test]
    fn a_started_command_is_cancelled_too_late_and_not_executed_again() {
        let command = pending();
        assert!(command.try_start());
        assert!(command.is_active());
        assert_eq!(command.cancel(), CancelOutcome::Started);
        assert!(!command.is_active());
    }

    #[test]
    fn try_cancel_succeeds_unless_a_batch_has_started_the_command() {
        let waiting = pending();
        let started = pending();
        assert!(waiting.try_cancel());
        assert!(!waiting.try_start());
        assert!(started.try_start());
        assert!(!started.try_cancel());
        assert!(started.is_active());
    }

    #[test]
    fn an_overdue_command_is_not_started() {
        assert!(!CancellationState::new(Instant::now(), None).try_start());
    }
}
