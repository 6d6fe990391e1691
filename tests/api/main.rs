//! Black-box tests of the API over HTTP, on both stacks: embedded (SQLite, locks in the process) and full
//! (PostgreSQL, Redis). `cargo test --test api -- --skip full::` needs no server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

/// Makes two tests of each function named: `embedded` and `full`.
macro_rules! on_both_stacks {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::app::Stack::Embedded).await;
                }
            )+
        }

        mod full {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::app::Stack::Full).await;
                }
            )+
        }
    };
}

mod app;
mod auth;
mod bad_input;
mod blocks;
mod bookings;
mod browsers;
mod clock;
mod concurrency;
mod contract;
mod databases;
mod edge;
mod events;
mod fair_use;
mod framing;
mod giving_back;
mod histories;
mod hold_changes;
mod holds;
mod idempotency;
mod key_processes;
mod keys;
mod linked_seats;
mod listener;
mod maps;
mod methods;
mod metrics;
mod openapi;
mod operations;
mod pages;
mod plans;
mod plans_csv;
mod problems;
mod processes;
mod queries;
mod queue;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
mod queue_brokers;
mod queue_processes;
mod redis_forms;
mod replicas;
mod schedules;
mod scopes;
mod seats;
mod senders;
mod service;
mod sharing;
mod slow_readers;
mod stadium;
mod starting;
mod stream_processes;
mod streams;
mod tls;
mod tokens;
