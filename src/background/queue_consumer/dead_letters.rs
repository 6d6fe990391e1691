//! Handles messages that cannot be executed. Such a message becomes a dead letter, or is only logged if the queue
//! cannot store another dead letter. In both cases later messages are not delayed.

use crate::domain::ids::RequestId;
use crate::queue::{DeadLettered, Message, QueueError};
use crate::telemetry::metrics::queue::Executed;

use super::Consumer;

/// The most characters of a dropped message that are logged. A request of this service is shorter.
const LOGGED_CHARS: usize = 2_000;

impl Consumer {
    /// Makes a message a dead letter, or drops it if the queue cannot store it. If `id` is given, the failure is first
    /// recorded as the outcome of that request. An error may be temporary; then the message is not settled.
    pub(crate) async fn dead_letter(
        &self,
        message: Message,
        id: Option<RequestId>,
        reason: &str,
    ) -> Result<Executed, QueueError> {
        if let Some(id) = id {
            let answer = (self.with.render_dead_letter)(id);
            let recorded = self.with.store.record_answer(id, answer).await;
            recorded.map_err(QueueError::new)?;
        }
        let name = message.id.escape_debug().to_string();
        let body = excerpt(&message.body);
        let added = self.with.queue.add_dead_letter(self.partition, message, reason.to_owned());
        Ok(match added.await? {
            DeadLettered::Stored => {
                log::error!("request {name} of the queue is a dead letter: {reason}");
                Executed::DeadLettered
            }
            DeadLettered::NotStored(why) => {
                log::error!(
                    "request {name} of the queue is dropped: {reason}; it cannot be kept as a dead letter: \
                     {why}; its content: {body}"
                );
                self.with.health.note_dropped_request(why);
                Executed::Dropped
            }
        })
    }
}

/// The beginning of a message, on one line.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let start: String = text.chars().take(LOGGED_CHARS).collect();
    let more = if start.len() < text.len() { " (and more)" } else { "" };
    format!("{}{more}", start.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_excerpt_of_a_message_is_one_line_of_bounded_length() {
        assert_eq!(excerpt(b"{\"v\":1}\n\x00\xff"), "{\\\"v\\\":1}\\n\\0\u{fffd}");
        let long = "ä".repeat(LOGGED_CHARS + 1);
        assert_eq!(excerpt(long.as_bytes()), format!("{} (and more)", "ä".repeat(LOGGED_CHARS)));
        assert_eq!(excerpt("ä".repeat(LOGGED_CHARS).as_bytes()), "ä".repeat(LOGGED_CHARS));
    }
}
