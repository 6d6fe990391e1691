//! The holders of refused seats: a customer learns of their own holds, and of no other holds.
//!
//! Maps and seat locks do not contain the holders. The primary is queried for them, with one query at a time for all
//! waiting requests. A holder is cached for a moment, as long as the map has the same hold, because many requests for
//! the seat are refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::batcher::{Batcher, BatcherLimits};
use crate::domain::clock::EpochMs;
use crate::domain::ids::{HoldId, ScheduleId, SeatNumber};
use crate::domain::rows::SeatKey;
use crate::seat_map::SeatMaps;
use crate::store::{Holder, Store};

/// The most requests that share a query, and the most that wait for one; above that, a refusal does not name the own
/// holds.
const LOOKUPS: BatcherLimits = BatcherLimits { batch_max: 4_096, pending_max: 8_192 };

/// How long a refusal waits for the holders.
const WAIT_MAX: Duration = Duration::from_millis(250);

/// How long a holder is cached. A later hold of the same seat ends at another millisecond, or begins at least a second
/// later, because the lifetimes of holds are whole seconds.
const CACHE_TTL: Duration = Duration::from_millis(900);

/// The most cached holders.
const CACHE_MAX: usize = 8_192;

/// The holders of some seats; a seat without a hold has no entry.
type HoldersBySeat = Arc<HashMap<SeatKey, Holder>>;

/// Holders, and the times at which they were read.
type Cache = Mutex<HashMap<SeatKey, (Holder, Instant)>>;

/// A request that waits for the query.
struct Lookup {
    seats: Vec<SeatKey>,
    reply: oneshot::Sender<HoldersBySeat>,
}

/// Looks up the holders of seats.
pub(crate) struct Holders {
    maps: Arc<SeatMaps>,
    cache: Arc<Cache>,
    lookups: Batcher<Lookup>,
}

impl Holders {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new(store: Arc<Store>, maps: Arc<SeatMaps>) -> Self {
        let cache = Arc::<Cache>::default();
        let cache_to_fill = Arc::clone(&cache);
        let lookups = Batcher::start(LOOKUPS, move |batch| {
            look_up(Arc::clone(&store), Arc::clone(&cache_to_fill), batch)
        });
        Self { maps, cache, lookups }
    }

    /// The holds that have some of the seats and that `is_own` accepts; `None` if the holders were not found in time.
    pub(crate) async fn holds(
        &self,
        schedule: ScheduleId,
        seats: &[SeatNumber],
        is_own: impl Fn(&Holder) -> bool,
    ) -> Option<BTreeMap<SeatNumber, HoldId>> {
        let mut holders = HashMap::new();
        let mut missing = Vec::new();
        for key in seats.iter().map(|number| (schedule, *number)) {
            match self.cached(key) {
                Some(holder) => drop(holders.insert(key, holder)),
                None => missing.push(key),
            }
        }
        if !missing.is_empty() {
            let (reply, found) = oneshot::channel();
            self.lookups.push(Lookup { seats: missing.clone(), reply }).ok()?;
            let found = tokio::time::timeout(WAIT_MAX, found).await.ok()?.ok()?;
            holders.extend(missing.iter().filter_map(|key| Some((*key, found.get(key)?.clone()))));
        }
        let own = holders.into_iter().filter(|(_, holder)| is_own(holder));
        Some(own.map(|((_, number), holder)| (number, holder.hold)).collect())
    }

    /// The cached holder of a seat, if the map has the same hold.
    fn cached(&self, key: SeatKey) -> Option<Holder> {
        let until = self.maps.held_until(key.0, key.1)?;
        let cache = self.cache.lock();
        let (holder, read_at) = cache.get(&key)?;
        is_current(holder, read_at.elapsed(), until).then(|| holder.clone())
    }
}

/// Whether a cached holder is current, if the hold in the map ends at `until`.
fn is_current(holder: &Holder, age: Duration, until: EpochMs) -> bool {
    age < CACHE_TTL && holder.until == until
}

async fn look_up(store: Arc<Store>, cache: Arc<Cache>, batch: Vec<Lookup>) {
    let seats: BTreeSet<SeatKey> =
        batch.iter().flat_map(|lookup| lookup.seats.iter().copied()).collect();
    let read_at = Instant::now();
    let found = match store.holders(seats.into_iter().collect()).await {
        Ok(found) => Arc::new(found),
        // The refusals then do not name the own holds.
        Err(error) => return log::debug!("the holders of refused seats were not read: {error}"),
    };
    {
        let mut cache = cache.lock();
        if cache.len() + found.len() > CACHE_MAX {
            cache.clear();
        }
        cache.extend(found.iter().map(|(seat, holder)| (*seat, (holder.clone(), read_at))));
    }
    for Lookup { reply, .. } in batch {
        drop(reply.send(Arc::clone(&found)));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::CustomerId;

    #[test]
    fn a_holder_is_cached_for_a_moment_and_for_the_same_hold_only() {
        let hold = HoldId { schedule: ScheduleId(1), uuid: Uuid::from_u128(1) };
        let customer = CustomerId::parse("ada").unwrap();
        let holder = Holder { hold, customer, until: EpochMs(7_000) };
        assert!(is_current(&holder, Duration::ZERO, EpochMs(7_000)));
        assert!(!is_current(&holder, Duration::ZERO, EpochMs(7_001)), "extended, or another hold");
        assert!(!is_current(&holder, CACHE_TTL, EpochMs(7_000)));
        assert!(CACHE_TTL < Duration::from_secs(1));
    }
}
