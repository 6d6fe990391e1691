//! One schedule in memory: its layout, the newest states known, and the answers made of them.
//!
//! States move by local commits, which arrive before their answers leave, and by the journal, which tells
//! of other replicas' commits. They are believed for [`FRESH`] without asking, unless there is news; one
//! reader then asks, and until [`STALE`] the others go on with what they have. A schedule that nobody has
//! read yet may begin with a map that another process shares, if the journal leads on from it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::domain::catalogue::Schedule;
use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{InHistory, SeatNumber};
use crate::domain::rejection::ConflictReason;
use crate::domain::rows::JournalEntry;
use crate::store::{ReadFrom, Store};

use super::encoded::EncodedMaps;
use super::layout::Layout;
use super::sources::Sources;
use super::states::{SeatSnapshot, SeatStates};
use super::wire::WireSeats;

/// What was learned within this time is believed.
pub(super) const FRESH: Duration = Duration::from_millis(200);

/// After this time the journal is asked again if there is news of a later version.
const NEWS_REST: Duration = Duration::from_millis(20);

/// Between two offers of a map to other processes.
const SHARE_INTERVAL: Duration = Duration::from_secs(1);

/// What was learned longer ago than this is not answered without asking again.
pub(super) const STALE: Duration = Duration::from_millis(450);

/// How long one who has something to answer with waits for the databases.
const PATIENCE: Duration = Duration::from_millis(500);

/// A version that even the primary does not have is not asked for again within this time, and databases
/// that did not answer are not asked again.
const REST: Duration = Duration::from_secs(1);

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
    /// The answers made of its states.
    pub(super) answers: EncodedMaps,
    /// States below this are not believed: this process has answered or committed newer ones.
    pub(super) floor: AtomicI64,
    pub(super) known: RwLock<Option<CachedStates>>,
    /// Held by the one who asks the database; the others wait for what it learns.
    asking: Mutex<Asked>,
    /// When the databases last failed to answer.
    failed: std::sync::Mutex<Option<Instant>>,
    /// The newest version that another process has told of since the journal was asked last.
    news: AtomicI64,
    /// When this process last shared the map, and at which version.
    offered: std::sync::Mutex<Option<(Instant, i64)>>,
}

/// What the one who asked last has learned, besides the states.
#[derive(Debug, Default)]
struct Asked {
    /// A version that even the primary did not have, and when.
    future: Option<(i64, Instant)>,
}

/// What is known.
#[derive(Debug)]
pub(super) struct CachedStates {
    pub(super) known: SeatSnapshot,
    /// When this was last known to be the newest.
    pub(super) confirmed: Instant,
    /// The same by the word of the primary, which is never behind.
    pub(super) by_primary: Option<Instant>,
}

/// Which of some seats are not to be had by what is known, and how well that is known.
#[derive(Debug, Default)]
pub(super) struct RefusedSeats {
    pub(super) seats: Vec<(SeatNumber, ConflictReason)>,
    /// The version that the states are at.
    pub(super) version: i64,
    /// When the primary last said that they were the newest.
    pub(super) confirmed: Option<Instant>,
}

impl LoadedSchedule {
    pub(super) fn new(schedule: Schedule, layout: Layout, floor: i64) -> Self {
        Self {
            schedule,
            layout,
            answers: EncodedMaps::default(),
            floor: AtomicI64::new(floor),
            known: RwLock::new(None),
            asking: Mutex::default(),
            failed: std::sync::Mutex::new(None),
            news: AtomicI64::new(0),
            offered: std::sync::Mutex::new(None),
        }
    }

    /// Bytes in memory, for the bound on what is kept.
    pub(super) fn weight(&self) -> usize {
        // States and the ends of holds take little; the answers in all their forms and codings about as
        // much as this for each seat.
        self.layout.weight() + self.layout.len() * 120
    }

