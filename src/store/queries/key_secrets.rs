//! API keys with their secrets, from rows of both tables.

use std::collections::BTreeMap;

use entity::{api_key, api_key_secret};
use sea_orm::ConnectionTrait;

use crate::domain::api_key::{ApiKey, KeySecret, LiveSecret};
use crate::domain::clock::EpochMs;
use crate::domain::ids::KeyId;
use crate::store::connection::{DbResult, RowSet, Session, rows};

/// The keys of these rows with their secrets.
pub(super) async fn with_secrets<C: ConnectionTrait>(
    session: &Session<C>,
    keys: Vec<api_key::Model>,
) -> DbResult<Vec<ApiKey>> {
    let ids = RowSet::of(keys.iter().map(|key| key.id)).with("key_id", |id| *id);
    let join = session.dialect.join_by_key("api_key_secret", "t", &["key_id"]);
    let mut secrets: BTreeMap<(i64, i16), KeySecret> = BTreeMap::new();
    for row in session.models_of_set::<api_key_secret::Model, _>(ids, Vec::new(), &join).await? {
        secrets.insert((row.key_id, row.number), rows::key_secret(&row));
    }
    let key = |row: api_key::Model| {
        let of_key = secrets.range((row.id, i16::MIN)..=(row.id, i16::MAX));
        let of_key = of_key.map(|(_, secret)| secret.clone()).collect();
        rows::api_key(row, of_key)
    };
    keys.into_iter().map(key).collect()
}

/// The secrets of these keys, each with its key.
pub(super) fn live(
    keys: Vec<api_key::Model>,
    secrets: Vec<api_key_secret::Model>,
) -> DbResult<Vec<LiveSecret>> {
    let keys = keys.into_iter().map(|row| rows::api_key(row, Vec::new()).map(|key| (key.id, key)));
    let keys: BTreeMap<KeyId, ApiKey> = keys.collect::<DbResult<_>>()?;
    let mut live = Vec::with_capacity(secrets.len());
    for row in secrets {
        let Some(key) = keys.get(&KeyId(row.key_id)) else { continue };
        let end = row.ends_at.map(EpochMs);
        let ends_at = [end, key.expires_at].into_iter().flatten().min();
        live.push(LiveSecret { secret: rows::hashed_secret(row)?, ends_at, key: key.clone() });
    }
    Ok(live)
}
