//! Connections to RabbitMQ, and how long to wait between them.

use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::transport::{ConnectionCloser, ConnectionRuntime, RabbitTls};
use crate::queue::QueueError;

/// The longest that connecting may take; a broker that is stopped accepts and then says nothing.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The longest that saying goodbye may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// How often at least either side says something, in seconds; after twice that time of silence the other
/// side is gone. The shortest that RabbitMQ's documentation recommends (heartbeats.html), because
/// meanwhile nobody else is given the messages of a consumer that is gone.
const HEARTBEAT: u16 = 5;

/// Where the broker is, and how to get in.
pub(super) struct RabbitConnector {
    uri: AMQPUri,
    encryption: Option<RabbitTls>,
    runtime: Handle,
}

impl RabbitConnector {
    /// Reads the URL; fails if it is none, and outside of a tokio runtime.
    pub(super) fn new(url: &str) -> Result<Self, QueueError> {
        let mut uri: AMQPUri = url.parse().map_err(|problem: String| {
            // Without the URL, which has the password.
            QueueError(format!("the URL is not one of RabbitMQ ({problem}); give amqp://host"))
        })?;
        let encryption = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(RabbitTls::of(&uri.authority.host, authorities(url))?),
        };
        // What is below lapin encrypts.
        uri.scheme = AMQPScheme::AMQP;
        // By the letter `amqp://host/` names a virtual host without a name, which nobody has.
        if uri.vhost.is_empty() {
            uri.vhost.push('/');
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let runtime = Handle::try_current().map_err(QueueError::new)?;
        Ok(Self { uri, encryption, runtime })
    }

    /// Where its tasks run.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Connects, for a purpose that operators of the broker see.
    pub(super) async fn connect(&self, purpose: &str) -> Result<RabbitConnection, QueueError> {
        let cord = ConnectionCloser::default();
        // Also when the caller gives up: lapin's thread ends only with the connection.
        let mut unused = Cut { cord: cord.clone(), armed: true };
        let ground =
            ConnectionRuntime::new(self.runtime.clone(), self.encryption.clone(), cord.clone());
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("seatlock {purpose}").into());
        let connecting =
            Connection::connect_uri_with_runtime(self.uri.clone(), properties, ground.into());
        let connection = timeout(CONNECT_LIMIT, connecting)
            .await
            .map_err(|_| QueueError::new("no answer to a new connection"))?
            .map_err(QueueError::new)?;
        unused.armed = false;
        Ok(RabbitConnection { connection, cord, runtime: self.runtime.clone() })
    }
}

/// The file of authorities that the URL names, as RabbitMQ's own clients are told it
/// (rabbitmq.com/uri-query-parameters.html). Taken by the letter: such a path has nothing to be escaped.
fn authorities(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?')?;
    query.split('&').find_map(|one| one.strip_prefix("cacertfile="))
}

/// Cuts a connection that did not come about.
struct Cut {
    cord: ConnectionCloser,
    armed: bool,
}

impl Drop for Cut {
    fn drop(&mut self) {
        if self.armed {
            self.cord.cut();
        }
    }
}

/// A connection. Dropping it ends it.
pub(super) struct RabbitConnection {
    connection: Connection,
    cord: ConnectionCloser,
    runtime: Handle,
}

impl RabbitConnection {
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) async fn channel(&self) -> Result<Channel, QueueError> {
        self.connection.create_channel().await.map_err(QueueError::new)
    }

    /// Ends it in order if the broker answers, and in any case.
    pub(super) async fn end(&self) {
        let goodbye = self.connection.close(200, "goodbye".into());
        // Fails where it has ended already.
        drop(timeout(CLOSE_LIMIT, goodbye).await);
        self.cord.cut();
    }

    /// Ends it without a word, when the broker does not answer anyway.
    pub(super) fn cut(&self) {
        self.cord.cut();
    }
}

impl Drop for RabbitConnection {
    fn drop(&mut self) {
        let cord = self.cord.clone();
        // lapin says goodbye by itself when the connection is dropped, and then waits for the answer.
        drop(self.runtime.spawn(async move {
            tokio::time::sleep(CLOSE_LIMIT).await;
            cord.cut();
        }));
    }
}

/// How long to wait after failures: twice as long after each, with jitter, to a bound.
pub(super) struct ReconnectBackoff {
    failures: u32,
    until: Option<Instant>,
}

/// After the first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// After many.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl ReconnectBackoff {
    pub(super) fn new() -> Self {
        Self { failures: 0, until: None }
    }

    /// Until when nobody should try; nothing when it may be tried now.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until.filter(|until| *until > Instant::now())
    }

    pub(super) fn failed(&mut self) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        // Many processes lose their broker at the same moment.
        self.until = Some(Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0));
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_is_read_as_people_write_it() {
        let vhost = |url| RabbitConnector::new(url).unwrap().uri.vhost;
        for url in ["amqp://broker", "amqp://broker/", "amqp://broker:5672/%2f"] {
            assert_eq!(vhost(url), "/", "{url}");
        }
        assert_eq!(vhost("amqp://user:secret@broker/shop"), "shop");
        for url in ["", "broker", "http://user:secret@broker", "amqp://user:secret@:x"] {
            let error = RabbitConnector::new(url).err().unwrap().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_file_of_authorities_is_found_in_the_url() {
        let url = "amqps://broker/%2f?heartbeat=9&cacertfile=/etc/ca.pem";
        assert_eq!(authorities(url), Some("/etc/ca.pem"));
        assert_eq!(authorities("amqps://broker"), None);
    }

    /// lapin gives each connection a thread, which ends with the connection alone.
    #[tokio::test]
    async fn a_broker_that_says_nothing_leaves_no_thread_behind() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://{}", listener.local_addr().unwrap());
        let connector = RabbitConnector::new(&url).unwrap();
        let begin = Instant::now();
        let giving_up = Duration::from_millis(100);
        assert!(timeout(giving_up, connector.connect("test")).await.is_err());
        while threads_of_lapin() > 0 {
            assert!(begin.elapsed() < Duration::from_secs(20), "the thread waits for ever");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn threads_of_lapin() -> usize {
        let names = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = names.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("lapin")).count()
    }

    #[tokio::test]
    async fn pauses_grow_to_a_bound() {
        let mut backoff = ReconnectBackoff::new();
        assert_eq!(backoff.until(), None);
        let mut pause = || {
            backoff.failed();
            backoff.until().unwrap() - Instant::now()
        };
        assert!(pause() <= FIRST_PAUSE);
        for _ in 0..100 {
            assert!(pause() <= LONGEST_PAUSE);
        }
        assert!(pause() >= LONGEST_PAUSE / 2);
        backoff.succeeded();
        assert_eq!(backoff.until(), None);
    }
}
