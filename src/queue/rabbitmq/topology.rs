//! The queues in RabbitMQ: one for each partition and one for the dead letters.
//!
//! All are quorum queues, which store confirmed messages on the disks of a majority of the nodes of a cluster, and
//! requeue unsettled messages in their order. Each queue is declared at its first use; that changes nothing if the
//! queue exists.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::RabbitSettings;
use super::connection::RabbitConnection;
use crate::queue::{Partition, QueueError};

/// How often a message may be delivered before it becomes a dead letter. RabbitMQ counts every unsettled delivery, even
/// that of a message that a consumer had only prefetched when it lost its connection. So the limit is high. It is
/// for messages that crash their consumers; the consumers themselves make any other poison message a dead letter.
pub(super) const DELIVERY_LIMIT: i64 = 20;

/// The delivery limit of dead letters, in effect none, because each inspection is a delivery. It is a large number,
/// because RabbitMQ 4 uses 20 if no limit is given, and RabbitMQ 3 interprets -1 as a limit that the first inspection
/// exceeds.
const UNLIMITED_DELIVERIES: i64 = 1_000_000_000;

/// The names and bounds of the queues.
pub(super) struct RabbitTopology {
    partitions: Vec<ShortString>,
    dead: ShortString,
    inspection: ShortString,
    /// The most messages of a partition.
    partition_max: i64,
    /// The most dead letters.
    dead_max: i64,
}

impl RabbitTopology {
    /// Computes the names and bounds. Fails if a name is longer than 255 bytes.
    pub(super) fn new(settings: &RabbitSettings) -> Result<Self, QueueError> {
        let queue = |suffix: &str| {
            ShortString::try_new(format!("{}.{suffix}", settings.name)).map_err(QueueError::new)
        };
        let partitions =
            Partition::all(settings.partitions).map(|Partition(number)| queue(&number.to_string()));
        let share = settings.max / u64::from(settings.partitions.max(1));
        let bound = |max: u64| i64::try_from(max.max(1)).unwrap_or(i64::MAX);
        Ok(Self {
            partitions: partitions.collect::<Result<_, _>>()?,
            dead: queue("dead")?,
            inspection: queue("dead.inspection")?,
            partition_max: bound(share),
            dead_max: bound(settings.max),
        })
    }

    /// The queue of a partition. Fails if the partition does not exist.
    pub(super) fn queue(&self, partition: Partition) -> Result<ShortString, QueueError> {
        let queue = self.partitions.get(usize::from(partition.0)).cloned();
        queue.ok_or_else(|| QueueError(format!("there is no partition {}", partition.0)))
    }

    /// The partition of a queue. `None` if the queue is not that of a partition.
    pub(super) fn partition(&self, queue: &str) -> Option<Partition> {
        let index = self.partitions.iter().position(|own| own.as_str() == queue)?;
        u16::try_from(index).ok().map(Partition)
    }

    /// The queue of the dead letters.
    pub(super) fn dead(&self) -> ShortString {
        self.dead.clone()
    }

    /// The exclusive queue of the process that inspects the dead letters. It is used as a lock.
    pub(super) fn inspection(&self) -> ShortString {
        self.inspection.clone()
    }

    /// Declares the queue of a partition or of the dead letters.
    pub(super) async fn declare(
        &self,
        connection: &RabbitConnection,
        queue: &ShortString,
    ) -> Result<(), QueueError> {
        if *queue == self.dead {
            return self.declare_dead(connection).await;
        }
        // The broker itself moves dead letters of the partition to the queue of the dead letters.
        self.declare_dead(connection).await?;
        let mut arguments = bounded(self.partition_max);
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(self.dead.as_str()));
        // The broker removes a dead letter from the partition when the queue of the dead letters has confirmed it. This
        // requires the overflow setting of `bounded`, and RabbitMQ 3.10.
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        declare_with_any_bound(connection, queue, arguments).await
    }

    async fn declare_dead(&self, connection: &RabbitConnection) -> Result<(), QueueError> {
        let mut arguments = bounded(self.dead_max);
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(UNLIMITED_DELIVERIES));
        declare_with_any_bound(connection, &self.dead, arguments).await
    }
}

/// The arguments of a quorum queue that refuses further messages when it is full.
fn bounded(max: i64) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert(MAX_LENGTH.into(), AMQPValue::LongLongInt(max));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

const MAX_LENGTH: &str = "x-max-length";

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Declares a queue. The arguments of a queue cannot be changed after its creation. If the existing queue has another
/// bound than configured, it is used with its own bound, because an error would stop the sales. Any other difference
/// is an error.
async fn declare_with_any_bound(
    connection: &RabbitConnection,
    queue: &ShortString,
    mut arguments: FieldTable,
) -> Result<(), QueueError> {
    let Err(problem) = declare(connection, queue, arguments.clone()).await else { return Ok(()) };
    let Some(bound) = bound_in_use(&problem.0) else { return Err(problem) };
    arguments.insert(MAX_LENGTH.into(), AMQPValue::LongLongInt(bound));
    declare(connection, queue, arguments).await?;
    log::warn!(
        "the queue {queue} in rabbitmq was created for at most {bound} messages and keeps this bound: to change \
         it, delete the queue while it is empty"
    );
    Ok(())
}

async fn declare(
    connection: &RabbitConnection,
    queue: &ShortString,
    arguments: FieldTable,
) -> Result<(), QueueError> {
    // On a channel of its own, because a refused declaration closes the channel.
    let channel = connection.channel().await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.clone(), options, arguments).await;
    declared.map_err(|error| QueueError(format!("the queue {queue} cannot be used: {error}")))?;
    channel.close(200, "declared".into()).await.map_err(QueueError::new)
}

/// The bound of the existing queue, if a different bound is the reason why the broker refused the declaration.
fn bound_in_use(error: &str) -> Option<i64> {
    if !error.contains("inequivalent arg 'x-max-length'") {
        return None;
    }
    let (_, current) = error.split_once("current is '")?;
    current.split('\'').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_divided_among_the_partitions_and_a_name_gives_its_partition() {
        let settings = RabbitSettings {
            url: "amqp://broker".to_owned(),
            name: "shop".to_owned(),
            partitions: 16,
            max: 1_000,
        };
        let topology = RabbitTopology::new(&settings).unwrap();
        assert_eq!(topology.partition_max, 62);
        assert_eq!(topology.queue(Partition(15)).unwrap().as_str(), "shop.15");
        assert!(topology.queue(Partition(16)).is_err());
        assert_eq!(topology.partition("shop.7"), Some(Partition(7)));
        assert_eq!(topology.partition("shop.16"), None);
        assert!(
            RabbitTopology::new(&RabbitSettings { name: "n".repeat(253), ..settings }).is_err()
        );
    }

    #[test]
    fn only_another_bound_is_accepted() {
        let error = |argument| {
            format!(
                "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '/': received '20' but current is '10'"
            )
        };
        assert_eq!(bound_in_use(&error("x-max-length")), Some(10));
        assert_eq!(bound_in_use(&error("x-delivery-limit")), None);
    }
}
