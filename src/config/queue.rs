//! The admission queue in front of the booking engine: which requests use it, where it is, and its limits.

use std::time::Duration;

use super::Config;
use super::address::HostPort;
use super::macros::variables;
use super::reader::Reader;
use super::secret::Secret;

variables! {
    /// Settings of the admission queue.
    pub struct QueueConfig {
        /// which requests for seats go through the queue: off (none), prefer (those whose client prefers it) or always
        mode: QueueMode = QUEUE_MODE.choice(
            QueueMode::Off,
            &[("off", QueueMode::Off), ("prefer", QueueMode::Prefer), ("always", QueueMode::Always)],
        ),
        /// where the queue is; db:// if not set
        url: QueueUrl =
            QUEUE_URL.secret(URL, "db://", parse_url).unwrap_or(QueueUrl::Database),
        /// prefix of the names of queues and topics
        name: String = QUEUE_NAME.setting(
            ("seatlock".to_owned(), "seatlock"),
            "1 to 100 letters, digits, dots, dashes and underscores",
            parse_name,
        ),
        /// partitions of the queue, each with one consumer at a time; the same in every process
        partitions: u16 = QUEUE_PARTITIONS.number(4, 1..=1_024),
        /// whether serving processes also execute queued requests; off if only workers execute them
        consume: bool = QUEUE_CONSUME.flag(true),
        /// how long a request may wait; later it is not executed
        deadline: Duration = QUEUE_DEADLINE.duration(Duration::from_secs(60)),
        /// requests that may wait; more are refused as overload
        max: u64 = QUEUE_MAX.number(100_000, 1..=10_000_000),
        /// requests of one customer for one schedule that may wait
        customer_max: u32 = QUEUE_CUSTOMER_MAX.number(5, 1..=1_000),
    }
}

/// Which requests for seats go through the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueMode {
    /// None.
    Off,
    /// Those whose client sends `Prefer: respond-async` (RFC 7240).
    Prefer,
    /// All.
    Always,
}

/// The backend of the queue.
#[derive(Debug, Clone)]
pub enum QueueUrl {
    /// Tables of the service's own database.
    Database,
    /// RabbitMQ: an AMQP URI.
    Rabbit(Secret),
    /// Kafka: `host:port` of some of its brokers, with commas between them.
    Kafka(String),
}

/// The form of `QUEUE_URL`, for problems.
const URL: &str = "db:// (the service's own database), amqp://user:password@host:port/vhost or \
                   kafka://host:port,host:port";

impl std::fmt::Display for QueueUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database => f.write_str("db://"),
            Self::Rabbit(url) => url.fmt(f),
            Self::Kafka(brokers) => write!(f, "kafka://{brokers}"),
        }
    }
}

/// Whether the RabbitMQ client can read the URL.
#[cfg(feature = "rabbitmq")]
fn is_amqp(text: &str) -> bool {
    text.parse::<lapin::uri::AMQPUri>().is_ok()
}

/// Without the client every URL is accepted here, and [`check`] refuses it.
#[cfg(not(feature = "rabbitmq"))]
fn is_amqp(_: &str) -> bool {
    true
}

fn parse_url(text: &str) -> Option<QueueUrl> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://")?;
    match scheme {
        "db" => rest.is_empty().then_some(QueueUrl::Database),
        "amqp" | "amqps" => {
            let fits = !rest.is_empty() && is_amqp(text);
            fits.then(|| QueueUrl::Rabbit(Secret::new(text)))
        }
        "kafka" => {
            let is_broker = |broker: &str| HostPort::parse(broker).is_some();
            let brokers = rest.trim_end_matches('/');
            brokers.split(',').all(is_broker).then(|| QueueUrl::Kafka(brokers.to_owned()))
        }
        _ => None,
    }
}

/// A name that RabbitMQ and Kafka both accept.
fn parse_name(text: &str) -> Option<String> {
    let fits = (1..=100).contains(&text.len());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (fits && text.chars().all(plain)).then(|| text.to_owned())
}

/// Adds a problem for a queue that this program was built without, and for workers without Redis.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    let queue = &config.queue;
    if queue.mode == QueueMode::Off {
        return;
    }
    let missing_feature = match queue.url {
        QueueUrl::Rabbit(_) if !cfg!(feature = "rabbitmq") => Some("rabbitmq"),
        QueueUrl::Kafka(_) if !cfg!(feature = "kafka") => Some("kafka"),
        _ => None,
    };
    if let Some(feature) = missing_feature {
        let expected = format!(
            "db://, since this program was built without the feature {feature} (build it with \
             --features {feature})"
        );
        reader.refuse("QUEUE_URL", expected, "QUEUE_URL=db://");
    }
    if !queue.consume && config.redis.is_none() && !reader.is_refused("REDIS_HOST") {
        reader.refuse(
            "QUEUE_CONSUME",
            "on, since REDIS_HOST is not set and processes cannot share the list of waiting requests",
            "QUEUE_CONSUME=on",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, problems};

    #[test]
    fn a_queue_is_in_the_database_unless_a_url_says_otherwise() {
        let queue = config(&[("QUEUE_MODE", "prefer")]).queue;
        assert_eq!(queue.mode, QueueMode::Prefer);
        assert!(matches!(queue.url, QueueUrl::Database));
        assert!(matches!(parse_url("db://"), Some(QueueUrl::Database)));
        let found = parse_url("kafka://one:9092,two:9092");
        assert!(matches!(found, Some(QueueUrl::Kafka(brokers)) if brokers == "one:9092,two:9092"));
        let found = parse_url("amqps://u:hunter2@mq:5671/seats");
        assert!(matches!(found, Some(QueueUrl::Rabbit(_))));
        if cfg!(feature = "rabbitmq") {
            for wrong in
                ["amqp://u:hunter2@<host>/", "amqp://u:p@mq:99999", "amqp://mq/?heartbeat=x"]
            {
                assert!(parse_url(wrong).is_none(), "{wrong:?}");
            }
        }
        for wrong in ["", "db", "db://x", "amqp://", "kafka://", "kafka://one", "nats://u@mq"] {
            assert!(parse_url(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_queue_that_this_program_was_not_built_with_is_refused() {
        for (url, built) in [
            ("amqp://u:hunter2@mq", cfg!(feature = "rabbitmq")),
            ("kafka://mq:9092", cfg!(feature = "kafka")),
        ] {
            let found = problems(&[("QUEUE_MODE", "always"), ("QUEUE_URL", url)]);
            assert_eq!(found.is_empty(), built, "{found:?}");
            assert!(built || found[0].contains("built without the feature"), "{found:?}");
            assert!(problems(&[("QUEUE_URL", url)]).is_empty(), "it is not used");
        }
    }

    #[test]
    fn an_unknown_queue_is_refused_without_showing_its_url() {
        let found = problems(&[("QUEUE_URL", "nats://u:hunter2@mq")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("QUEUE_URL=\"[redacted]\": expected db://"), "{found:?}");
    }

    #[test]
    fn workers_apart_need_redis() {
        let apart = [("QUEUE_MODE", "always"), ("QUEUE_CONSUME", "off")];
        assert!(problems(&apart)[0].starts_with("QUEUE_CONSUME=\"off\": expected on"));
        assert!(problems(&[apart[0], apart[1], ("REDIS_HOST", "cache")]).is_empty());
    }

    #[test]
    fn a_name_is_one_that_every_queue_takes() {
        for (name, fits) in [("seats.eu-1_x", true), ("", false), ("a b", false), ("ä", false)] {
            assert_eq!(parse_name(name).is_some(), fits, "{name:?}");
        }
    }
}
