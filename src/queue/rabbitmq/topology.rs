//! The queues in RabbitMQ: one for each partition and one for the dead letters.
//!
//! All are quorum queues: they keep what they have confirmed on the disks of a majority of a cluster's
//! nodes, and give back in its order what a consumer has not settled. They are declared by whoever uses
//! them first, which changes nothing where they are already there.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::RabbitSettings;
use super::connection::RabbitConnection;
use crate::queue::{Partition, QueueError};

/// How often a message is delivered before it is put to the dead letters. RabbitMQ counts every delivery that
/// was not settled, and that is more than failed executions: each time a consumer loses its connection, all
/// that it was given counts. So it is far more than a poisonous message needs (whoever executes messages parks
/// those that it cannot), and bounds a message that kills each process that it is given to.
pub(super) const DELIVERY_LIMIT: i64 = 20;

/// As [`DELIVERY_LIMIT`] for the dead letters: to look at one is to be given it and to give it back. For ever, that
/// is, and said as a number because no word for it suits all: RabbitMQ 4 sets 20 where none is set, and 3
/// takes the -1 by which 4 knows no limit for a limit that the first look exceeds. Either would lose the letter.
const LOOKS: i64 = 1_000_000_000;

/// The names and bounds of the queues.
pub(super) struct RabbitTopology {
    partitions: Vec<ShortString>,
    dead: ShortString,
    desk: ShortString,
    /// Messages in each partition.
    bound: i64,
    /// Dead letters.
    dead_bound: i64,
}

impl RabbitTopology {
    /// Fails if the name is too long to be a queue's (255 bytes with the partition's number).
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
            desk: queue("dead.desk")?,
            bound: bound(share),
            dead_bound: bound(settings.max),
        })
    }

    /// The queue of a partition; an error names one that there is none of.
    pub(super) fn queue(&self, partition: Partition) -> Result<ShortString, QueueError> {
        let queue = self.partitions.get(usize::from(partition.0)).cloned();
        queue.ok_or_else(|| QueueError(format!("there is no partition {}", partition.0)))
    }

    /// The partition of a queue, if it is one of ours.
    pub(super) fn partition(&self, queue: &str) -> Option<Partition> {
        let place = self.partitions.iter().position(|own| own.as_str() == queue)?;
        u16::try_from(place).ok().map(Partition)
    }

    /// The queue of the dead letters.
    pub(super) fn dead(&self) -> ShortString {
        self.dead.clone()
    }

    /// What the one who looks at the dead letters has for itself.
    pub(super) fn desk(&self) -> ShortString {
        self.desk.clone()
    }

    /// Makes sure that a queue is there, of whatever kind its name says.
    pub(super) async fn declare(
        &self,
        link: &RabbitConnection,
        queue: &ShortString,
    ) -> Result<(), QueueError> {
        if *queue == self.dead {
            return self.declare_dead(link).await;
        }
        // A partition puts its letters there by itself.
        self.declare_dead(link).await?;
        let mut arguments = bounded(self.bound);
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(self.dead.as_str()));
        // The letter leaves the partition when the dead letters have confirmed it. Needs the overflow
        // that is set here, and RabbitMQ 3.10.
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        declare_whatever_bound(link, queue, arguments).await
    }

    async fn declare_dead(&self, link: &RabbitConnection) -> Result<(), QueueError> {
        let mut arguments = bounded(self.dead_bound);
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(LOOKS));
        declare_whatever_bound(link, &self.dead, arguments).await
    }
}

/// A quorum queue that refuses more messages than these; what it has it keeps.
fn bounded(bound: i64) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert(MAX_LENGTH.into(), AMQPValue::LongLongInt(bound));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

const MAX_LENGTH: &str = "x-max-length";

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// A queue's arguments are fixed when it is made. One with another bound than is configured now is used as it
/// is: refusing it would stop the sales over a number. Any other difference is an error.
async fn declare_whatever_bound(
    link: &RabbitConnection,
    queue: &ShortString,
    mut arguments: FieldTable,
) -> Result<(), QueueError> {
    let Err(problem) = declare(link, queue, arguments.clone()).await else { return Ok(()) };
    let Some(bound) = bound_in_use(&problem.0) else { return Err(problem) };
    arguments.insert(MAX_LENGTH.into(), AMQPValue::LongLongInt(bound));
    declare(link, queue, arguments).await?;
    log::warn!(
        "the queue {queue} in rabbitmq has been made for at most {bound} messages and keeps this bound: to \
         change it, delete the queue while it is empty"
    );
    Ok(())
}

async fn declare(
    link: &RabbitConnection,
    queue: &ShortString,
    arguments: FieldTable,
) -> Result<(), QueueError> {
    // A declaration that is refused takes its channel with it.
    let channel = link.channel().await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.clone(), options, arguments).await;
    declared.map_err(|error| QueueError(format!("the queue {queue} cannot be used: {error}")))?;
    channel.close(200, "declared".into()).await.map_err(QueueError::new)
}

/// The bound that the queue has, if the broker complains of nothing but another one.
fn bound_in_use(complaint: &str) -> Option<i64> {
    if !complaint.contains("inequivalent arg 'x-max-length'") {
        return None;
    }
    let (_, current) = complaint.split_once("current is '")?;
    current.split('\'').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_shared_by_the_partitions_and_names_lead_back() {
        let settings = RabbitSettings {
            url: "amqp://broker".to_owned(),
            name: "shop".to_owned(),
            partitions: 16,
            max: 1_000,
        };
        let layout = RabbitTopology::new(&settings).unwrap();
        assert_eq!(layout.bound, 62);
        assert_eq!(layout.queue(Partition(15)).unwrap().as_str(), "shop.15");
        assert!(layout.queue(Partition(16)).is_err());
        assert_eq!(layout.partition("shop.7"), Some(Partition(7)));
        assert_eq!(layout.partition("shop.16"), None);
        assert!(
            RabbitTopology::new(&RabbitSettings { name: "n".repeat(253), ..settings }).is_err()
        );
    }

    #[test]
    fn only_another_bound_is_forgiven() {
        let complaint = |argument| {
            format!(
                "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '/': received '20' but current is '10'"
            )
        };
        assert_eq!(bound_in_use(&complaint("x-max-length")), Some(10));
        assert_eq!(bound_in_use(&complaint("x-delivery-limit")), None);
    }
}
