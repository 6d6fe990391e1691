//! What a scenario needs, and how it is started.

use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use test_support::{Network, Patroni, Postgres, Redis};

use crate::harness::{Scene, blocking};

/// Scenarios run one at a time: each needs the machine for itself.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// PostgreSQL of all scenarios, or of this one, which may break it, or a cluster that finds its primary itself.
pub(crate) enum Primary {
    Shared(&'static Postgres),
    Own(Box<Postgres>),
    Cluster(Box<Patroni>),
}

impl Primary {
    fn create_database(&self) -> String {
        match self {
            Self::Cluster(cluster) => cluster.create_database(),
            _ => Postgres::create_database(self),
        }
    }

    fn network(&self, redis: &Redis) -> Network {
        match self {
            Self::Cluster(cluster) => Network::to_port(cluster.write_port(), redis),
            _ => Network::to(self, redis),
        }
    }
}

impl Deref for Primary {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
            Self::Cluster(_) => panic!("a cluster is no single server"),
        }
    }
}

/// What a scenario needs.
pub(crate) struct Setup {
    name: &'static str,
    own_postgres: Option<Vec<(&'static str, &'static str)>>,
    postgres: Option<Postgres>,
    cluster: bool,
    redis: Vec<(&'static str, &'static str)>,
    variables: Vec<(&'static str, &'static str)>,
    processes: usize,
}

impl Setup {
    pub(crate) fn of(name: &'static str) -> Self {
        let redis = Vec::new();
        let variables = vec![("HTTP_WORKERS", "2"), ("OUTAGE_GRACE", "10s")];
        Self {
            name,
            own_postgres: None,
            postgres: None,
            cluster: false,
            redis,
            variables,
            processes: 1,
        }
    }

    /// A PostgreSQL of the scenario's own, with these settings.
    pub(crate) fn own_postgres(mut self, settings: &[(&'static str, &'static str)]) -> Self {
        self.own_postgres = Some(settings.to_vec());
        self
    }

    /// This PostgreSQL.
    pub(crate) fn on(mut self, postgres: Postgres) -> Self {
        self.postgres = Some(postgres);
        self
    }

    /// A cluster under Patroni of the scenario's own, behind HAProxy, with its standbys for reads.
    pub(crate) fn cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Settings of Redis, which is the scenario's own in any case.
    pub(crate) fn redis(mut self, settings: &[(&'static str, &'static str)]) -> Self {
        self.redis = settings.to_vec();
        self
    }

    /// A variable of every process; the last of a name counts.
    pub(crate) fn set(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Budgets a quarter as long as usual, in the same order.
    pub(crate) fn quick(self) -> Self {
        self.set("DB_POOL_WAIT", "450ms")
            .set("DB_LOCK_TIMEOUT", "500ms")
            .set("DB_STATEMENT_TIMEOUT", "1s")
            .set("DB_TRANSACTION_TIMEOUT", "2500ms")
            .set("REQUEST_TIMEOUT", "3500ms")
            .set("SEAT_LOCK_TIMEOUT", "5s")
    }

    pub(crate) fn processes(mut self, processes: usize) -> Self {
        self.processes = processes;
        self
    }

    pub(crate) async fn start(mut self) -> Scene {
        let turn = TURN.lock().await;
        let began = Instant::now();
        let (primary, redis) = blocking(|| {
            let own = self.postgres.take();
            let primary = match (own, &self.own_postgres) {
                _ if self.cluster => Primary::Cluster(Box::new(Patroni::start())),
                (Some(postgres), _) => Primary::Own(Box::new(postgres)),
                (None, Some(settings)) => Primary::Own(Box::new(Postgres::start(settings))),
                (None, None) => Primary::Shared(Postgres::shared()),
            };
            (primary, Redis::start(&self.redis))
        });
        let url = blocking(|| primary.create_database());
        if let Primary::Cluster(cluster) = &primary {
            let standbys = cluster.service_variable("READ_DB_URL");
            self.variables.push(("READ_DB_URL", standbys.leak()));
        }
        let network = primary.network(&redis);
        let mut scene = Scene {
            name: self.name,
            began,
            services: Vec::new(),
            variables: self.variables,
            url,
            network,
            primary,
            redis: Arc::new(redis),
            ledger: Arc::default(),
            injected: Mutex::default(),
            _turn: turn,
        };
        for _ in 0..self.processes {
            scene.add(&[]).await;
        }
        scene
    }
}
