//! The tokens of seat locks, which identify the request or hold that owns a lock.

use sha2::{Digest as _, Sha256};

use crate::domain::command::Command;
use crate::domain::ids::HoldId;
use crate::domain::rejection::ConflictReason;
use crate::lock::LockToken;

/// The top bit of a token's prefix: set if a hold owns the lock, not a request.
const HOLD_BIT: u64 = 1 << 63;

/// Why a seat whose lock has this token is refused.
pub(crate) fn reason_of(holder: LockToken) -> ConflictReason {
    if holder.prefix & HOLD_BIT == 0 { ConflictReason::Contended } else { ConflictReason::Held }
}

/// The token of one attempt of a request.
pub(crate) fn request_token(command: &Command) -> LockToken {
    let prefix = match &command.keyed {
        Some(keyed) => {
            let mut hash = Sha256::new();
            hash.update(keyed.request.caller.as_bytes());
            hash.update([0]);
            hash.update(keyed.request.key.as_bytes());
            hash.finalize().iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
        }
        None => fastrand::u64(..),
    };
    LockToken { prefix: prefix & !HOLD_BIT, attempt: fastrand::u64(..) }
}

/// The token of a hold: the same on every replica, so that the one that ends the hold can release its locks.
pub(crate) fn hold_token(hold: HoldId) -> LockToken {
    let (high, low) = hold.uuid.as_u64_pair();
    LockToken { prefix: high | HOLD_BIT, attempt: low }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::{Action, Keyed, RequestKey};
    use crate::domain::ids::ScheduleId;

    fn command(key: Option<&str>) -> Command {
        let keyed = key.map(|key| Keyed {
            request: RequestKey { caller: "shop".to_owned(), key: key.to_owned() },
            fingerprint: String::new(),
        });
        Command { keyed, ..Command::new(ScheduleId(1), Action::Lookup) }
    }

    #[test]
    fn attempts_of_one_request_share_a_prefix_and_nothing_else_does() {
        let one = request_token(&command(Some("k")));
        let again = request_token(&command(Some("k")));
        assert_eq!(one.prefix, again.prefix);
        assert_ne!(one.attempt, again.attempt);
        assert_ne!(one.prefix, request_token(&command(Some("other"))).prefix);
        assert_ne!(request_token(&command(None)).prefix, request_token(&command(None)).prefix);
    }

    #[test]
    fn the_tokens_of_holds_and_requests_differ() {
        let hold = HoldId { schedule: ScheduleId(1), uuid: uuid::Uuid::now_v7() };
        assert_eq!(hold_token(hold), hold_token(hold));
        assert_eq!(reason_of(hold_token(hold)), ConflictReason::Held);
        assert_eq!(reason_of(request_token(&command(Some("k")))), ConflictReason::Contended);
    }
}
