//! The two topics: looked for, created where they are not, and refused where they do not suit.

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

/// How long a topic that has just been created may take to be there.
const CREATED_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks for it.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The topics of a queue, and what each is created with.
fn wanted(settings: &KafkaSettings) -> [(String, u16, &'static str); 2] {
    // A letter has to stay until somebody takes it; what it was replaced by need not.
    [(settings.name.clone(), settings.partitions, "delete"), (settings.dead_topic(), 1, "compact")]
}

/// Sees to it that both topics are there, with partitions enough.
pub(super) async fn ensure(settings: Arc<KafkaSettings>) -> Result<(), QueueError> {
    let deadline = Instant::now() + CREATED_LIMIT;
    let mut asked = false;
    loop {
        let looking = Arc::clone(&settings);
        let missing = blocking(move || missing(&looking)).await?;
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(QueueError(remedy(&settings, &missing, "it does not appear")));
        }
        if asked {
            tokio::time::sleep(LOOK_INTERVAL).await;
        } else {
            create(&settings, &missing).await?;
            asked = true;
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, QueueError> + Send + 'static,
) -> Result<T, QueueError> {
    tokio::task::spawn_blocking(work).await.map_err(QueueError::new)?
}

/// The topics that are not there; an error if one of them has too few partitions.
fn missing(settings: &KafkaSettings) -> Result<Vec<String>, QueueError> {
    // Asked by a producer, brokers may create a topic as they please.
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
            Some(error) if !is_coming(error) => {
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

/// What is said of a topic that is not there, or not yet.
fn is_coming(error: RDKafkaErrorCode) -> bool {
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
            // As many copies as the brokers are configured to keep.
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
    // Its end waits for its thread.
    drop(tokio::task::spawn_blocking(move || drop(client)));
    let results = results.map_err(|error| QueueError(remedy(settings, missing, error)))?;
    for result in results {
        match result {
            // Another process was faster.
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
