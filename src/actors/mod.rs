//! Actors: mailboxes in front of the booking engine and the seat locks, and what runs by the clock.
//!
//! | actor | takes | from | does |
//! |---|---|---|---|
//! | [`seat_lock`] | lock requests | `reservation` | one pipeline to where the locks are kept |
//! | [`booking`] | commands of its schedules | `reservation`, the sweeper | one transaction |
//! | [`hold_sweeper`] | the clock | itself | `expire` commands for ended holds |
//! | [`auditor`] | the clock | itself | counts broken promises |
//! | [`health`] | the clock | itself | heartbeat, probes, replaces dead actors |
//! | [`seat_map`] | the clock | itself | updates for those who listen to a schedule |
//!
//! An actor file is the mailbox, the loop and the replies. Decisions are in `domain`, effects in `lock` and
//! `store`; the loop that two of them share is [`batching`].

pub mod auditor;
mod batching;
pub mod booking;
pub mod health;
pub mod hold_sweeper;
pub mod queue_consumer;
mod replaceable;
pub mod seat_lock;
pub mod seat_map;
mod ticket;
