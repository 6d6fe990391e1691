//! Actors: the mailboxes in front of the booking engine and the seat locks.
//!
//! | actor | takes | from | does |
//! |---|---|---|---|
//! | [`seat_lock`] | lock requests | `service` | sends one pipeline to where the locks are kept |
//! | [`booking`] | commands of its schedules | `service`, `background` | runs one transaction |
//!
//! An actor file is the mailbox, the loop and the replies. Decisions are in `domain`, effects in `lock` and
//! `store`. The loop that both share is [`batching`].

mod batching;
pub mod booking;
mod cancellation;
mod replaceable;
pub mod seat_lock;
