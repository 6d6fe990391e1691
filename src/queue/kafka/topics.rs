//! Creates the two topics if they are missing, and checks those that exist.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::KafkaSettings;
use super::client::{SilentContext, config, reader_config};
use crate::queue::QueueError;

/// The longest wait for one answer of a broker.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The longest wait until a created topic appears in the metadata.
const CREATED_LIMIT: Duration = Duration::from_secs(10);

/// The time between two checks for a created topic.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The topics of a queue: name, partitions, cleanup policy.
fn topics(settings: &KafkaSettings) -> [(String, u16, &'static str); 2] {
    // A compacted topic stores each dead letter until it is deleted by its key.
    [(settings.name.clone(), settings.partitions, "delete"), (settings.dead_topic(), 1, "compact")]
}

/// Creates missing topics, and waits until both topics exist and have enough partitions.
pub(super) async fn ensure(settings: Arc<KafkaSettings>) -> Result<(), QueueError> {
    let deadline = Instant::now() + CREATED_LIMIT;
    let mut created = false;
    loop {
        let checked = Arc::clone(&settings);
        let missing = blocking(move || missing(&checked)).await?;
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(QueueError(remedy(&settings, &missing, "a new topic is not found")));
        }
        if created {
            tokio::time::sleep(POLL_INTERVAL).await;
        } else {
            create(&settings, &missing).await?;
            created = true;
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, QueueError> + Send + 'static,
) -> Result<T, QueueError> {
    tokio::task::spawn_blocking(work).await.map_err(QueueError::new)?
}

/// The missing topics. Fails if a topic has too few partitions.
fn missing(settings: &KafkaSettings) -> Result<Vec<String>, QueueError> {
    // A consumer is used, because brokers may create a topic with their own settings when a producer requests it.
    let client: BaseConsumer<SilentContext> =
        reader_config(settings).create_with_context(SilentContext).map_err(QueueError::new)?;
    let mut missing = Vec::new();
    for (topic, partitions, _) in topics(settings) {
        let metadata =
            client.fetch_metadata(Some(&topic), ANSWER_LIMIT).map_err(QueueError::new)?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let error = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
        let found = found.map_or(0, |found| found.partitions().len());
        match error {
            Some(error) if !is_missing(error) => {
                return Err(QueueError(format!("topic {topic}: {error}")));
            }
            Some(_) => missing.push(topic),
            None if found == 0 => missing.push(topic),
            None if found < usize::from(partitions) => {
                return Err(QueueError(format!(
                    "topic {topic} has {found} partitions, {partitions} are configured: add \
                     partitions to it while the queue is empty, or configure {found}"
                )));
            }
            None => {}
        }
    }
    Ok(missing)
}

/// Whether the error means that the topic does not exist, or is being created.
fn is_missing(error: RDKafkaErrorCode) -> bool {
    matches!(
        error,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::LeaderNotAvailable
    )
}

async fn create(settings: &Arc<KafkaSettings>, missing: &[String]) -> Result<(), QueueError> {
    let all_topics = topics(settings);
    let new_topics: Vec<NewTopic<'_>> = all_topics
        .iter()
        .filter(|(topic, ..)| missing.contains(topic))
        .map(|(topic, partitions, cleanup)| {
            // -1 is the default replication factor of the brokers.
            let replication = TopicReplication::Fixed(-1);
            NewTopic::new(topic, i32::from(*partitions), replication).set("cleanup.policy", cleanup)
        })
        .collect();
    let owned = Arc::clone(settings);
    let connect =
        move || config(&owned).create_with_context(SilentContext).map_err(QueueError::new);
    let client: AdminClient<SilentContext> = blocking(connect).await?;
    let options = AdminOptions::new()
        .request_timeout(Some(ANSWER_LIMIT))
        .operation_timeout(Some(ANSWER_LIMIT));
    let results = client.create_topics(&new_topics, &options).await;
    // On a thread that may block, because dropping the client waits for its own thread.
    drop(tokio::task::spawn_blocking(move || drop(client)));
    let results = results.map_err(|error| QueueError(remedy(settings, missing, error)))?;
    for result in results {
        match result {
            // If the topic already exists, another process has created it.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, error)) => return Err(QueueError(remedy(settings, &[topic], error))),
        }
    }
    Ok(())
}

fn remedy(settings: &KafkaSettings, missing: &[String], problem: impl std::fmt::Display) -> String {
    let list: Vec<String> = topics(settings)
        .iter()
        .filter(|(topic, ..)| missing.contains(topic))
        .map(|(topic, partitions, cleanup)| {
            format!("{topic} ({partitions} partitions, cleanup.policy={cleanup})")
        })
        .collect();
    format!("cannot create topics ({problem}): create {}", list.join(" and "))
}
