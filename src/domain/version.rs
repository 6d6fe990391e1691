//! The version of a schedule's seats, and what a new history of the database adds to it.

/// What is added, once or several times, to a schedule's version when its database begins a new history (after a
/// failover, from a backup): more than any lost history can have added. A journal may have no other gap.
pub const HISTORY_JUMP: i64 = 1_000_000;
