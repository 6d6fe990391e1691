//! What becomes of a message that cannot be executed: a dead letter, or a line of the log where there is no
//! room for another one. It never holds up what is behind it.

use crate::domain::command::Queued;
use crate::domain::ids::RequestId;
use crate::queue::{Message, Parked, QueueError};
use crate::telemetry::metrics::queue::Executed;

use crate::background::queue_consumer::Consumer;

/// So many characters of a message that is dropped are in the log: a request of ours is there as a whole.
const HEAD_CHARS: usize = 2_000;

impl Consumer {
    /// Parks a message with the reason, or drops it if it cannot be parked. A request that can be read has its
    /// outcome recorded before, so that its customer can read it. After an error that may pass nothing was done.
    pub(crate) async fn park(
        &self,
        message: Message,
        id: Option<RequestId>,
        reason: &str,
    ) -> Result<Executed, QueueError> {
        if let Some(id) = id {
            let answer = (self.with.render_parked)(id);
            let recorded = self.with.store.record_answer(Queued::key(id), answer).await;
            recorded.map_err(QueueError::new)?;
        }
        let (name, head) = (message.id.escape_debug().to_string(), head(&message.body));
        let parked = self.with.queue.park(self.partition, message, reason.to_owned()).await?;
        Ok(match parked {
            Parked::Kept => {
                log::error!("request {name} of the queue is a dead letter: {reason}");
                Executed::Parked
            }
            Parked::NoRoom(why) => {
                log::error!(
                    "request {name} of the queue is dropped: {reason}; it cannot be kept as a dead letter: \
                     {why}; it said: {head}"
                );
                self.with.health.note_dropped_request(why);
                Executed::Dropped
            }
        })
    }
}

/// The beginning of a message, on one line.
fn head(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let head: String = text.chars().take(HEAD_CHARS).collect();
    let rest = if head.len() < text.len() { " (and more)" } else { "" };
    format!("{}{rest}", head.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_message_is_one_line_of_bounded_length() {
        assert_eq!(head(b"{\"v\":1}\n\x00\xff"), "{\\\"v\\\":1}\\n\\0\u{fffd}");
        let long = "ä".repeat(HEAD_CHARS + 1);
        assert_eq!(head(long.as_bytes()), format!("{} (and more)", "ä".repeat(HEAD_CHARS)));
        assert_eq!(head("ä".repeat(HEAD_CHARS).as_bytes()), "ä".repeat(HEAD_CHARS));
    }
}
