//! What the service asks of the database about API keys.

use std::time::Duration;

use seatlock::domain::api_key::{
    ApiKey, HashedSecret, KeyKind, KeyMode, KeyRefusal, NewApiKey, Scope, WhichSecret,
};
use seatlock::domain::clock::EpochMs;

use super::site::Site;

/// A secret that no other call makes.
fn secret(name: &str, number: u32) -> HashedSecret {
    HashedSecret { prefix: format!("{name} {number}"), hash: [7; 32] }
}

fn new_key(name: &str) -> NewApiKey {
    let kind = (KeyKind::Secret, KeyMode::Live);
    NewApiKey::check(name, kind, &[Scope::Sell], &[], None).unwrap()
}

/// Creates, uses, rotates and revokes two keys. `name` is new in each call.
pub(super) async fn every_call(site: &Site, name: &str) {
    let store = &site.stage.store;
    let before = store.api_keys_revision().await.unwrap();
    let mut keys: Vec<ApiKey> = Vec::new();
    for number in 0..2 {
        let new = new_key(&format!("{name} {number}"));
        keys.push(store.create_api_key(new, secret(name, number)).await.unwrap().unwrap());
    }
    let id = keys[0].id;
    let taken = store.create_api_key(new_key(&format!("{name} 0")), secret(name, 9)).await.unwrap();
    assert!(matches!(taken, Err(KeyRefusal::Fault(fault)) if fault.code == "name_taken"));
    for (number, end) in [(2, None), (3, Some(WhichSecret::Older))] {
        let overlap = Duration::from_secs(60);
        let rotated = store.rotate_api_key(id, secret(name, number), overlap, end).await;
        assert_eq!(rotated.unwrap().unwrap().secrets.len(), 2);
    }
    assert!(store.hold_key().await.unwrap().len() >= 64);
    assert_ne!(store.api_keys_revision().await.unwrap(), before);
    let live = store.live_api_keys().await.unwrap();
    assert_eq!(live.iter().filter(|live| live.key.name.starts_with(name)).count(), 3);
    store.record_key_uses(vec![(id, EpochMs(1_000_000)), (keys[1].id, EpochMs(1))]).await.unwrap();
    let used = store.api_key(id).await.unwrap().unwrap();
    assert_eq!(used.last_used_at, Some(EpochMs(1_000_000)));
    assert_eq!(store.api_key_named(used.name).await, Ok(Some(id)));
    for key in keys {
        assert_eq!(store.revoke_api_key(key.id).await, Ok(true));
    }
    assert_eq!(store.api_keys(None, 1).await.unwrap().items.len(), 1);
}
