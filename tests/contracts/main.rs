//! The contracts of the backends, checked against each of them: seat locks, stores, queues.
//!
//! `embedded` needs only this process; `full` starts PostgreSQL and Redis, in each of its topologies.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod auditor;
mod locks;
mod queue;
mod redis;
mod shared_maps;
mod store;
mod waiting;

mod embedded {
    mod seat_locks {
        use seatlock::lock::in_process::InProcessLocks;

        crate::locks::lock_contract!(tokio::test(start_paused = true), &InProcessLocks::new());
    }
}
