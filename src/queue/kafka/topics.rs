//! Creates the two topics if they are missing, and checks those that exist.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use super::KafkaSettings;
use super::client::{SilentContext, config, reader_config};
use crate::queue::QueueError;

/// How long a broker may take for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// How long a created topic may take to appear.
const CREATED_LIMIT: Duration = Duration::from_secs(10);

/// Between two checks for it.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The topics of a queue: name, partitions, cleanup policy.
fn wanted(settings: &KafkaSettings) -> [(String, u16, &'static str); 2] {
    // A dead letter must be kept until it is deleted; its deleted records need not be.
    [(settings.name.clone(), settings.partitions, "delete"), (settings.dead_topic(), 1, "compact")]
}

/// Waits until both topics exist, with enough partitions; creates missing ones.
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
            return Err(QueueError(remedy(&settings, &missing, "it does not appear")));
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

/// The missing topics; fails if a topic has too few partitions.
fn missing(settings: &KafkaSettings) -> Result<Vec<String>, QueueError> {
    // Not a producer: at its request brokers may create a topic with their own settings.
    let client: BaseConsumer<SilentContext> =
        reader_config(settings).create_with_context(SilentContext).map_err(QueueError::new)?;
    let mut missing = Vec::new();
    for (topic, partitions, _) in wanted(settings) {
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

/// Whether the topic is missing, or being created.
fn is_missing(error: RDKafkaErrorCode) -> bool {
    matches!(
        error,
        RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::LeaderNotAvailable
    )
}

async fn create(settings: &Arc<KafkaSettings>, missing: &[String]) -> Result<(), QueueError> {
    let wanted = wanted(settings);
    let topics: Vec<NewTopic<'_>> = wanted
        .iter()
        .filter(|(topic, ..)| missing.contains(topic))
        .map(|(topic, partitions, cleanup)| {
            // The replication factor that the brokers have as default.
            let copies = TopicReplication::Fixed(-1);
            NewTopic::new(topic, i32::from(*partitions), copies).set("cleanup.policy", cleanup)
        })
        .collect();
    let owned = Arc::clone(settings);
    let making = move || config(&owned).create_with_context(SilentContext).map_err(QueueError::new);
    let client: AdminClient<SilentContext> = blocking(making).await?;
    let options = AdminOptions::new()
        .request_timeout(Some(ANSWER_LIMIT))
        .operation_timeout(Some(ANSWER_LIMIT));
    let results = client.create_topics(&topics, &options).await;
    // Dropping the client waits for its thread.
    drop(tokio::task::spawn_blocking(move || drop(client)));
    let results = results.map_err(|error| QueueError(remedy(settings, missing, error)))?;
    for result in results {
        match result {
            // Another process has created it.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, error)) => return Err(QueueError(remedy(settings, &[topic], error))),
        }
    }
    Ok(())
}

fn remedy(settings: &KafkaSettings, missing: &[String], problem: impl std::fmt::Display) -> String {
    let list: Vec<String> = wanted(settings)
        .iter()
        .filter(|(topic, ..)| missing.contains(topic))
        .map(|(topic, partitions, cleanup)| {
            format!("{topic} ({partitions} partitions, cleanup.policy={cleanup})")
        })
        .collect();
    format!("cannot create topics ({problem}): create {}", list.join(" and "))
}
