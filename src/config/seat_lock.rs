//! Seat locks, in Redis or in this process: the lifetime of a lock, and the time limit of a lock request.

use std::time::Duration;

use super::macros::variables;

variables! {
    /// Settings of the seat locks, in Redis or in this process.
    pub struct SeatLockConfig {
        /// longest lifetime of a seat lock that is not released
        timeout: Duration = SEAT_LOCK_TIMEOUT.duration(Duration::from_secs(30)),
        /// how long a request for seat locks may take before the database decides without them
        round_trip: Duration = LOCK_ROUND_TRIP.duration(Duration::from_millis(50)),
    }
}
