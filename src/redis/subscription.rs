//! Listening to a channel: a connection of its own that ends as soon as it is of no use.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use deadpool_redis::redis::aio::{PubSubSink, PubSubStream};
use deadpool_redis::redis::{RedisResult, Value};
use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use super::discovery::{first_good, wrong};
use super::settings::Address;
use super::topology::Topology;

/// How often the server is asked whether it is still there.
const BEAT: Duration = Duration::from_secs(1);

/// How long it may take to say so.
const PATIENCE: Duration = Duration::from_secs(2);

/// A reader that is so many messages behind has to begin again.
const BEHIND_AT_MOST: usize = 1024;

/// What is published on the channel from now on; see [`super::Redis::subscribe`].
pub(super) async fn subscribe(
    topology: &Arc<Topology>,
    channel: &str,
) -> RedisResult<impl Stream<Item = Vec<u8>> + Send + Unpin + use<>> {
    let slots = topology.slots().await?;
    let listening = slots.masters().into_iter().map(|address| async move {
        let (sink, messages) = listen(topology, address, channel).await?;
        Ok((sink, messages, address.clone()))
    });
    let (sink, messages, address) =
        first_good(listening).await.inspect_err(|_| topology.doubt())?;
    let (forward, mut received) = mpsc::channel(BEHIND_AT_MOST);
    let is_current = {
        let topology = Arc::clone(topology);
        move || topology.master().is_none_or(|master| master == address)
    };
    tokio::spawn(pass_on((sink, messages), forward, is_current));
    Ok(stream::poll_fn(move |context| -> Poll<Option<Vec<u8>>> { received.poll_recv(context) }))
}

async fn listen(
    topology: &Topology,
    address: &Address,
    channel: &str,
) -> RedisResult<(PubSubSink, PubSubStream)> {
    let connector = topology.connector();
    let connect = async {
        let (mut sink, messages) = connector.client(address)?.get_async_pubsub().await?.split();
        sink.subscribe(channel).await?;
        Ok((sink, messages))
    };
    let late = |_| Err(wrong(format!("{address} takes too long to subscribe")));
    // A connection and two answers.
    timeout(connector.round_trip * 3, connect).await.unwrap_or_else(late)
}

/// Until the connection ends, the server does not answer, another one is the master, or nobody reads.
async fn pass_on(
    (mut sink, mut messages): (PubSubSink, PubSubStream),
    forward: mpsc::Sender<Vec<u8>>,
    is_current: impl Fn() -> bool,
) {
    let mut beat = interval(BEAT);
    loop {
        tokio::select! {
            message = messages.next() => {
                let Some(message) = message else { return };
                // Full or closed: what is lost here would be missed, so the reader is told by the end.
                if forward.try_send(message.get_payload_bytes().to_vec()).is_err() {
                    return;
                }
            }
            _ = beat.tick() => {
                let answered = timeout(PATIENCE, sink.ping::<Value>()).await;
                if !matches!(answered, Ok(Ok(_))) || !is_current() {
                    return;
                }
            }
            () = forward.closed() => return,
        }
    }
}
