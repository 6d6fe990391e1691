//! What the publisher hands to its session: messages, who waits for them, and the end.

use lapin::BasicProperties;
use lapin::types::ShortString;
use tokio::sync::oneshot;

use crate::queue::PublishError;

/// A message for a queue.
pub(super) struct OutboundMessage {
    pub(super) queue: ShortString,
    /// With a message id: what comes back is known by it.
    pub(super) properties: BasicProperties,
    pub(super) body: Vec<u8>,
}

/// A parcel, and who waits for its confirmation.
pub(super) struct PendingPublish {
    pub(super) parcel: Box<OutboundMessage>,
    pub(super) reply: oneshot::Sender<Result<(), PublishError>>,
}

impl PendingPublish {
    pub(super) fn answer(self, outcome: Result<(), PublishError>) {
        // The caller may have given up.
        drop(self.reply.send(outcome));
    }
}

/// A message to the task.
pub(super) enum SessionCommand {
    Post(PendingPublish),
    /// Finish what is under way, and end.
    Close(oneshot::Sender<()>),
}
