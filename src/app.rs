//! The composition root: it builds stores, actors and a server from the configuration. Only this module names concrete
//! backends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use actix_web::dev::Server;
use tokio::task::JoinHandle;

use crate::actors::booking::{BatcherLimits, Lanes};
use crate::actors::seat_lock::SeatLocker;
use crate::background::auditor::Auditor;
use crate::background::health_monitor::{HealthMonitor, Probes};
use crate::background::hold_expiry::HoldExpiry;
use crate::background::key_refresh;
use crate::background::map_refresh::MapRefresh;
use crate::background::token_refresh;
use crate::config::{Config, QueueMode};
use crate::domain::execution_error::StoreError;
use crate::http::problem::Code;
use crate::http::{Services, routes};
use crate::queue::QueueError;
use crate::redis::RedisFailure;
use crate::seat_map::{SeatMaps, Streams};
use crate::service::bookings::{BookingDeps, BookingService};
use crate::store::Store;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

pub use database::{open_store, store_settings};
pub use queue::open_queue;

use coordination::Coordination;
use queue::AdmissionQueue;
use server::serve;
use services::services;
use tls::TlsError;

mod coordination;
mod database;
mod queue;
mod redis;
mod server;
mod services;
mod tls;

/// The time in which the engine must stop if the requests have used up the drain timeout.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Why the service could not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database is unavailable, or not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The schema lacks steps and may not be changed.
    #[error("the schema lacks {0} steps; run `seatlock migrate` or set MIGRATE=on")]
    SchemaBehind(usize),
    /// Redis is not usable as configured.
    #[error(transparent)]
    Redis(#[from] RedisFailure),
    /// The queue is not usable as configured.
    #[error("the queue: {0}")]
    Queue(#[from] QueueError),
    /// This program was built without the queue that is configured.
    #[error("this program was built without the feature {0}")]
    NoQueue(&'static str),
    /// Two metrics have one name: a fault of this program.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The address is in use, or not an address of this machine.
    #[error("cannot listen on {0}: {1}; free the address or set BIND to another")]
    Bind(String, std::io::Error),
    /// The certificate of the listener cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file with the keys of customer tokens cannot be used.
    #[error(
        "JWKS_FILE={0}: {1}; name a readable file with the public keys of the identity provider (JWKS)"
    )]
    TokenKeys(String, String),
    /// The server failed.
    #[error(transparent)]
    Server(#[from] std::io::Error),
}

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The process answers requests of the API.
    Serve,
    /// The process executes queued requests, and answers operators only.
    Work,
}

/// A service that is built and bound, and does not serve yet.
pub struct App {
    server: Server,
    metrics_server: Option<Server>,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    /// The scheme of the API's URLs: `https` if its listener has a certificate.
    pub scheme: &'static str,
    engine: Engine,
    drain_timeout: Duration,
}

/// The parts behind the server.
struct Engine {
    services: Arc<Services>,
    store: Arc<Store>,
    lanes: Arc<Lanes>,
    health: Arc<Health>,
    arbiters: Vec<Arbiter>,
    lock_maintenance: Option<JoinHandle<()>>,
    queue: Option<AdmissionQueue>,
}

impl App {
    /// Opens the database, migrates it, starts the actors and binds the server. Must be called inside an actix system.
    pub async fn build(config: &Config, role: Role) -> Result<Self, AppError> {
        let metrics = Arc::new(Metrics::new()?);
        let store = open_store(config, &metrics).await?;
        let engine = Engine::start(config, role, store, metrics)?;
        engine.register_gauges();
        if let (Role::Serve, Err(error)) = (role, engine.services.api_keys.refresh().await) {
            log::warn!("the API keys are not known yet: {error}");
        }
        engine.read_token_keys(config, role).await?;
        let routes = match role {
            Role::Serve => routes::routes,
            Role::Work => routes::metrics_routes,
        };
        let tls = config.http.tls();
        let (server, address) =
            serve(config, &config.http.bind, tls.as_ref(), &engine.services, routes)?;
        let metrics_bind = config.http.metrics_bind.as_ref();
        let bound = metrics_bind
            .map(|bind| serve(config, bind, None, &engine.services, routes::metrics_routes))
            .transpose()?;
        let (metrics_server, metrics_address) = bound.unzip();
        let drain_timeout = config.http.drain_timeout;
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Self { server, metrics_server, address, metrics_address, scheme, engine, drain_timeout })
    }

    /// The address of the API, with the port that was bound if 0 was configured.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the metrics, if they have a separate port.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The services of the handlers, for work before serving.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.engine.services
    }

    /// Serves until `stop` completes, then drains. Readiness is withdrawn. The process then waits for the delay that
    /// `stop` returns, in which clients and load balancers can notice that. After the delay the requests are finished,
    /// then the lanes, then the connections.
    pub async fn run_until_stopped(
        self,
        stop: impl Future<Output = Duration>,
    ) -> Result<(), AppError> {
        let handle = self.server.handle();
        let metrics_handle = self.metrics_server.as_ref().map(Server::handle);
        let metrics_server = self.metrics_server.map(actix_web::rt::spawn);
        let server = actix_web::rt::spawn(self.server);
        let mut deadline = Instant::now() + self.drain_timeout;
        tokio::pin!(server);
        tokio::select! {
            ended = &mut server => {
                ended.map_err(std::io::Error::other)??;
            }
            delay = stop => {
                self.engine.health.drain();
                self.engine.services.streams.notify_shutdown();
                tokio::time::sleep(delay).await;
                log::info!("stopping: finishing the requests that have begun");
                deadline = Instant::now() + self.drain_timeout;
                self.engine.services.streams.close();
                if let Some(requests) = &self.engine.services.queue {
                    requests.wake_all();
                }
                handle.stop(true).await;
                server.await.map_err(std::io::Error::other)??;
            }
        }
        // The rest of the drain timeout, but at least a second for commands that are being executed.
        self.engine.stop(deadline.max(Instant::now() + SHUTDOWN_GRACE)).await;
        if let (Some(handle), Some(server)) = (metrics_handle, metrics_server) {
            handle.stop(false).await;
            server.await.map_err(std::io::Error::other)??;
        }
        Ok(())
    }
}

