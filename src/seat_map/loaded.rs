//! One schedule in memory: its layout and the newest states read.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;

use crate::domain::catalogue::{Counts, Schedule};
use crate::domain::failure::StoreError;
use crate::store::Store;

use super::layout::Layout;

/// The states of all seats of a schedule at one version; never changed once made.
#[derive(Debug, PartialEq, Eq)]
pub struct SeatStates {
    /// The version.
    pub version: i64,
    /// By number: 0 available, 1 held, 2 booked, 3 blocked.
    pub codes: Vec<u8>,
    /// How many seats are in each state.
    pub counts: Counts,
}

impl SeatStates {
    /// Two bits a seat in plan order: seat i in byte i/4, bits 2(i mod 4).
    #[must_use]
    pub fn packed(&self) -> Vec<u8> {
        let pack = |four: &[u8]| four.iter().rev().fold(0, |byte, code| byte << 2 | (code & 3));
        self.codes.chunks(4).map(pack).collect()
    }
}

/// A schedule with its layout, and its seats' states as far as they are known.
#[derive(Debug)]
pub struct LoadedSchedule {
    /// The schedule.
    pub schedule: Schedule,
    /// Its layout.
    pub layout: Layout,
    newest: RwLock<Option<Arc<SeatStates>>>,
    /// Held by the one who reads the states; the others wait for what it finds.
    loading: Mutex<()>,
}

impl LoadedSchedule {
    pub(super) fn new(schedule: Schedule, layout: Layout) -> Self {
        Self { schedule, layout, newest: RwLock::new(None), loading: Mutex::new(()) }
    }

    pub(super) async fn states(&self, store: &Arc<Store>) -> Result<Arc<SeatStates>, StoreError> {
        let gone = || StoreError::Corrupt("a schedule without seats".to_owned());
        let version = store.seats_version(self.schedule.id).await?.ok_or_else(gone)?;
        if let Some(known) = self.at_least(version) {
            return Ok(known);
        }
        let _loading = self.loading.lock().await;
        if let Some(known) = self.at_least(version) {
            return Ok(known);
        }
        let snapshot = store.seats(self.schedule.id).await?.ok_or_else(gone)?;
        let codes: Vec<u8> = snapshot.states.iter().map(|(code, _)| *code).collect();
        let counts = Counts::of(codes.iter().copied());
        let states = Arc::new(SeatStates { version: snapshot.version, codes, counts });
        Ok(self.keep_newest(states))
    }

    fn at_least(&self, version: i64) -> Option<Arc<SeatStates>> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.clone().filter(|states| states.version >= version)
    }

    /// The version never goes back: what is older than the newest known is dropped.
    fn keep_newest(&self, states: Arc<SeatStates>) -> Arc<SeatStates> {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        match &*newest {
            Some(known) if known.version >= states.version => Arc::clone(known),
            _ => {
                *newest = Some(Arc::clone(&states));
                states
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seat_i_is_in_byte_i_over_4_at_bits_2_times_i_mod_4() {
        let codes = vec![0, 1, 2, 3, 1];
        let counts = Counts::of(codes.iter().copied());
        let states = SeatStates { version: 1, codes, counts };
        assert_eq!(states.packed(), [0b11_10_01_00, 0b01]);
        assert_eq!(counts, Counts { available: 1, held: 2, booked: 1, blocked: 1 });
    }
}
