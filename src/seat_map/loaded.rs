//! One schedule in memory: its layout, the newest states known, and the answers made of them.
//!
//! States move by local commits, which arrive before their answers leave, and by the journal, which tells
//! of other replicas' commits. They are believed for [`FRESH`] without asking; one reader then asks, and
//! until [`STALE`] the others go on with what they have.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::domain::catalogue::Schedule;
use crate::domain::failure::StoreError;
use crate::domain::ids::SeatNumber;
use crate::domain::refusal::ConflictReason;
use crate::domain::rows::JournalEntry;
use crate::store::{ReadFrom, Store};

use super::layout::Layout;
use super::states::{Known, SeatStates};

/// What was learned within this time is believed.
const FRESH: Duration = Duration::from_millis(200);

/// What was learned longer ago than this is not answered without asking again.
const STALE: Duration = Duration::from_millis(450);

/// A version that even the primary does not have is not asked for again within this time.
const FUTURE_REST: Duration = Duration::from_secs(1);

/// States, and how old they are if nobody could be asked.
#[derive(Debug, Clone)]
pub struct FreshStates {
    /// The newest states known.
    pub states: Arc<SeatStates>,
    /// Since when nothing newer could be learned, while the databases are away.
    pub stale: Option<Duration>,
}

/// A schedule with its layout, and its seats' states as far as they are known.
#[derive(Debug)]
pub struct LoadedSchedule {
    /// The schedule.
    pub schedule: Schedule,
    /// Its layout.
    pub layout: Layout,
    /// States below this are not believed: this process has answered or committed newer ones.
    floor: AtomicI64,
    known: RwLock<Option<Current>>,
    /// Held by the one who asks the database; the others wait for what it learns.
    asking: Mutex<Option<(i64, Instant)>>,
}

#[derive(Debug)]
struct Current {
    known: Known,
    /// When this was last known to be the newest.
    confirmed: Instant,
}

impl LoadedSchedule {
    pub(super) fn new(schedule: Schedule, layout: Layout, floor: i64) -> Self {
        Self {
            schedule,
            layout,
            floor: AtomicI64::new(floor),
            known: RwLock::new(None),
            asking: Mutex::new(None),
        }
    }

    /// Bytes in memory, for the bound on what is kept.
    pub(super) fn weight(&self) -> usize {
        // States and the ends of holds take little; the answers in all their forms and codings about as
        // much as this for each seat.
        self.layout.weight() + self.layout.len() * 120
    }

    /// Takes the entries that follow on what is known; what leaves a gap is read from the journal by the
    /// next one who asks.
    pub(super) fn take(&self, entries: &[JournalEntry]) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            self.floor.fetch_max(entry.version, Ordering::SeqCst);
            if let Some(current) = known.as_mut() {
                current.known.apply(entry);
            }
        }
    }

    /// The states at `at_least` or newer, and not older than [`STALE`] unless nobody can be asked.
    pub(super) async fn fresh(
        &self,
        store: &Arc<Store>,
        at_least: i64,
    ) -> Result<FreshStates, StoreError> {
        let wanted = at_least.max(self.floor.load(Ordering::SeqCst));
        match self.look(wanted) {
            Some((states, age)) if age < FRESH => return Ok(FreshStates { states, stale: None }),
            Some((states, age)) if age < STALE => {
                // Somebody is asking already, or this reader does, for everybody.
                let Ok(asking) = self.asking.try_lock() else {
                    return Ok(FreshStates { states, stale: None });
                };
                return self.ask(store, wanted, asking).await;
            }
            _ => {}
        }
        let asking = self.asking.lock().await;
        match self.look(wanted) {
            Some((states, age)) if age < FRESH => Ok(FreshStates { states, stale: None }),
            _ => self.ask(store, wanted, asking).await,
        }
    }

    /// Which of the seats are surely not to be had now; nothing if what is known is too old to say.
    pub(super) fn refusals(
        &self,
        store: &Store,
        seats: &[SeatNumber],
    ) -> Vec<(SeatNumber, ConflictReason)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(current) if current.confirmed.elapsed() < STALE => {
                current.known.refusals(seats, store.clock())
            }
            _ => Vec::new(),
        }
    }

    /// Whether what is known should be confirmed soon, for those who refuse by it.
    pub(super) fn wants_asking(&self) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_none_or(|current| current.confirmed.elapsed() >= FRESH)
    }

    fn look(&self, at_least: i64) -> Option<(Arc<SeatStates>, Duration)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let current = known.as_ref()?;
        let states = Arc::clone(&current.known.states);
        (states.version >= at_least).then(|| (states, current.confirmed.elapsed()))
    }

    /// Asks the database; what is known is good enough if it is away.
    async fn ask(
        &self,
        store: &Arc<Store>,
        wanted: i64,
        mut future: tokio::sync::MutexGuard<'_, Option<(i64, Instant)>>,
    ) -> Result<FreshStates, StoreError> {
        let resting =
            future.is_some_and(|(version, at)| wanted <= version && at.elapsed() < FUTURE_REST);
        let wanted = if resting { self.floor.load(Ordering::SeqCst) } else { wanted };
        if let Err(error) = self.catch_up(store, wanted).await {
            return match self.look(self.floor.load(Ordering::SeqCst)) {
                Some((states, age)) => Ok(FreshStates { states, stale: Some(age) }),
                None => Err(error),
            };
        }
        let gone = || StoreError::Corrupt("a schedule without seats".to_owned());
        match self.look(wanted) {
            Some((states, _)) => Ok(FreshStates { states, stale: None }),
            // Not even the primary has it: the newest there is, and no second search for a while.
            None => {
                *future = Some((wanted, Instant::now()));
                let (states, _) = self.look(0).ok_or_else(gone)?;
                Ok(FreshStates { states, stale: None })
            }
        }
    }

    async fn catch_up(&self, store: &Arc<Store>, wanted: i64) -> Result<(), StoreError> {
        self.follow(store, ReadFrom::Anywhere).await?;
        if self.look(wanted).is_none() {
            self.follow(store, ReadFrom::Primary).await?;
        }
        Ok(())
    }

    /// Reads the journal from what is known on, or all seats if that leads nowhere.
    async fn follow(&self, store: &Arc<Store>, from: ReadFrom) -> Result<(), StoreError> {
        let id = self.schedule.id;
        let asked = Instant::now();
        if let Some((states, _)) = self.look(0) {
            let entries = store.journal_after(id, states.version, from).await?;
            if self.take_all(&entries, asked) {
                return Ok(());
            }
        }
        let Some(snapshot) = store.seats(id, from).await? else { return Ok(()) };
        let known = Known::new(snapshot.version, &snapshot.states);
        let mut current = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let floor = self.floor.load(Ordering::SeqCst);
        let newer = current.as_ref().is_none_or(|c| c.known.states.version <= snapshot.version);
        // A lagging replica is not believed: the version never goes back.
        if newer && (snapshot.version >= floor || from == ReadFrom::Primary) {
            *current = Some(Current { known, confirmed: asked });
        }
        Ok(())
    }

    /// Applies what the journal tells; false if it does not lead on from what is known.
    fn take_all(&self, entries: &[JournalEntry], asked: Instant) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = known.as_mut() else { return false };
        for entry in entries {
            if entry.version > current.known.states.version && !current.known.apply(entry) {
                return false;
            }
        }
        let behind = current.known.states.version < self.floor.load(Ordering::SeqCst);
        if !behind {
            current.confirmed = asked;
        }
        true
    }
}
