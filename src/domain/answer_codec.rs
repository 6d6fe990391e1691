//! The port by which the store renders and reads recorded answers. `http` implements it.

use super::audit::answer::RecordedEffect;
use super::command::RequestKey;
use super::effect::{Answer, RecordedAnswer};

/// Renders answers and reads them again.
pub trait AnswerCodec: Send + Sync {
    /// Renders an answer as it is sent, and recorded under `key`.
    fn render(&self, answer: &Answer, key: &RequestKey) -> RecordedAnswer;

    /// Reads what a recorded answer states; `None` if this service cannot have written it.
    fn read(&self, answer: &RecordedAnswer) -> Option<RecordedEffect>;
}
