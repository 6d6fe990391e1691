//! The service under test as a separate process, as it is shipped.

use std::path::Path;
use std::time::Duration;

use test_support::{Folder, Postgres, Process, Redis};

use crate::client::Client;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running process of the service.
pub(crate) struct Service {
    process: Process,
    client: Client,
    /// The database of a process that shares it with no other.
    _folder: Option<Folder>,
}

/// What several processes of the service share.
pub(crate) struct Shared {
    pub(crate) url: String,
    redis_port: String,
    redis_db: String,
}

impl Shared {
    /// A fresh database of the shared PostgreSQL and of the shared Redis.
    pub(crate) fn fresh() -> Self {
        let redis = Redis::shared();
        Self {
            url: Postgres::shared().create_database(),
            redis_port: redis.port().to_string(),
            redis_db: redis.fresh_db().to_string(),
        }
    }

    /// Starts a process on it; [`Starting::up`] waits until it is ready.
    pub(crate) fn start(&self) -> Starting {
        self.start_with(&self.redis())
    }

    /// Starts a process with the longest allowed timeout for Redis, for a busy machine.
    pub(crate) fn start_with_long_timeouts(&self) -> Starting {
        self.start_with(&[&self.redis()[..], &[("LOCK_ROUND_TRIP", "450ms")]].concat())
    }

    fn redis(&self) -> [(&str, &str); 3] {
        [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", &self.redis_port),
            ("REDIS_DB", &self.redis_db),
        ]
    }

    /// Starts a process without Redis.
    pub(crate) fn start_without_redis(&self) -> Starting {
        self.start_with(&[])
    }

    /// Starts a process on the same database with these additional variables.
    pub(crate) fn start_with(&self, more: &[(&str, &str)]) -> Starting {
        let usual = [
            ("WRITE_DB_URL", &*self.url),
            ("BIND", "127.0.0.1:0"),
            ("LOG_FORMAT", "text"),
            ("DRAIN_DELAY", "1ms"),
        ];
        let variables: Vec<_> = usual.into_iter().chain(more.iter().copied()).collect();
        Starting(Process::spawn(Path::new(env!("CARGO_BIN_EXE_seatlock")), &variables))
    }
}

/// A process that may still be migrating its database.
pub(crate) struct Starting(Process);

impl Starting {
    /// Waits until it listens and is ready.
    pub(crate) async fn up(self) -> Service {
        let prefix = "listening on http://";
        let wait = || self.0.wait_for_line(|line| line.contains(prefix), START_TIMEOUT);
        let line = tokio::task::block_in_place(wait);
        let address = line.split_once(prefix).unwrap().1.trim();
        let client = Client::of(address.parse().unwrap());
        client.wait_until("/readyz", |answer| answer.status == 200).await;
        Service { process: self.0, client, _folder: None }
    }
}

impl Service {
    /// A process on its own SQLite file, with these additional variables.
    pub(crate) async fn embedded(more: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let path = folder.path().join("seatlock.db");
        let usual = [
            ("SQLITE_PATH", &*path.to_string_lossy()),
            ("BIND", "127.0.0.1:0"),
            ("LOG_FORMAT", "text"),
        ];
        let variables: Vec<_> = usual.into_iter().chain(more.iter().copied()).collect();
        let process = Process::spawn(Path::new(env!("CARGO_BIN_EXE_seatlock")), &variables);
        Self { _folder: Some(folder), ..Starting(process).up().await }
    }

    /// The memory that the process holds, in kB.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it has held since the last reset of the peak, in kB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Resets the peak (proc(5), `clear_refs`).
    pub(crate) fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.process.pid()), "5").unwrap();
    }

    fn status(&self, name: &str) -> u64 {
        let status = format!("/proc/{}/status", self.process.pid());
        let status = std::fs::read_to_string(status).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Shares the seen versions: clients of each process require maps as new as those of the other have seen.
    pub(crate) fn shares_customers_with(&mut self, other: &Self) {
        self.client.shares_versions_with(&other.client);
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends SIGTERM, and returns immediately.
    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits until it has ended with exit code 0.
    pub(crate) fn ended(&self) {
        let exit = tokio::task::block_in_place(|| self.process.wait_exit(START_TIMEOUT));
        assert_eq!(exit, 0, "{}", self.process.output());
    }
}
