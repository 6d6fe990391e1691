//! Actors: the mailboxes in front of the booking engine and the seat locks.
//!
//! | actor | receives | from | does |
//! |---|---|---|---|
//! | [`seat_lock`] | lock requests | `service` | sends one pipeline to the backend of the locks |
//! | [`booking`] | commands of its schedules | `service`, `background` | runs one transaction |
//!
//! An actor file has the job, the batch and the replies. Decisions are in `domain`, effects in `lock` and
//! `store`. [`mailbox`] is the actor itself, and `crate::batcher` the loop.

pub mod booking;
mod cancellation;
mod mailbox;
pub mod seat_lock;
