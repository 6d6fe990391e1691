//! The queue in front of the booking engine: whether requests go through it, and where it is.

use super::reader::{Form, Reader};
use super::secret::Secret;

/// Settings of the queue in front.
#[derive(Debug, Clone)]
pub struct QueueConfig {
    /// `QUEUE_MODE`, default `off`: which bookings go through the queue.
    pub mode: QueueMode,
    /// `QUEUE_URL`, no default, secret: the queue, with scheme `amqp`, `kafka` or `db`.
    pub url: Option<Secret>,
}

/// Which bookings go through the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueMode {
    /// None.
    Off,
    /// Those whose client sends `Prefer: respond-async`.
    Prefer,
    /// All.
    Always,
}

impl QueueConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mode = reader.choice(
            "QUEUE_MODE",
            ("off", QueueMode::Off),
            &[("prefer", QueueMode::Prefer), ("always", QueueMode::Always)],
            QueueMode::Off,
            "which bookings go through the queue: off (none), prefer (those that ask) or always",
        );
        let form =
            Form::new("a URL that begins with amqp://, kafka:// or db://", "amqp://localhost");
        let url = reader.secret("QUEUE_URL", "where the queue is", form, |text| {
            let schemes = ["amqp://", "kafka://", "db://"];
            schemes.iter().any(|scheme| text.starts_with(scheme)).then(|| Secret::new(text.trim()))
        });
        refuse_what_this_build_cannot(reader, mode);
        Self { mode, url }
    }
}

/// What this build cannot do yet, in one place: drop the check when the queue is there.
fn refuse_what_this_build_cannot(reader: &mut Reader<'_>, mode: QueueMode) {
    if mode != QueueMode::Off {
        let expected = "off (this build has no queue in front; set QUEUE_MODE=off)";
        reader.refuse("QUEUE_MODE", expected, "QUEUE_MODE=off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, problems};

    #[test]
    fn a_queue_that_this_build_does_not_have_is_refused() {
        for mode in ["prefer", "always"] {
            let found = problems(&[("QUEUE_MODE", mode), ("QUEUE_URL", "amqp://u:hunter2@mq")]);
            assert_eq!(found.len(), 1);
            assert!(found[0].contains("this build has no queue in front"), "{found:?}");
        }
        assert_eq!(config(&[("QUEUE_MODE", "off")]).queue.mode, QueueMode::Off);
    }

    #[test]
    fn an_unknown_queue_is_refused_without_showing_its_url() {
        let found = problems(&[("QUEUE_URL", "nats://u:hunter2@mq")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("QUEUE_URL=\"[redacted]\": expected a URL"), "{found:?}");
    }
}
