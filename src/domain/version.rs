//! The version of a schedule's seats, and what a new history of the database adds to it.

/// This number is added, once or several times, to a schedule's version when the database begins a new history (after
/// a failover, or from a backup). It is more than any lost history can have added. A journal may have no other gap.
pub const HISTORY_JUMP: i64 = 1_000_000;
