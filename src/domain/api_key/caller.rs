//! The authenticated caller of a request.

use super::origin::Origin;
use super::{ApiKey, KeyKind, Scope, Scopes};
use crate::domain::ids::CustomerId;

/// How a caller was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerKind {
    /// Not at all: the service needs no key, and listens on this machine only.
    Open,
    /// By `ADMIN_API_KEY`.
    Installation,
    /// By a secret key of the database.
    Secret,
    /// By a publishable key of the database.
    Publishable,
    /// By a token of the shop's identity provider.
    Customer,
}

/// Who sends a request, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Identifies the caller of an Idempotency-Key: `key:7` for a key of the database, before and after a rotation.
    pub id: String,
    /// The name of the key.
    pub name: String,
    /// How it was authenticated.
    pub kind: CallerKind,
    /// What it may do; none for a publishable key and for a customer, whose rights are fixed.
    pub scopes: Scopes,
    /// The pages that may use a publishable key or a customer's token.
    pub origins: Vec<Origin>,
    /// The customer whose token it is.
    pub customer: Option<CustomerId>,
}

impl Caller {
    /// The caller without a key of a service that needs none.
    #[must_use]
    pub fn open() -> Self {
        Self::with_all_scopes(CallerKind::Open, "anonymous", "anonymous")
    }

    /// The caller that has `ADMIN_API_KEY`, with the id of its Idempotency-Keys.
    #[must_use]
    pub fn installation(id: &str) -> Self {
        Self::with_all_scopes(CallerKind::Installation, id, "ADMIN_API_KEY")
    }

    fn with_all_scopes(kind: CallerKind, id: &str, name: &str) -> Self {
        let (id, name) = (id.to_owned(), name.to_owned());
        Self { id, name, kind, scopes: Scopes::ALL, origins: Vec::new(), customer: None }
    }

    /// The caller that has a key of the database.
    #[must_use]
    pub fn of_key(key: &ApiKey) -> Self {
        let kind = match key.kind {
            KeyKind::Secret => CallerKind::Secret,
            KeyKind::Publishable => CallerKind::Publishable,
        };
        Self {
            id: format!("key:{}", key.id),
            name: key.name.clone(),
            kind,
            scopes: key.scopes,
            origins: key.origins.clone(),
            customer: None,
        }
    }

    /// The customer whose token was verified, with the pages that may use it.
    #[must_use]
    pub fn of_customer(customer: CustomerId, origins: Vec<Origin>) -> Self {
        Self {
            id: format!("customer:{}", customer.as_str()),
            name: format!("customer {}", customer.as_str()),
            kind: CallerKind::Customer,
            scopes: Scopes::default(),
            origins,
            customer: Some(customer),
        }
    }

    /// Whether the caller has a publishable key.
    #[must_use]
    pub fn is_publishable(&self) -> bool {
        self.kind == CallerKind::Publishable
    }

    /// Whether the caller may come from the pages of its origins only.
    #[must_use]
    pub fn has_origins(&self) -> bool {
        self.is_publishable() || self.customer.is_some()
    }

    /// Whether pages of this origin may use the caller's publishable key or token.
    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.as_str() == origin)
    }

    /// Whether the caller has the scope.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }
}
