//! API keys of the database.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::openapi::schema::{
    AnyOfBuilder, Array, ArrayBuilder, Object, ObjectBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::api_keys::IssuedKey;
use crate::domain::api_key::{
    KeyKind, KeyMode, KeyRefusal, NewApiKey, ORIGINS_MAX, OVERLAP, OVERLAP_MAX, Scope, WhichSecret,
};
use crate::domain::command::Keyed;
use crate::domain::ids::{InHistory, KeyId};
use crate::domain::whole::optional_whole;
use crate::http::problem::Problem;
use crate::http::query::{NoParameters, PageQuery};
use crate::http::reply;
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::{ApiKeyBody, IssuedKeyBody, PageBody};
use crate::http::schemas::{KeyOverlap, NewKeyName, PageOrigin, closed, one_of};
use crate::http::validation::{TimeText, Validator};

/// A new API key: a secret or a publishable one.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewApiKeyBody {
    /// Its name, which no other live key has.
    pub name: String,
    /// Who it is for; `secret` if absent.
    pub kind: Option<KeyKind>,
    /// The data that it is meant for; `live` if absent.
    pub mode: Option<KeyMode>,
    /// What a secret key may do.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// The pages that may use a publishable key.
    #[serde(default)]
    pub origins: Vec<String>,
    /// When it stops to work by itself.
    pub expires_at: Option<TimeText>,
}

/// A secret key, for servers.
#[derive(ToSchema)]
#[expect(dead_code, reason = "one of the two forms of `NewApiKeyBody` in the OpenAPI document")]
struct NewSecretKey {
    /// Its name, which no other live key has.
    name: NewKeyName,
    /// `secret` if absent.
    #[schema(schema_with = secret_kind)]
    kind: Option<KeyKind>,
    /// `live` if absent; `test` marks the key and changes nothing else.
    mode: Option<KeyMode>,
    /// What the key may do; `sell` includes `read`, and `admin` includes both.
    #[schema(min_items = 1)]
    scopes: Vec<Scope>,
    /// A secret key has none: it must not be in a page.
    #[schema(required = false, max_items = 0)]
    origins: Vec<PageOrigin>,
    /// When it stops to work by itself: a time in the future.
    expires_at: Option<TimeText>,
}

/// A publishable key, for pages in a browser.
#[derive(ToSchema)]
#[expect(dead_code, reason = "one of the two forms of `NewApiKeyBody` in the OpenAPI document")]
struct NewPublishableKey {
    /// Its name, which no other live key has.
    name: NewKeyName,
    /// `publishable`.
    #[schema(schema_with = publishable_kind)]
    kind: KeyKind,
    /// `live` if absent; `test` marks the key and changes nothing else.
    mode: Option<KeyMode>,
    /// A publishable key has none.
    #[schema(required = false, max_items = 0)]
    scopes: Vec<Scope>,
    /// The pages that may use the key.
    #[schema(schema_with = page_origins)]
    origins: Vec<PageOrigin>,
    /// When it stops to work by itself: a time in the future.
    expires_at: Option<TimeText>,
}

fn secret_kind() -> Object {
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    let names = [json!(KeyKind::Secret), json!(null)];
    ObjectBuilder::new().schema_type(types).enum_values(Some(names)).build()
}

fn publishable_kind() -> Object {
    one_of([KeyKind::Publishable.as_ref()]).build()
}

fn page_origins() -> Array {
    let origin = Ref::from_schema_name("PageOrigin");
    ArrayBuilder::new().items(origin).min_items(Some(1)).max_items(Some(ORIGINS_MAX)).build()
}

impl PartialSchema for NewApiKeyBody {
    fn schema() -> RefOr<Schema> {
        let form = Ref::from_schema_name;
        let forms = AnyOfBuilder::new().item(form("NewSecretKey")).item(form("NewPublishableKey"));
        forms.description(Some("A new API key: a secret or a publishable one.")).into()
    }
}

impl ToSchema for NewApiKeyBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        NewSecretKey::schemas(schemas);
        NewPublishableKey::schemas(schemas);
        schemas.push(("NewSecretKey".to_owned(), closed(NewSecretKey::schema())));
        schemas.push(("NewPublishableKey".to_owned(), closed(NewPublishableKey::schema())));
        schemas.push(("PageOrigin".to_owned(), PageOrigin::schema()));
    }
}

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotationBody {
    /// Seconds for which the secret before still works; 86,400 if absent.
    #[schema(value_type = Option<KeyOverlap>)]
    #[serde(default, deserialize_with = "optional_whole")]
    pub overlap_s: Option<u32>,
    /// The secret that ends now; needed if two secrets work already.
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
