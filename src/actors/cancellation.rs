//! Whether a command is still wanted, agreed between the one who waits and the batch that takes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

const PENDING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// What a withdrawn command may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelOutcome {
    /// No batch had taken it, and none will: it has no effect.
    InTime,
    /// A batch had taken it: it may have had its effect.
    TooLate,
}

/// Commands that must be executed in the order in which they were submitted. Once one of them has failed,
/// those behind it are not taken: their owner submits all of them again, in order.
#[derive(Debug, Clone, Default)]
pub struct OrderedGroup(Arc<AtomicBool>);

impl OrderedGroup {
    /// Nothing more of it is taken.
    pub(crate) fn break_off(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_whole(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }
}

/// A command's place between its caller and a batch.
#[derive(Debug)]
pub(crate) struct CancellationState {
    state: AtomicU8,
    deadline: Instant,
    chain: Option<OrderedGroup>,
}

impl CancellationState {
    pub(crate) fn new(deadline: Instant, chain: Option<OrderedGroup>) -> Self {
        Self { state: AtomicU8::new(PENDING), deadline, chain }
    }

    /// It has failed, or was not taken: what follows it in its chain must not overtake it.
    pub(crate) fn fail(&self) {
        if let Some(chain) = &self.chain {
            chain.break_off();
        }
    }

    fn is_in_turn(&self) -> bool {
        self.chain.as_ref().is_none_or(OrderedGroup::is_whole)
    }

    /// The caller gives up.
    pub(crate) fn withdraw(&self) -> CancelOutcome {
        match self.state.swap(WITHDRAWN, Ordering::SeqCst) {
            PENDING => CancelOutcome::InTime,
            _ => CancelOutcome::TooLate,
        }
    }

    /// The caller gives up if no batch has taken it; true if so, and it has no effect.
    pub(crate) fn recall(&self) -> bool {
        let change = (Ordering::SeqCst, Ordering::SeqCst);
        self.state.compare_exchange(PENDING, WITHDRAWN, change.0, change.1).is_ok()
    }

    /// A batch wants to take it; false if it was withdrawn, its deadline has passed, or one before it in
    /// its chain has failed.
    pub(crate) fn take(&self) -> bool {
        Instant::now() < self.deadline
            && self.is_in_turn()
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

    fn ticket() -> CancellationState {
        CancellationState::new(Instant::now() + Duration::from_secs(60), None)
    }

    #[test]
    fn behind_a_failed_command_nothing_of_its_chain_is_taken() {
        let (chain, deadline) = (OrderedGroup::default(), Instant::now() + Duration::from_secs(60));
        let [first, second, third] =
            [(); 3].map(|()| CancellationState::new(deadline, Some(chain.clone())));
        assert!(first.take() && second.take());
        first.fail();
        assert!(second.wanted(), "its batch goes on as a whole");
        assert!(!third.take());
        assert!(ticket().take(), "others have nothing to do with it");
    }

    #[test]
    fn a_withdrawn_command_is_never_taken() {
        let ticket = ticket();
        assert_eq!(ticket.withdraw(), CancelOutcome::InTime);
        assert!(!ticket.take());
    }

    #[test]
    fn a_taken_command_is_withdrawn_too_late_and_not_run_again() {
        let ticket = ticket();
        assert!(ticket.take());
        assert!(ticket.wanted());
        assert_eq!(ticket.withdraw(), CancelOutcome::TooLate);
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
        assert!(!CancellationState::new(Instant::now(), None).take());
    }
}