    /// Takes an entry if it follows on what is known; what leaves a gap is read from the journal by the
    /// next one who asks.
    pub(super) fn take(&self, entry: &JournalEntry) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        self.believe_from(entry.version);
        if let Some(current) = known.as_mut() {
            current.known.apply(entry);
        }
    }

    /// Notes that another process has told of a version.
    pub(super) fn heard_of(&self, version: i64) {
        self.news.fetch_max(version, Ordering::Relaxed);
    }

    /// States below this version are not believed from now on.
    pub(super) fn believe_from(&self, version: i64) {
        self.floor.fetch_max(version, Ordering::SeqCst);
    }

    /// The states at `at_least` or newer, and not older than [`STALE`] unless nobody can be asked. Nor are
    /// they older then than any answered as states, but they may lack what was committed here and told as a
    /// version only: other replicas' commits came between, and without a database nobody knows them.
    pub(super) async fn fresh(
        &self,
        sources: &Sources,
        at_least: i64,
    ) -> Result<FreshStates, StoreError> {
        if let Some((states, _)) = self.believed(at_least) {
            return Ok(FreshStates { states, stale: None });
        }
        let wanted = at_least.max(self.floor.load(Ordering::SeqCst));
        if let Some((states, _)) = self.look(wanted).filter(|(_, age)| *age < STALE) {
            // Somebody is asking already, or this reader does, for everybody.
            let Ok(asking) = self.asking.try_lock() else {
                return Ok(FreshStates { states, stale: None });
            };
            return self.ask(sources, at_least, asking).await;
        }
        if self.is_resting() {
            return self.without_asking(at_least);
        }
        let asking = self.asking.lock().await;
        match self.believed(at_least) {
            Some((states, _)) => Ok(FreshStates { states, stale: None }),
            None if self.is_resting() => self.without_asking(at_least),
            None => self.ask(sources, at_least, asking).await,
        }
    }

    /// The states at `at_least` or newer with their age, if they are believed without asking.
    pub(super) fn believed(&self, at_least: i64) -> Option<(Arc<SeatStates>, Duration)> {
        let (states, age) = self.look(at_least.max(self.floor.load(Ordering::SeqCst)))?;
        self.is_fresh(&states, age).then_some((states, age))
    }

    /// How long ago what is known was known to be the newest.
    pub(super) fn age(&self) -> Duration {
        self.look(0).map_or(Duration::ZERO, |(_, age)| age)
    }

    /// Whether states that were learned so long ago are believed without asking.
    fn is_fresh(&self, states: &SeatStates, age: Duration) -> bool {
        let news = self.news.load(Ordering::Relaxed) > states.version && age >= NEWS_REST;
        age < FRESH && !news
    }

    /// Whether the primary should confirm what is known, and no other task is asking it.
    pub(super) fn is_due(&self) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |current: &CachedStates| {
            let age = current.by_primary.map(|at| at.elapsed());
            age.is_some_and(|age| self.is_fresh(&current.known.states, age))
        };
        let due = !known.as_ref().is_some_and(is_fresh);
        drop(known);
        due && !self.is_resting() && self.asking.try_lock().is_ok()
    }

    /// Has what is known confirmed, for those who refuse by it.
    pub(super) async fn refresh(&self, sources: &Sources) {
        let refreshed = match self.look(0) {
            Some(_) => self.confirm(sources, Instant::now()).await,
            None => self.fresh(sources, 0).await.map(drop),
        };
        if let Err(error) = refreshed {
            log::debug!("a map is not confirmed: {error}");
        }
    }

    /// Asks the primary what is the newest, unless it was asked after `since`. One asks for all who wait.
    pub(super) async fn confirm(
        &self,
        sources: &Sources,
        since: Instant,
    ) -> Result<(), StoreError> {
        let _asking = self.asking.lock().await;
        if self.confirmed_by_primary().is_some_and(|at| at >= since) {
            return Ok(());
        }
        if self.is_resting() {
            return Err(StoreError::Unavailable("the database did not answer a moment ago".into()));
        }
        let followed = self.follow(&sources.store, ReadFrom::Primary).await;
        self.note_failure(followed.is_err());
        followed.map(drop)
    }

    /// Whether the databases have just failed to answer: everybody would only wait to learn that again.
    fn is_resting(&self) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < REST)
    }

    fn confirmed_by_primary(&self) -> Option<Instant> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().and_then(|current| current.by_primary)
    }

    fn note_failure(&self, has_failed: bool) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed = has_failed.then(Instant::now);
    }

    /// What is known, however old, if it is what the reader needs.
    fn without_asking(&self, at_least: i64) -> Result<FreshStates, StoreError> {
        match self.look(at_least) {
            Some((states, age)) => Ok(FreshStates { states, stale: Some(age) }),
            None => Err(StoreError::Unavailable("nobody can be asked for the seats".to_owned())),
        }
    }

    /// Which of the seats are not to be had by what is known; `None` if nothing is.
    pub(super) fn gone(&self, store: &Store, seats: &[SeatNumber]) -> Option<RefusedSeats> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let CachedStates { known, by_primary, .. } = known.as_ref()?;
        let seats = known.refusals(seats, store.clock());
        Some(RefusedSeats { seats, version: known.states.version, confirmed: *by_primary })
    }

    /// When the hold that has a seat ends, as far as is known.
    pub(super) fn held_until(&self, seat: SeatNumber) -> Option<EpochMs> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref()?.known.held_until(seat)
    }

    pub(super) fn look(&self, at_least: i64) -> Option<(Arc<SeatStates>, Duration)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let current = known.as_ref()?;
        let states = Arc::clone(&current.known.states);
        (states.version >= at_least).then(|| (states, current.confirmed.elapsed()))
    }

    /// Asks the database; what is known is good enough if it is away.
    async fn ask(
        &self,
        sources: &Sources,
        at_least: i64,
        mut asking: tokio::sync::MutexGuard<'_, Asked>,
    ) -> Result<FreshStates, StoreError> {
        let future = asking.future.filter(|(_, at)| at.elapsed() < REST);
        let floor = self.floor.load(Ordering::SeqCst);
        let searched = future.is_some_and(|(version, _)| at_least <= version);
        let wanted = if searched { floor } else { at_least.max(floor) };
        self.news.store(0, Ordering::Relaxed);
        let caught_up = match self.look(at_least) {
            None => self.catch_up(sources, wanted).await,
            Some(_) => tokio::time::timeout(PATIENCE, self.catch_up(sources, wanted))
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned()))),
        };
        self.note_failure(caught_up.is_err());
        if let Err(error) = caught_up {
            return self.without_asking(at_least).map_err(|_| error);
        }
        if let Some((states, _)) = self.look(wanted) {
            return Ok(FreshStates { states, stale: None });
        }
        // Not even the primary has it: the newest there is, and no second search for a while.
        asking.future = Some((wanted, Instant::now()));
        let gone = || StoreError::Corrupt("a schedule without seats".to_owned());
        let (states, _) = self.look(0).ok_or_else(gone)?;
        Ok(FreshStates { states, stale: None })
    }

    /// The newest states known, if it is time to share them with other processes.
    pub(super) fn to_offer(&self) -> Option<(InHistory<i64>, WireSeats)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = &known.as_ref()?.known;
        let version = known.states.version;
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        if offered.is_some_and(|(at, of)| of >= version || at.elapsed() < SHARE_INTERVAL) {
            return None;
        }
        *offered = Some((Instant::now(), version));
        Some((known.states.at(), known.seats()))
    }
}
