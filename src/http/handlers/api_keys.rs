//! API keys of the database.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api_keys::IssuedKey;
use crate::domain::api_key::{KeyKind, KeyMode, KeyRefusal, NewApiKey, Scope, WhichSecret};
use crate::domain::command::Keyed;
use crate::domain::ids::{InHistory, KeyId};
use crate::http::problem::Problem;
use crate::http::query::{NoParameters, PageQuery};
use crate::http::reply;
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::{ApiKeyBody, IssuedKeyBody, PageBody};
use crate::http::validation::{TimeText, Validator};

/// How long the secret before works after a rotation, if the request does not set it.
pub const OVERLAP: Duration = Duration::from_secs(24 * 3_600);

/// The longest time for which two secrets of a key work.
pub const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A new API key.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKeyBody {
    /// 1 to 64 characters; no other live key has this name.
    #[schema(example = "shop backend")]
    pub name: String,
    /// `secret` for servers, which is the default, or `publishable` for pages in a browser.
    pub kind: Option<KeyKind>,
    /// `live`, which is the default, or `test`, which marks the key and changes nothing else.
    pub mode: Option<KeyMode>,
    /// What a secret key may do; `sell` includes `read`, and `admin` includes both.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// The pages that may use a publishable key, as `scheme://host` or `scheme://host:port`.
    #[serde(default)]
    #[schema(example = json!([]))]
    pub origins: Vec<String>,
    /// When it stops to work by itself.
    pub expires_at: Option<TimeText>,
}

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotationBody {
    /// Seconds for which the secret before still works, 0 to 2,592,000; 86,400 by default.
    #[schema(maximum = 2_592_000)]
    pub overlap_s: Option<u32>,
    /// If two secrets work already: the one that ends now.
    pub end: Option<WhichSecret>,
}

/// Creates an API key. Its text is in this answer only.
#[utoipa::path(operation_id = "create_api_key", post, path = "/api/v1/api-keys", tag = "keys", request_body = NewApiKeyBody,
    responses((status = 201, body = IssuedKeyBody, headers(("Location" = String)))))]
pub async fn create(mut api: ApiRequest<NoParameters>) -> HttpResult {
    let (new, keyed) = api.json::<NewApiKeyBody>().await?;
    refuse_recording(keyed.as_ref())?;
    let mut check = Validator::default();
    let expires_at = new.expires_at.as_ref().and_then(|time| check.time("/expires_at", time));
    let kind = (new.kind.unwrap_or(KeyKind::Secret), new.mode.unwrap_or(KeyMode::Live));
    let checked = NewApiKey::check(&new.name, kind, &new.scopes, &new.origins, expires_at);
    let new = checked.map_err(|faults| {
        for fault in faults {
            check.error(&format!("/{}", fault.field), fault.code, fault.message);
        }
    });
    let Ok(new) = new else { return Err(check.into_problem()) };
    check.finish()?;
    let issued = api.services.api_keys.create(new).await?.map_err(refused)?;
    let location = format!("/api/v1/api-keys/{}", issued.key.id);
    Ok(reply::created(&location, &IssuedKeyBody::from(issued)))
}

/// API keys in the order of their ids, with those that were revoked in the last year.
#[utoipa::path(operation_id = "list_api_keys", get, path = "/api/v1/api-keys", tag = "keys",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = PageBody<ApiKeyBody>)))]
pub async fn list(api: ApiRequest<PageQuery<InHistory<KeyId>>>) -> HttpResult {
    let page = api.services.api_keys.list(api.query.after, api.query.limit).await?;
    Ok(reply::page::<_, ApiKeyBody>(page))
}

/// One API key.
#[utoipa::path(operation_id = "read_api_key", get, path = "/api/v1/api-keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 200, body = ApiKeyBody)))]
pub async fn read(api: ApiRequest<NoParameters>) -> HttpResult {
    let key = api.services.api_keys.find(api.path_id("id", KEY)?).await?;
    reply::found::<_, ApiKeyBody>(key, KEY)
}

/// Revokes an API key. It stops to work in about a second on every process.
#[utoipa::path(operation_id = "revoke_api_key", delete, path = "/api/v1/api-keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 204, description = "revoked, or revoked before")))]
pub async fn revoke(api: ApiRequest<NoParameters>) -> HttpResult {
    if api.services.api_keys.revoke(api.path_id("id", KEY)?).await? {
        Ok(reply::no_content())
    } else {
        Err(Problem::not_found(KEY))
    }
}

/// Gives an API key a new text, which is in this answer only. The text before works until the overlap is over.
#[utoipa::path(operation_id = "rotate_api_key", post, path = "/api/v1/api-keys/{id}/rotate", tag = "keys", request_body = Option<RotationBody>,
    params(("id" = String, Path)),
    responses((status = 200, body = IssuedKeyBody)))]
pub async fn rotate(mut api: ApiRequest<NoParameters>) -> HttpResult {
    let id: KeyId = api.path_id("id", KEY)?;
    let (rotation, keyed) = api.optional_json::<RotationBody>().await?;
    refuse_recording(keyed.as_ref())?;
    let overlap = rotation.overlap_s.map_or(OVERLAP, |seconds| Duration::from_secs(seconds.into()));
    if overlap > OVERLAP_MAX {
        let message = format!("must be 0 to {}", OVERLAP_MAX.as_secs());
        return Err(Problem::field("/overlap_s", "out_of_range", message));
    }
    let rotated = api.services.api_keys.rotate(id, overlap, rotation.end).await?;
    let issued: IssuedKey = rotated.map_err(refused)?;
    Ok(reply::json(&IssuedKeyBody::from(issued)))
}

const KEY: &str = "API key";

/// An answer with a key must not be stored, so it cannot be repeated.
fn refuse_recording(keyed: Option<&Keyed>) -> Result<(), Problem> {
    let message = "must not be sent here, because the answer contains a key, which is never stored; if an answer is \
                   lost, revoke or rotate the key";
    keyed.map_or(Ok(()), |_| Err(Problem::parameter("Idempotency-Key", message)))
}

fn refused(refusal: KeyRefusal) -> Problem {
    match refusal {
        KeyRefusal::NotFound => Problem::not_found(KEY),
        KeyRefusal::Fault(fault) => {
            Problem::field(&format!("/{}", fault.field), fault.code, fault.message)
        }
    }
}
