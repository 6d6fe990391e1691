//! Secrets of holds. A page with a publishable key proves with it that a hold is its own.
//!
//! The secret is an HMAC-SHA256 (RFC 2104) of the id of the hold, with a key that all processes read from the database.
//! So it is not stored with the hold, and it is checked without a query.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::domain::ids::HoldId;

/// The beginning of a secret, by which people and programs recognize it.
const PREFIX: &str = "hs_";

/// The length of the secret's binary form: 192 bits, which are 32 characters.
const BYTES: usize = 24;

/// The key of the secrets of all holds: random text, the same on every process.
#[derive(Clone)]
pub struct HoldKey(Hmac<Sha256>);

impl HoldKey {
    /// The key with this text; `None` if the text is too short to be random.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let hmac = Hmac::new_from_slice(text.as_bytes()).ok()?;
        (text.len() >= 32).then_some(Self(hmac))
    }

    fn mac(&self, hold: HoldId) -> Hmac<Sha256> {
        self.0.clone().chain_update(hold.to_string())
    }

    /// The secret of a hold.
    #[must_use]
    pub fn secret(&self, hold: HoldId) -> String {
        let mac = self.mac(hold).finalize().into_bytes();
        let mac = mac.get(..BYTES).unwrap_or_default();
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(mac))
    }

    /// Whether this is the secret of the hold; compared in constant time.
    #[must_use]
    pub fn admits(&self, hold: HoldId, secret: &str) -> bool {
        let text = secret.strip_prefix(PREFIX);
        let mac = text.and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok());
        mac.is_some_and(|mac| {
            mac.len() == BYTES && self.mac(hold).verify_truncated_left(&mac).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::ScheduleId;

    #[test]
    fn a_secret_admits_to_its_own_hold_only() {
        let key = HoldKey::new(&"k".repeat(64)).unwrap();
        let hold = |n| HoldId { schedule: ScheduleId(1), uuid: Uuid::from_u128(n) };
        let secret = key.secret(hold(7));
        assert_eq!((secret.len(), &secret[..3]), (35, "hs_"));
        assert!(key.admits(hold(7), &secret));
        assert!(!key.admits(hold(8), &secret));
        assert!(!HoldKey::new(&"x".repeat(64)).unwrap().admits(hold(7), &secret));
        for wrong in ["", "hs_", &secret[3..], &secret[..34], "hs_AA", &format!("{secret}A")] {
            assert!(!key.admits(hold(7), wrong), "{wrong}");
        }
        assert!(HoldKey::new("short").is_none());
    }
}
