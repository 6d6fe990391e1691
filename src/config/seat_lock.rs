//! Seat locks, wherever they live: how long one lasts, and how long asking for one may take.

use std::time::Duration;

use super::reader::Reader;

/// Settings of the seat locks, in Redis or in this process.
#[derive(Debug, Clone)]
pub struct SeatLockConfig {
    /// `SEAT_LOCK_TIMEOUT`, default `30s`: when a lock that nobody released ends.
    pub timeout: Duration,
    /// `LOCK_ROUND_TRIP`, default `50ms`: after this the database decides without a lock.
    pub round_trip: Duration,
}

impl SeatLockConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            timeout: reader.duration(
                "SEAT_LOCK_TIMEOUT",
                Duration::from_secs(30),
                "when a seat lock that nobody released ends",
            ),
            round_trip: reader.duration(
                "LOCK_ROUND_TRIP",
                Duration::from_millis(50),
                "how long asking for seat locks may take before the database decides without",
            ),
        }
    }
}
