//! Actors: the mailboxes in front of the booking engine and the seat locks.
//!
//! | actor | receives | from | does |
//! |---|---|---|---|
//! | [`seat_lock`] | lock requests | `service` | sends one pipeline to the backend of the locks |
//! | [`booking`] | commands of its schedules | `service`, `background` | runs one transaction |
//!
//! The file of an actor defines its jobs, runs their batches and sends the replies. Decisions are made in `domain`,
//! effects in `lock` and `store`. [`mailbox`] defines the actor type, and `crate::batcher` the loop that runs batches.

pub mod booking;
mod cancellation;
mod mailbox;
pub mod seat_lock;
