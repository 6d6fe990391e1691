//! Starts the real servers and processes that the tests run against, and makes sure that they end.
//!
//! [`Postgres`] and [`Redis`] are servers of the test process alone: free ports, folders of their
//! own, nothing shared with another test process or with the system. [`Standby`] follows a
//! [`Postgres`] and can take its place. [`Process`] is any other program, above all the service
//! itself. All of them can be killed, paused and resumed. [`Relay`] is a network that fails between
//! two of them.
//!
//! Nothing outlives the test process, even one that is killed with SIGKILL: every server and folder
//! has a watchdog that notices the end of its owner (see `watchdog`).
//!
//! Everything here blocks the calling thread and panics when it fails: a test without its server
//! has nothing to say. Linux only; needs bash, coreutils, grep, util-linux, PostgreSQL and Redis
//! (`scripts/install-test-servers`).

#![expect(clippy::expect_used, clippy::panic, reason = "test support fails loudly")]

mod cluster;
mod folder;
mod port;
mod postgres;
mod process;
mod progress;
mod redis;
mod relay;
mod server;
mod standby;
mod tool;
mod watchdog;

pub use folder::Folder;
pub use port::free_port;
pub use postgres::Postgres;
pub use process::Process;
pub use redis::Redis;
pub use relay::Relay;
pub use standby::Standby;
