//! What every backend promises, checked against each of them: seat locks and stores.
//!
//! `embedded` needs nothing but this process; `full` starts PostgreSQL and Redis, in each of its forms.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod auditor;
#[path = "../database/mod.rs"]
mod database;
mod locks;
mod queue;
mod redis;
mod shared_maps;
mod store;
mod waiting;

mod embedded {
    use seatlock::lock::in_process::InProcessLocks;

    #[tokio::test]
    async fn seat_locks_in_this_process_keep_every_promise() {
        crate::locks::every_promise(&InProcessLocks::new()).await;
    }
}
