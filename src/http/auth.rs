//! Authentication of callers. If `ADMIN_API_KEY` is set, every request to the API must carry it as a bearer token (RFC
//! 6750).

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest, web};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Services;
use super::problem::{Code, Problem};

/// The caller that an Idempotency-Key belongs to.
#[derive(Debug, Clone)]
pub struct Caller(pub String);

impl Caller {
    /// The caller of a request; all requests without a key have the same one.
    pub(super) fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }
}

impl Default for Caller {
    fn default() -> Self {
        Self("anonymous".to_owned())
    }
}

/// The API key that callers must send, as a digest.
#[derive(Clone)]
pub struct ApiKey {
    digest: [u8; 32],
    caller: Caller,
}

impl ApiKey {
    /// Stores only a digest of the key. Digests are compared in constant time, so the response time reveals neither the
    /// content nor the length of the key.
    #[must_use]
    pub fn new(key: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let short: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { digest, caller: Caller(format!("key-{short}")) }
    }

    fn matches(&self, key: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        digest.ct_eq(&self.digest).into()
    }
}

/// Refuses an API request without the key. Adds the [`Caller`] to the extensions of a request with the key.
pub async fn authenticate(
    services: web::Data<Arc<Services>>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    // A browser sends preflight requests without credentials, and OPTIONS answers only methods.
    if let Some(key) = services.api_key.as_ref().filter(|_| request.method() != Method::OPTIONS) {
        let header = request.headers().get(header::AUTHORIZATION);
        let token = header.and_then(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        if !token.is_some_and(|token| key.matches(token)) {
            let detail = "send the installation's API key as a bearer token";
            return Ok(request
                .error_response(Problem::new(Code::Unauthenticated, detail))
                .map_into_right_body());
        }
        request.extensions_mut().insert(key.caller.clone());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_itself_matches() {
        let key = ApiKey::new("a-long-enough-key");
        assert!(key.matches("a-long-enough-key"));
        for wrong in ["", "a-long-enough-ke", "a-long-enough-key ", "A-long-enough-key"] {
            assert!(!key.matches(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn the_caller_does_not_contain_the_key() {
        assert!(!ApiKey::new("a-long-enough-key").caller.0.contains("long"));
    }
}
