//! The tables of Seatlock as sea-orm entities, a file per table. Times are epoch milliseconds in both databases:
//! SQLite would sort textual times wrongly. The schema itself is in `migration`.

pub mod api_key;
pub mod api_key_secret;
pub mod batch;
pub mod block;
pub mod booking;
pub mod booking_seat;
pub mod event;
pub mod hold;
pub mod idempotency;
pub mod journal;
pub mod outage;
pub mod schedule;
pub mod schedule_version;
pub mod seat;
pub mod seat_plan;
