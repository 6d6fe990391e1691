//! API keys in answers.

use serde::Serialize;
use utoipa::ToSchema;

use crate::api_keys::IssuedKey;
use crate::domain::api_key::{ApiKey, KeyKind, KeyMode, KeySecret, Scope};
use crate::http::schemas::{KeyPrefix, KeySecretText, NumberId, PageOrigin, Timestamp};
use crate::http::time;

/// An API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyBody {
    /// Its identifier, which a rotation does not change.
    #[schema(value_type = NumberId)]
    pub id: String,
    /// Its name, which no other live key has.
    #[schema(example = "shop backend")]
    pub name: String,
    /// Who it is for.
    pub kind: KeyKind,
    /// The data that it is meant for.
    pub mode: KeyMode,
    /// What a secret key may do, with the scopes that are included; empty for a publishable one.
    pub scopes: Vec<Scope>,
    /// The pages that may use a publishable key; empty for a secret one.
    #[schema(value_type = Vec<PageOrigin>)]
    pub origins: Vec<String>,
    /// When it was created.
    #[schema(value_type = Timestamp)]
    pub created_at: String,
    /// When it stops to work by itself.
    #[schema(value_type = Option<Timestamp>)]
    pub expires_at: Option<String>,
    /// When it was revoked, or had expired.
    #[schema(value_type = Option<Timestamp>)]
    pub revoked_at: Option<String>,
    /// When it was last used, to about a minute.
    #[schema(value_type = Option<Timestamp>)]
    pub last_used_at: Option<String>,
    /// Its secrets that work, the oldest first: two during a rotation.
    pub secrets: Vec<KeySecretBody>,
}

/// A secret of an API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeySecretBody {
    /// The beginning of its text, by which people recognise it.
    #[schema(value_type = KeyPrefix)]
    pub prefix: String,
    /// When it was created.
    #[schema(value_type = Timestamp)]
    pub created_at: String,
    /// When it stops to work, during a rotation.
    #[schema(value_type = Option<Timestamp>)]
    pub ends_at: Option<String>,
}

/// An API key that was created or rotated.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuedKeyBody {
    /// The text of the key. It is shown in this answer only.
    #[schema(value_type = KeySecretText)]
    pub key: String,
    /// The key as it is listed.
    #[serde(flatten)]
    pub listed: ApiKeyBody,
}

impl From<ApiKey> for ApiKeyBody {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            kind: key.kind,
            mode: key.mode,
            scopes: key.scopes.iter().collect(),
            origins: key.origins.iter().map(ToString::to_string).collect(),
            created_at: time::write(key.created_at),
            expires_at: key.expires_at.map(time::write),
            revoked_at: key.revoked_at.map(time::write),
            last_used_at: key.last_used_at.map(time::write),
            secrets: key.secrets.into_iter().map(KeySecretBody::from).collect(),
        }
    }
}

impl From<KeySecret> for KeySecretBody {
    fn from(secret: KeySecret) -> Self {
        Self {
            prefix: secret.prefix,
            created_at: time::write(secret.created_at),
            ends_at: secret.ends_at.map(time::write),
        }
    }
}

impl From<IssuedKey> for IssuedKeyBody {
    fn from(issued: IssuedKey) -> Self {
        Self { key: issued.text.expose().to_owned(), listed: issued.key.into() }
    }
}
