//! Starts the real servers and processes that the tests use, and ensures that they end.
//!
//! [`Postgres`] and [`Redis`] are servers for one test process: they have free ports and their own folders, and share
//! nothing with another test process or with the system. [`Standby`] replicates a [`Postgres`] and can replace it;
//! [`Dump`] and [`BaseBackup`] are its backups. [`Patroni`] is a cluster of them with automatic failover. [`Sentinels`] and [`RedisCluster`] consist of several Redis servers,
//! encrypted or not; [`RabbitMq`] is a broker. [`Citus`] is a cluster that the caller provides. [`Service`] is a process of the service, and [`Process`] any other
//! program. All of them can be killed, paused and resumed. [`Relay`] is a network between two of them that can be made
//! to fail; [`Network`] contains the relays between the service and its servers. [`Client`] sends requests to the
//! service, and [`Database`] reads and audits what it has stored. [`Prometheus`] and [`Alertmanager`] are the
//! monitoring, [`Haproxy`] is a load balancer, and [`Tansu`] a broker with the protocol of Kafka.
//!
//! All servers and folders are removed when the test process ends, even if it is killed with SIGKILL: each has a
//! watchdog, which detects the end of its owner (see `watchdog`).
//!
//! All functions that are not `async` block the calling thread. A failure is a panic that shows the output of the failed
//! program, because a test without its server proves nothing. A server or tool fails if it is not installed, or does
//! not start or answer within about a minute. Linux only; requires bash, coreutils, grep,
//! util-linux, openssl, PostgreSQL, Redis, RabbitMQ, Prometheus, Alertmanager, HAProxy,
//! and for [`Patroni`] Patroni and etcd
//! (`scripts/install-test-servers`).

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "test support fails loudly"
)]

mod answer;
mod backup;
mod certificates;
mod citus;
mod client;
mod cluster;
mod database;
mod disk;
mod folder;
mod haproxy;
mod monitoring;
mod network;
mod patroni;
mod patroni_files;
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
mod service;
mod standby;
mod tansu;
mod tool;
mod wait;
mod watchdog;

pub use answer::{Answer, labels};
pub use backup::{BaseBackup, Dump};
pub use certificates::Certificates;
pub use citus::Citus;
pub use client::{Client, SOON, taking};
pub use database::Database;
pub use disk::SmallDisk;
pub use folder::Folder;
pub use haproxy::Haproxy;
pub use monitoring::{Alertmanager, Prometheus, monitoring_tool};
pub use network::Network;
pub use patroni::{Member, Patroni};
pub use port::free_port;
pub use postgres::Postgres;
pub use process::Process;
pub use rabbitmq::RabbitMq;
pub use redis::{Access, Redis};
pub use redis_cluster::RedisCluster;
pub use relay::{Relay, Strike};
pub use sentinels::Sentinels;
pub use server::Server;
pub use service::Service;
pub use standby::Standby;
pub use tansu::Tansu;
pub use wait::{eventually, holds_within, until};
