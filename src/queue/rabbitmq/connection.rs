//! Connections to RabbitMQ.

use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::transport::{ConnectionCloser, ConnectionRuntime, RabbitTls};
use crate::backoff::Backoff;
use crate::queue::QueueError;

/// The longest time to connect. A limit is needed, because a suspended broker process accepts connections but does not
/// answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The longest time for closing a connection with the handshake of AMQP.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The heartbeat interval in seconds. A peer that sends nothing for twice this time is considered dead. This is the
/// shortest interval that RabbitMQ's documentation recommends (heartbeats.html), because the messages of a dead
/// consumer are not delivered to another one before it is considered dead.
const HEARTBEAT: u16 = 5;

/// The pauses between attempts to connect. They are random, because many processes lose their broker at the same time.
pub(super) fn reconnect_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
}

/// The address and credentials of the broker.
pub(super) struct RabbitConnector {
    uri: AMQPUri,
    encryption: Option<RabbitTls>,
    runtime: Handle,
}

impl RabbitConnector {
    /// Parses the URL. Fails if the URL is invalid or the caller is outside of a tokio runtime.
    pub(super) fn new(url: &str) -> Result<Self, QueueError> {
        let mut uri: AMQPUri = url.parse().map_err(|problem: String| {
            // The message must not contain the URL, which contains the password.
            QueueError(format!("the URL is not one of RabbitMQ ({problem}); give amqp://host"))
        })?;
        let encryption = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some(RabbitTls::new(&uri.authority.host, ca_file(url))?),
        };
        // lapin must not encrypt: the transport below lapin does.
        uri.scheme = AMQPScheme::AMQP;
        // By the specification of the URL, `amqp://host/` means the virtual host with the empty name, which does not
        // exist. It is read as the default virtual host.
        if uri.vhost.is_empty() {
            uri.vhost.push('/');
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let runtime = Handle::try_current().map_err(QueueError::new)?;
        Ok(Self { uri, encryption, runtime })
    }

    /// The runtime in which all tasks run.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Connects. The purpose is part of the connection's name, which operators of the broker see.
    pub(super) async fn connect(&self, purpose: &str) -> Result<RabbitConnection, QueueError> {
        let closer = ConnectionCloser::default();
        let mut unused = CloseOnDrop(Some(closer.clone()));
        let runtime =
            ConnectionRuntime::new(self.runtime.clone(), self.encryption.clone(), closer.clone());
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("seatlock {purpose}").into());
        let connecting =
            Connection::connect_uri_with_runtime(self.uri.clone(), properties, runtime.into());
        let connection = timeout(CONNECT_LIMIT, connecting)
            .await
            .map_err(|_| QueueError::new("no answer to a new connection"))?
            .map_err(QueueError::new)?;
        unused.0 = None;
        Ok(RabbitConnection { connection, closer, runtime: self.runtime.clone() })
    }
}

/// The file of certificate authorities that the URL names with the parameter of RabbitMQ's own clients
/// (rabbitmq.com/uri-query-parameters.html). The path is not percent-decoded.
fn ca_file(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?')?;
    query.split('&').find_map(|parameter| parameter.strip_prefix("cacertfile="))
}

/// Closes the socket of a connection attempt that failed or was cancelled, because lapin's thread ends only when the
/// connection ends.
struct CloseOnDrop(Option<ConnectionCloser>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(closer) = &self.0 {
            closer.cut();
        }
    }
}

/// A connection. Dropping it closes it.
pub(super) struct RabbitConnection {
    pub(super) connection: Connection,
    closer: ConnectionCloser,
    runtime: Handle,
}

impl RabbitConnection {
    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    pub(super) async fn channel(&self) -> Result<Channel, QueueError> {
        self.connection.create_channel().await.map_err(QueueError::new)
    }

    /// Closes the connection with the handshake of AMQP if the broker answers in time, otherwise closes its socket.
    pub(super) async fn end(&self) {
        let closing = self.connection.close(200, "goodbye".into());
        // Fails if the connection has already ended.
        drop(timeout(CLOSE_LIMIT, closing).await);
        self.closer.cut();
    }

    /// Closes the socket of a connection to a broker that does not answer.
    pub(super) fn cut(&self) {
        self.closer.cut();
    }
}

impl Drop for RabbitConnection {
    fn drop(&mut self) {
        let closer = self.closer.clone();
        // lapin closes a dropped connection with a handshake, and waits for the answer without a limit.
        drop(self.runtime.spawn(async move {
            tokio::time::sleep(CLOSE_LIMIT).await;
            closer.cut();
        }));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_url_without_a_virtual_host_means_the_default_one() {
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
    fn the_file_of_authorities_is_found_in_the_url() {
        let url = "amqps://broker/%2f?heartbeat=9&cacertfile=/etc/ca.pem";
        assert_eq!(ca_file(url), Some("/etc/ca.pem"));
        assert_eq!(ca_file("amqps://broker"), None);
    }

    /// lapin starts a thread for each connection, which ends only when the connection ends.
    #[tokio::test]
    async fn a_silent_broker_leaves_no_thread_behind() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://{}", listener.local_addr().unwrap());
        let connector = RabbitConnector::new(&url).unwrap();
        let begin = Instant::now();
        let limit = Duration::from_millis(100);
        assert!(timeout(limit, connector.connect("test")).await.is_err());
        while threads_of_lapin() > 0 {
            assert!(begin.elapsed() < Duration::from_secs(20), "the thread does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn threads_of_lapin() -> usize {
        let names = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = names.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("lapin")).count()
    }
}
