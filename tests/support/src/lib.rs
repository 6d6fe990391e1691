//! Starts the real servers and processes that the tests run against, and makes sure that they end.
//!
//! [`Postgres`] and [`Redis`] are servers of the test process alone: free ports, folders of their own, nothing
//! shared with another test process or with the system. [`Standby`] follows a [`Postgres`] and can take its place;
//! [`Dump`] and [`BaseBackup`] are its backups. [`Sentinels`] and [`RedisCluster`] are several Redis servers each,
//! encrypted or not; [`RabbitMq`] is a broker. [`Process`] is any other program, above all the service itself. All
//! of them can be killed, paused and resumed. [`Relay`] is a network that fails between two of them, [`Network`]
//! that between the service and its servers. [`Prometheus`] and [`Alertmanager`] watch. [`Haproxy`] balances.
//! [`Tansu`] speaks Kafka's protocol.
//!
//! Nothing outlives the test process, even one that is killed with SIGKILL: every server and folder has a watchdog
//! that notices the end of its owner (see `watchdog`).
//!
//! Everything here but [`until`] blocks the calling thread. It panics when it fails, and shows the output of the
//! program that has failed: a test without its server proves nothing. A server or a tool fails that is not
//! installed, or that does not start or answer within about a minute. Linux only; needs bash, coreutils, grep,
//! util-linux, openssl, PostgreSQL, Redis, RabbitMQ, Prometheus, Alertmanager and HAProxy
//! (`scripts/install-test-servers`).

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test support fails loudly"
)]

mod backup;
mod certificates;
mod cluster;
mod disk;
mod folder;
mod haproxy;
mod monitoring;
mod network;
mod port;
mod postgres;
mod process;
mod progress;
mod rabbitmq;
mod redis;
mod redis_cluster;
mod relay;
mod sentinels;
mod server;
mod standby;
mod tansu;
mod tool;
mod wait;
mod watchdog;

pub use backup::{BaseBackup, Dump};
pub use certificates::Certificates;
pub use disk::SmallDisk;
pub use folder::Folder;
pub use haproxy::Haproxy;
pub use monitoring::{Alertmanager, Prometheus, monitoring_tool};
pub use network::Network;
pub use port::free_port;
pub use postgres::Postgres;
pub use process::Process;
pub use rabbitmq::RabbitMq;
pub use redis::{Access, Redis};
pub use redis_cluster::RedisCluster;
pub use relay::{Relay, Strike};
pub use sentinels::Sentinels;
pub use server::Server;
pub use standby::Standby;
pub use tansu::Tansu;
pub use wait::{eventually, holds_within, until};
