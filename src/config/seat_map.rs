//! The seat maps in memory.

use super::macros::variables;

variables! {
    /// Settings of the seat maps in memory.
    pub struct SeatMapConfig {
        /// bytes of memory for seat maps; the least recently used ones are dropped, and read again when they are needed
        memory: u64 = SEAT_MAP_MEMORY.number(512 << 20, 64 << 20..=1 << 40),
    }
}