impl Engine {
    fn start(
        config: &Config,
        role: Role,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, AppError> {
        // Timers run on a separate thread, because a full mailbox would delay them.
        let engine = Arbiter::new();
        let timers = Arbiter::new();
        let Coordination { locks, shared_maps, waiting, breaker, lock_maintenance } =
            Coordination::new(config, &metrics)?;
        let reservation = &config.reservation;
        let limits = BatcherLimits {
            batch_max: reservation.batch_max,
            pending_max: reservation.pending_max,
        };
        let memory = config.seat_map.memory;
        let seat_maps =
            SeatMaps::new(Arc::clone(&store), shared_maps, Arc::clone(&metrics), memory);
        let seat_maps = Arc::new(seat_maps);
        let health = Arc::new(Health::default());
        let lanes = Lanes::start(&store, &seat_maps, &health, &metrics, &engine.handle(), limits);
        let lanes = Arc::new(lanes);
        let locker = Arc::new(SeatLocker::start(locks, &metrics, &engine.handle(), limits));
        HoldExpiry::start_in(
            &timers.handle(),
            Arc::clone(&store),
            Arc::clone(&lanes),
            Arc::clone(&metrics),
            reservation.sweep_interval,
            config.http.request_timeout,
        );
        let streams = Arc::new(Streams::new(Arc::clone(&seat_maps), config.http.streams()));
        MapRefresh::start_in(
            &timers.handle(),
            Arc::clone(&seat_maps),
            Arc::clone(&streams),
            Arc::clone(&metrics),
        );
        if let Some(interval) = config.audit.interval {
            let answers_from = store.clock().plus(reservation.idempotency_ttl);
            let store = Arc::clone(&store);
            let metrics = Arc::clone(&metrics);
            Auditor::start_in(&timers.handle(), store, metrics, interval, answers_from);
        }
        let probes = Probes {
            store: Arc::clone(&store),
            lanes: Arc::clone(&lanes),
            locker: Arc::clone(&locker),
            breaker,
        };
        HealthMonitor::start_in(&timers.handle(), probes, Arc::clone(&health));
        let queue = queue::start(config, role, waiting, &store, &lanes, &health, &metrics)?;
        let bookings = BookingService::new(BookingDeps {
            lanes: Arc::clone(&lanes),
            locker,
            health: Arc::clone(&health),
            seat_maps,
            store: Arc::clone(&store),
            queue: queue.as_ref().map(|queue| Arc::clone(&queue.requests)),
            always_queued: config.queue.mode == QueueMode::Always,
            metrics,
            seat_lock_ttl: config.seat_lock.timeout,
        });
        let services = Arc::new(services(config, bookings, streams));
        if role == Role::Serve {
            key_refresh::start_in(&timers.handle(), Arc::clone(&services.api_keys));
            if let Some(tokens) = &services.tokens {
                token_refresh::start_in(&timers.handle(), Arc::clone(tokens));
            }
        }
        let arbiters = vec![engine, timers];
        Ok(Self { services, store, lanes, health, arbiters, lock_maintenance, queue })
    }

    /// Reads the keys of customer tokens. The identity provider may be unavailable at the start; a file may not.
    async fn read_token_keys(&self, config: &Config, role: Role) -> Result<(), AppError> {
        let tokens = self.services.tokens.as_ref().filter(|_| role == Role::Serve);
        let Some(tokens) = tokens else { return Ok(()) };
        let Err(error) = tokens.refresh().await else { return Ok(()) };
        match &config.tokens.jwks_file {
            Some(file) => Err(AppError::TokenKeys(file.display().to_string(), error)),
            None => {
                log::warn!("the keys of customer tokens are not known yet (JWKS_URL): {error}");
                Ok(())
            }
        }
    }

    /// Registers the gauges of values that other objects own. They are set whenever the metrics are read.
    fn register_gauges(&self) {
        let metrics = &self.services.metrics;
        metrics.reservation.expect_codes(Code::ALL.iter().map(|code| (code.name(), code.status())));
        // The store owns the metrics; the metrics must not own the store.
        let store = Arc::downgrade(&self.store);
        let health = Arc::clone(&self.health);
        let streams = Arc::downgrade(&self.services.streams);
        let seat_maps = Arc::downgrade(&self.services.seat_maps);
        metrics.before_reading(move |metrics| {
            if let Some(store) = store.upgrade() {
                store.record_pools();
            }
            if let Some(seat_maps) = seat_maps.upgrade() {
                seat_maps.record_size();
            }
            metrics.health.update(&health);
            let listeners = streams.upgrade().map_or(0, |streams| streams.listeners());
            metrics.stream.listeners.set(i64::try_from(listeners).unwrap_or(i64::MAX));
        });
    }

    async fn stop(mut self, deadline: Instant) {
        if let Some(queue) = self.queue.take() {
            queue.stop_by(deadline).await;
        }
        self.lanes.close();
        if !self.lanes.idle_by(deadline).await {
            log::warn!("commands were still being executed at the end of the drain timeout");
        }
        if let Some(task) = self.lock_maintenance {
            task.abort();
        }
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        // A connection to a dead server may never close.
        if tokio::time::timeout_at(deadline.into(), self.store.close()).await.is_err() {
            log::warn!("connections were still open at the end of the drain timeout");
        }
    }
}
