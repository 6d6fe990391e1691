//! Keeps the copy of the identity provider's keys up to date.

use std::sync::Arc;

use actix::ArbiterHandle;
use tokio::time::{sleep, timeout};

use crate::tokens::{REFRESH_MIN, Tokens};

/// Starts the task on the arbiter.
pub fn start_in(arbiter: &ArbiterHandle, tokens: Arc<Tokens>) {
    let _ = arbiter.spawn_fn(|| {
        actix::spawn(refresh(tokens));
    });
}

async fn refresh(tokens: Arc<Tokens>) {
    let mut is_failing = false;
    loop {
        sleep(REFRESH_MIN).await;
        let rest = match is_failing {
            true => REFRESH_MIN,
            false => tokens.refresh_interval.saturating_sub(REFRESH_MIN),
        };
        // Ends early if a request waits for a key.
        let _ = timeout(rest, tokens.wanted()).await;
        let read = tokens.refresh().await;
        match &read {
            Err(error) if !is_failing => log::warn!(
                "the keys of customer tokens cannot be read: those read before stay in use: {error}"
            ),
            Ok(()) if is_failing => log::info!("the keys of customer tokens are read again"),
            _ => {}
        }
        is_failing = read.is_err();
    }
}
