//! Customer tokens: a caller with a token of the shop's identity provider is the customer that the token names.
//!
//! The provider's public keys are copied in the background. The last good copy is used while the provider does not
//! answer. A token with an unknown key asks for a new copy, and waits for it a moment; whatever the number of such
//! tokens, one copy is made at a time, and at most one in [`REFRESH_MIN`].
//!
//! `ring` verifies the signatures, which rustls has brought in. The crate jsonwebtoken takes a provider of cryptography
//! only for the whole process, and judges times by the clock of the machine instead of that of the database.

mod jwt;
mod key_set;
mod source;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use crate::domain::api_key::caller::Caller;
use crate::domain::clock::EpochMs;
use crate::domain::token::TokenRules;
use crate::refreshes::Refreshes;

use jwt::SignedToken;
use key_set::{FoundKey, KeySet};
use source::KeyReader;

pub use source::KeySource;

/// The least time between two readings of the keys.
pub const REFRESH_MIN: Duration = Duration::from_secs(5);

/// How long a request with an unknown key waits for new keys.
const WAIT: Duration = Duration::from_secs(2);

/// The most requests that wait for new keys; others are refused without waiting.
const WAITING_MAX: usize = 1_024;

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusedToken {
    /// The token is not valid; with the reason.
    Invalid(String),
    /// No keys were read yet.
    Unavailable,
}

/// Verifies customer tokens.
pub struct Tokens {
    rules: TokenRules,
    reader: Arc<KeyReader>,
    clock: Box<dyn Fn() -> EpochMs + Send + Sync>,
    /// How often the keys are read again.
    pub refresh_interval: Duration,
    keys: RwLock<Option<Arc<KeySet>>>,
    refreshes: Refreshes,
}

impl Tokens {
    /// Creates the service without keys; see [`Self::refresh`]. `clock` is the clock of the database.
    #[must_use]
    pub fn new(
        rules: TokenRules,
        source: KeySource,
        refresh_interval: Duration,
        clock: impl Fn() -> EpochMs + Send + Sync + 'static,
    ) -> Self {
        Self {
            rules,
            reader: Arc::new(KeyReader::new(source)),
            clock: Box::new(clock),
            refresh_interval,
            keys: RwLock::default(),
            refreshes: Refreshes::new(WAITING_MAX),
        }
    }

    /// Whether a bearer token has the form of a customer token, right or wrong.
    #[must_use]
    pub fn recognizes(&self, bearer: &str) -> bool {
        jwt::is_token(bearer)
    }

    /// Whether there are pages that may send tokens.
    #[must_use]
    pub fn has_origins(&self) -> bool {
        !self.rules.origins.is_empty()
    }

    /// Whether pages of this origin may send tokens.
    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.rules.origins.iter().any(|allowed| allowed.as_str() == origin)
    }

    /// Authenticates a customer by a token.
    ///
    /// # Errors
    /// Why the token is refused.
    pub async fn caller(&self, token: &str) -> Result<Arc<Caller>, RefusedToken> {
        let parsed = SignedToken::parse(token, &self.rules).map_err(RefusedToken::Invalid)?;
        let mut keys = self.keys.read().clone();
        if let Some(known) = &keys
            && matches!(known.find(parsed.kid.as_deref()), FoundKey::Unknown)
            && self.refreshes.wait(WAIT).await
        {
            keys = self.keys.read().clone();
        }
        let keys = keys.ok_or(RefusedToken::Unavailable)?;
        let invalid = |reason: &str| RefusedToken::Invalid(reason.to_owned());
        let key = match keys.find(parsed.kid.as_deref()) {
            FoundKey::Key(key) => key,
            FoundKey::Unknown => {
                return Err(invalid("the identity provider has no key with its kid"));
            }
            FoundKey::Ambiguous => return Err(invalid("it needs a kid: there are several keys")),
        };
        if !key.verifies(parsed.algorithm, parsed.message, &parsed.signature) {
            return Err(invalid("its signature is not by the key that it names"));
        }
        let customer =
            parsed.customer(&self.rules, (self.clock)()).map_err(RefusedToken::Invalid)?;
        Ok(Arc::new(Caller::of_customer(customer, self.rules.origins.clone())))
    }

    /// Completes when a request waits for new keys.
    pub async fn wanted(&self) {
        self.refreshes.wanted().await;
    }

    /// Reads the keys. If that fails, those before stay in use.
    ///
    /// # Errors
    /// Why the keys cannot be read.
    pub async fn refresh(&self) -> Result<(), String> {
        let read = async {
            let reader = Arc::clone(&self.reader);
            let read = tokio::task::spawn_blocking(move || reader.read()).await;
            let read = read.unwrap_or_else(|panic| Err(panic.to_string()));
            read.map(|keys| *self.keys.write() = Some(Arc::new(keys)))
        };
        self.refreshes.run(read).await
    }
}

#[cfg(test)]
mod tests;
