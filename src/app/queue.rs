//! Opens and starts the queue that the configuration describes.

use std::sync::Arc;
use std::time::Instant;

use crate::actors::booking::Lanes;
use crate::background::queue_consumer::{Consuming, QueueConsumers};
use crate::config::{Config, QueueConfig, QueueMode, QueueUrl, Secret};
use crate::domain::effect::RecordedAnswer;
use crate::domain::ids::RequestId;
use crate::domain::rejection::Rejection;
use crate::http::problem::{Code, Problem};
use crate::http::stored_response::render_problem;
#[cfg(feature = "kafka")]
use crate::queue::kafka::{KafkaQueue, KafkaSettings};
#[cfg(feature = "rabbitmq")]
use crate::queue::rabbitmq::{RabbitQueue, RabbitSettings};
use crate::queue::{DatabaseQueue, Outcomes, Queue, WaitingList};
use crate::service::queued_requests::{QueuedRequests, RequestLimits};
use crate::store::Store;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

use super::{AppError, Role};

/// The queue of a process, and its consumers if the process executes requests.
pub(super) struct AdmissionQueue {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) requests: Arc<QueuedRequests>,
    pub(super) consuming: Option<Consuming>,
}

impl AdmissionQueue {
    /// Stops the consumers when their current requests are executed, and closes the queue.
    pub(super) async fn stop_by(self, deadline: Instant) {
        if let Some(consuming) = self.consuming
            && !consuming.stop_by(deadline).await
        {
            log::warn!(
                "requests of the queue were still being executed at the end of the drain timeout"
            );
        }
        let closed = tokio::time::timeout_at(deadline.into(), self.queue.close()).await;
        if closed.is_err() {
            log::warn!("the queue was not closed before the end of the drain timeout");
        }
    }
}

/// Opens the configured queue, whether it is in use or not. Must be called inside a tokio runtime.
pub fn open_queue(config: &QueueConfig, store: &Arc<Store>) -> Result<Arc<dyn Queue>, AppError> {
    Ok(match &config.url {
        QueueUrl::Database => Arc::new(DatabaseQueue::start(Arc::clone(store), config.max)),
        QueueUrl::Rabbit(url) => open_rabbit(config, url)?,
        QueueUrl::Kafka(brokers) => open_kafka(config, brokers)?,
    })
}

#[cfg(feature = "rabbitmq")]
fn open_rabbit(config: &QueueConfig, url: &Secret) -> Result<Arc<dyn Queue>, AppError> {
    let settings = RabbitSettings {
        url: url.expose().to_owned(),
        name: config.name.clone(),
        partitions: config.partitions,
        max: config.max,
    };
    Ok(Arc::new(RabbitQueue::new(&settings)?))
}

#[cfg(not(feature = "rabbitmq"))]
fn open_rabbit(_: &QueueConfig, _: &Secret) -> Result<Arc<dyn Queue>, AppError> {
    Err(AppError::NoQueue("rabbitmq"))
}

#[cfg(feature = "kafka")]
fn open_kafka(config: &QueueConfig, brokers: &str) -> Result<Arc<dyn Queue>, AppError> {
    let settings = KafkaSettings {
        brokers: brokers.to_owned(),
        name: config.name.clone(),
        partitions: config.partitions,
    };
    Ok(Arc::new(KafkaQueue::new(settings)?))
}

#[cfg(not(feature = "kafka"))]
fn open_kafka(_: &QueueConfig, _: &str) -> Result<Arc<dyn Queue>, AppError> {
    Err(AppError::NoQueue("kafka"))
}

/// Starts the queue, unless it is off.
pub(super) fn start(
    config: &Config,
    role: Role,
    waiting: WaitingList,
    store: &Arc<Store>,
    lanes: &Arc<Lanes>,
    health: &Arc<Health>,
    metrics: &Arc<Metrics>,
) -> Result<Option<AdmissionQueue>, AppError> {
    if config.queue.mode == QueueMode::Off {
        return Ok(None);
    }
    let queue = open_queue(&config.queue, store)?;
    let waiting = Arc::new(waiting);
    let outcomes = Arc::new(Outcomes::default());
    let limits = RequestLimits {
        partitions: config.queue.partitions,
        deadline: config.queue.deadline,
        outcome_ttl: config.reservation.idempotency_ttl,
        render_expired,
    };
    let requests = Arc::new(QueuedRequests::new(
        &queue,
        Arc::clone(&waiting),
        Arc::clone(&outcomes),
        Arc::clone(store),
        limits,
    ));
    let consumers = (role == Role::Work || config.queue.consume).then(|| QueueConsumers {
        queue: Arc::clone(&queue),
        lanes: Arc::clone(lanes),
        health: Arc::clone(health),
        store: Arc::clone(store),
        waiting,
        outcomes,
        metrics: Arc::clone(metrics),
        window: config.reservation.batch_max * 2,
        permits: config.reservation.pending_max / 2,
        timeout: config.http.request_timeout,
        render_dead_letter,
        expired_status: Code::RequestExpired.status(),
    });
    let consuming = consumers.map(|consumers| consumers.start(config.queue.partitions));
    Ok(Some(AdmissionQueue { queue, requests, consuming }))
}

/// The outcome of a request that could not be executed.
fn render_dead_letter(id: RequestId) -> RecordedAnswer {
    let problem = Problem::new(Code::Internal, "the request could not be executed");
    render_problem(&Problem { retryable: false, ..problem }, &id.to_string())
}

/// The outcome of a request that was not executed in time.
fn render_expired(id: RequestId) -> RecordedAnswer {
    render_problem(&Problem::from(Rejection::TooLate), &id.to_string())
}
