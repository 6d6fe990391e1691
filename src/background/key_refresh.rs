//! Keeps the copy of the API keys up to date, and stores when keys were last used.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::ArbiterHandle;
use futures_util::FutureExt as _;
use tokio::time::{sleep, timeout};

use crate::api_keys::ApiKeys;

use super::periodic::run_every;

/// The time between two queries.
const INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two queries, when requests wait for a new key.
const INTERVAL_MIN: Duration = Duration::from_millis(250);

/// The time between two records of uses. The uses of one key are stored at most once in a minute.
const USES_INTERVAL: Duration = Duration::from_secs(5);

/// Starts the tasks on the arbiter.
pub fn start_in(arbiter: &ArbiterHandle, keys: Arc<ApiKeys>) {
    let of_uses = Arc::clone(&keys);
    let record = async |keys: &mut Arc<ApiKeys>| {
        if let Err(error) = keys.record_uses().await {
            log::debug!("the uses of API keys were not stored: {error}");
        }
    };
    run_every(
        arbiter,
        "the record of uses of API keys",
        USES_INTERVAL,
        USES_INTERVAL,
        of_uses,
        record,
    );
    let _ = arbiter.spawn_fn(|| {
        actix::spawn(refresh(keys));
    });
}

async fn refresh(keys: Arc<ApiKeys>) {
    let mut is_failing = false;
    loop {
        sleep(INTERVAL_MIN).await;
        // Ends early if a request waits for a key.
        let _ = timeout(INTERVAL - INTERVAL_MIN, keys.wanted()).await;
        let failed = match AssertUnwindSafe(keys.refresh()).catch_unwind().await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the refresh panicked".to_owned()),
        };
        match &failed {
            Some(error) if !is_failing => log::warn!(
                "the API keys cannot be read: the copy in memory is used for API_KEYS_MAX_AGE: {error}"
            ),
            None if is_failing => log::info!("the API keys are read again"),
            _ => {}
        }
        is_failing = failed.is_some();
    }
}
