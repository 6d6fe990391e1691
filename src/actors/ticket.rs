//! Whether a command is still wanted, agreed between the one who waits and the batch that takes it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

const PENDING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// What a withdrawn command may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    /// No batch had taken it, and none will: it has no effect.
    InTime,
    /// A batch had taken it: it may have had its effect.
    TooLate,
}

/// A command's place between its caller and a batch.
#[derive(Debug)]
pub(crate) struct Ticket {
    state: AtomicU8,
    deadline: Instant,
}

impl Ticket {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self { state: AtomicU8::new(PENDING), deadline }
    }

    /// The caller gives up.
    pub(crate) fn withdraw(&self) -> Withdrawal {
        match self.state.swap(WITHDRAWN, Ordering::SeqCst) {
            PENDING => Withdrawal::InTime,
            _ => Withdrawal::TooLate,
        }
    }

    /// The caller gives up if no batch has taken it; true if so, and it has no effect.
    pub(crate) fn recall(&self) -> bool {
        let change = (Ordering::SeqCst, Ordering::SeqCst);
        self.state.compare_exchange(PENDING, WITHDRAWN, change.0, change.1).is_ok()
    }

    /// A batch wants to take it; false if it was withdrawn or its deadline has passed.
    pub(crate) fn take(&self) -> bool {
        Instant::now() < self.deadline
            && self
                .state
                .compare_exchange(PENDING, TAKEN, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }

    /// Whether a batch that took it should still run it.
    pub(crate) fn wanted(&self) -> bool {
        self.state.load(Ordering::SeqCst) == TAKEN && Instant::now() < self.deadline
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ticket() -> Ticket {
        Ticket::new(Instant::now() + Duration::from_secs(60))
    }

    #[test]
    fn a_withdrawn_command_is_never_taken() {
        let ticket = ticket();
        assert_eq!(ticket.withdraw(), Withdrawal::InTime);
        assert!(!ticket.take());
    }

    #[test]
    fn a_taken_command_is_withdrawn_too_late_and_not_run_again() {
        let ticket = ticket();
        assert!(ticket.take());
        assert!(ticket.wanted());
        assert_eq!(ticket.withdraw(), Withdrawal::TooLate);
        assert!(!ticket.wanted());
    }

    #[test]
    fn a_command_is_recalled_unless_a_batch_has_it() {
        let (waiting, taken) = (ticket(), ticket());
        assert!(waiting.recall());
        assert!(!waiting.take());
        assert!(taken.take());
        assert!(!taken.recall());
        assert!(taken.wanted());
    }

    #[test]
    fn an_overdue_command_is_not_taken() {
        assert!(!Ticket::new(Instant::now()).take());
    }
}
