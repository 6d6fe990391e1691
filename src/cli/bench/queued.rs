//! Bookings through the queue: when are they all confirmed?

use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::http_client::{HttpClient, get};

use super::{BenchArguments, headers};

/// How long the queue may take for what is left in it.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is looked whether all are confirmed.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until so many bookings of the run are confirmed, or patience is over; says how
/// many are.
pub(super) async fn executed(
    args: &BenchArguments,
    schedules: &[String],
    accepted: u64,
) -> io::Result<u64> {
    let mut client = HttpClient::connect(&args.address).await?;
    let began = Instant::now();
    loop {
        let mut seats = 0;
        for id in schedules {
            let path = format!("/api/v1/schedules/{id}");
            let answer = client.send(&get(&args.address, &path, &headers())).await?;
            let body: Value = serde_json::from_slice(&answer.body)?;
            seats += body.pointer("/counts/booked").and_then(Value::as_u64).unwrap_or(0);
        }
        let confirmed = seats / u64::try_from(args.seats).unwrap_or(u64::MAX).max(1);
        if confirmed >= accepted || began.elapsed() > PATIENCE {
            return Ok(confirmed);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
