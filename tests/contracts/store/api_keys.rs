//! API keys: the bound of live keys.

use seatlock::domain::api_key::{
    HashedSecret, KeyKind, KeyMode, KeyRefusal, LIVE_KEYS_MAX, NewApiKey, Scope,
};

use super::on_both_databases;
use super::stage::Stage;

on_both_databases![no_key_is_created_above_the_bound_of_live_keys];

async fn no_key_is_created_above_the_bound_of_live_keys(stage: Stage) {
    let create = async |number: i64| {
        let kind = (KeyKind::Secret, KeyMode::Live);
        let name = format!("key {number}");
        let new = NewApiKey::check(&name, kind, &[Scope::Read], &[], None).unwrap();
        let hash = HashedSecret { prefix: format!("prefix {number}"), hash: [7; 32] };
        stage.store.create_api_key(new, hash).await.unwrap()
    };
    let first = create(0).await.unwrap();
    for number in 1..LIVE_KEYS_MAX {
        create(number).await.unwrap();
    }
    let before = stage.database.dump().await;
    let refused = create(LIVE_KEYS_MAX).await;
    assert!(
        matches!(&refused, Err(KeyRefusal::Fault(fault)) if fault.code == "too_many_keys"),
        "{refused:?}"
    );
    assert_eq!(stage.database.dump().await, before);

    assert_eq!(stage.store.revoke_api_key(first.id).await, Ok(true));
    create(LIVE_KEYS_MAX).await.unwrap();
    assert!(create(LIVE_KEYS_MAX + 1).await.is_err());
}
