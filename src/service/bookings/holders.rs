//! Who holds the seats that a request was refused without the booking engine: a customer learns of their own hold,
//! and of no other.
//!
//! Maps and seat locks know that a seat is held, but not by whom. The primary is asked, one query at a time for all
//! requests that wait. What it says of a seat serves the many losers of that seat for a moment, as long as the map
//! has the same hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::batcher::{Batcher, BatcherLimits};
use crate::domain::clock::EpochMs;
use crate::domain::ids::{CustomerId, HoldId, ScheduleId, SeatNumber};
use crate::domain::rows::SeatKey;
use crate::seat_map::SeatMaps;
use crate::store::{Holder, Store};

/// Requests that share a query, and those that may wait for it; a request over that is not told whose hold it is.
const LOOKUPS: BatcherLimits = BatcherLimits { batch_max: 4_096, pending_max: 8_192 };

/// How long a refusal waits to learn whose hold it is.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long the answer for a seat serves other requests. A later hold of the same seat ends at another
/// millisecond, or began at least a second later, as lives are whole seconds.
const KEPT: Duration = Duration::from_millis(900);

/// Seats of which an answer is kept.
const SEATS_MAX: usize = 8_192;

/// What the primary said of some seats; of those that no hold has, nothing.
type Found = Arc<HashMap<SeatKey, Holder>>;

/// A request that waits for the query.
struct Lookup {
    seats: Vec<SeatKey>,
    found: oneshot::Sender<Found>,
}

/// Looks up who holds seats.
pub(crate) struct Holders {
    maps: Arc<SeatMaps>,
    known: Arc<Mutex<HashMap<SeatKey, (Holder, Instant)>>>,
    lookups: Batcher<Lookup>,
}

impl Holders {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new(store: Arc<Store>, maps: Arc<SeatMaps>) -> Self {
        let known: Arc<Mutex<HashMap<SeatKey, (Holder, Instant)>>> = Arc::default();
        let kept = Arc::clone(&known);
        let lookups = Batcher::start(LOOKUPS, move |gathered| {
            look_up(Arc::clone(&store), Arc::clone(&kept), gathered)
        });
        Self { maps, known, lookups }
    }

    /// The holds of this customer among those that have the seats; `None` if that could not be found out in time.
    pub(crate) async fn own_holds(
        &self,
        schedule: ScheduleId,
        customer: &CustomerId,
        seats: &[SeatNumber],
    ) -> Option<BTreeMap<SeatNumber, HoldId>> {
        let mut holders = BTreeMap::new();
        let mut unknown = Vec::new();
        for number in seats {
            let key = (schedule, *number);
            match self.known(key) {
                Some(holder) => drop(holders.insert(*number, holder)),
                None => unknown.push(key),
            }
        }
        if !unknown.is_empty() {
            let found = self.ask(unknown.clone()).await?;
            let found = unknown.iter().filter_map(|key| Some((key.1, found.get(key)?.clone())));
            holders.extend(found);
        }
        let own = holders.into_iter().filter(|(_, holder)| holder.customer == *customer);
        Some(own.map(|(number, holder)| (number, holder.hold)).collect())
    }

    /// What was found out a moment ago about the hold that the map has for a seat.
    fn known(&self, key: SeatKey) -> Option<Holder> {
        let until = self.maps.held_until(key.0, key.1)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (holder, since) = known.get(&key)?;
        still_true(holder, since.elapsed(), until).then(|| holder.clone())
    }

    async fn ask(&self, seats: Vec<SeatKey>) -> Option<Found> {
        let (found, answer) = oneshot::channel();
        self.lookups.push(Lookup { seats, found }).ok()?;
        tokio::time::timeout(PATIENCE, answer).await.ok()?.ok()
    }
}

/// Whether what was found out about a seat is still so, given when the map says that the seat's hold ends.
fn still_true(holder: &Holder, age: Duration, until: EpochMs) -> bool {
    age < KEPT && holder.until == until
}

async fn look_up(
    store: Arc<Store>,
    known: Arc<Mutex<HashMap<SeatKey, (Holder, Instant)>>>,
    gathered: Vec<Lookup>,
) {
    let seats: BTreeSet<SeatKey> =
        gathered.iter().flat_map(|lookup| lookup.seats.iter().copied()).collect();
    let asked = Instant::now();
    let found = match store.holders(seats.into_iter().collect()).await {
        Ok(found) => Arc::new(found),
        Err(error) => {
            // Those who wait are refused without it.
            log::debug!("the owners of the holds in the way are not known: {error}");
            return;
        }
    };
    {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + found.len() > SEATS_MAX {
            known.clear();
        }
        known.extend(found.iter().map(|(seat, holder)| (*seat, (holder.clone(), asked))));
    }
    for Lookup { found: reply, .. } in gathered {
        drop(reply.send(Arc::clone(&found)));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_was_found_out_serves_for_a_moment_and_for_the_same_hold_only() {
        let hold = HoldId { schedule: ScheduleId(1), uuid: Uuid::from_u128(1) };
        let customer = CustomerId::parse("ada").unwrap();
        let holder = Holder { hold, customer, until: EpochMs(7_000) };
        assert!(still_true(&holder, Duration::ZERO, EpochMs(7_000)));
        assert!(!still_true(&holder, Duration::ZERO, EpochMs(7_001)), "extended, or another hold");
        assert!(!still_true(&holder, KEPT, EpochMs(7_000)));
        assert!(KEPT < Duration::from_secs(1));
    }
}
