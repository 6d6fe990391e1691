//! The version of a schedule's seats, and what a new history of the database adds to it.

/// What is added to a schedule's version when its database begins a new history (after a failover, from a
/// backup), as often as it takes: more than any lost history can have added. It is the one gap that a journal
/// may have.
pub const HISTORY_JUMP: i64 = 1_000_000;
