//! A subscription. It has a separate connection, and ends as soon as messages may be missed.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use deadpool_redis::redis::aio::{PubSubSink, PubSubStream};
use deadpool_redis::redis::{RedisResult, Value};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use super::discovery::first_success;
use super::failure::other_error;
use super::servers::Servers;
use super::settings::Address;

/// The interval of PINGs to the server.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The most time for the answer to a PING.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The most messages that wait for the reader. The subscription ends when there are more.
const BUFFERED_MESSAGES_MAX: usize = 1024;

/// Subscribes to the channel; see [`super::Redis::subscribe`].
pub(super) async fn subscribe(
    servers: &Arc<Servers>,
    channel: &str,
) -> RedisResult<impl Stream<Item = Vec<u8>> + Send + Unpin + use<>> {
    let slots = servers.slots().await?;
    let subscriptions = slots.masters().into_iter().map(|address| async move {
        let (sink, messages) = connect(servers, address, channel).await?;
        Ok((sink, messages, address.clone()))
    });
    let (sink, messages, address) =
        first_success(subscriptions).await.inspect_err(|_| servers.invalidate())?;
    let (sender, mut receiver) = mpsc::channel(BUFFERED_MESSAGES_MAX);
    let is_current_master = {
        let servers = Arc::clone(servers);
        move || servers.master().is_none_or(|master| master == address)
    };
    tokio::spawn(forward(sink, messages, sender, is_current_master));
    Ok(stream::poll_fn(move |context| -> Poll<Option<Vec<u8>>> { receiver.poll_recv(context) }))
}

async fn connect(
    servers: &Servers,
    address: &Address,
    channel: &str,
) -> RedisResult<(PubSubSink, PubSubStream)> {
    let connector = servers.connector();
    let connect = async {
        let (mut sink, messages) = connector.client(address)?.get_async_pubsub().await?.split();
        sink.subscribe(channel).await?;
        Ok((sink, messages))
    };
    let late = |_| Err(other_error(format!("{address} takes too long to subscribe")));
    // The time limit covers the connection and two answers.
    timeout(connector.round_trip * 3, connect).await.unwrap_or_else(late)
}

/// Forwards messages until the connection ends, the server stops answering, another server is the master, or the reader
/// was dropped or is too far behind.
async fn forward(
    mut sink: PubSubSink,
    mut messages: PubSubStream,
    sender: mpsc::Sender<Vec<u8>>,
    is_current_master: impl Fn() -> bool,
) {
    let mut ping = interval(PING_INTERVAL);
    loop {
        tokio::select! {
            message = messages.next() => {
                let Some(message) = message else { return };
                // If the channel is full or closed, the message is lost. The end of the stream shows that to the
                // reader.
                if sender.try_send(message.get_payload_bytes().to_vec()).is_err() {
                    return;
                }
            }
            _ = ping.tick() => {
                let answered = timeout(PING_TIMEOUT, sink.ping::<Value>()).await;
                if !matches!(answered, Ok(Ok(_))) || !is_current_master() {
                    return;
                }
            }
            () = sender.closed() => return,
        }
    }
}
