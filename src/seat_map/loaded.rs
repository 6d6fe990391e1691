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
use crate::store::{Journal, ReadFrom, Store};

use super::encoded::Answers;
use super::layout::Layout;
use super::states::{Known, SeatStates};

/// What was learned within this time is believed.
const FRESH: Duration = Duration::from_millis(200);

/// What was learned longer ago than this is not answered without asking again.
const STALE: Duration = Duration::from_millis(450);

/// A version that even the primary does not have is not asked for again within this time, and databases
/// that did not answer are not asked again.
const REST: Duration = Duration::from_secs(1);

/// A replica whose last heartbeat is older than this is behind, and what it tells is not news.
const BEHIND: Duration = Duration::from_millis(2_500);

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
    pub(super) answers: Answers,
    /// States below this are not believed: this process has answered or committed newer ones.
    floor: AtomicI64,
    known: RwLock<Option<Current>>,
    /// Held by the one who asks the database; the others wait for what it learns.
    asking: Mutex<Asked>,
    /// When the databases last failed to answer.
    failed: std::sync::Mutex<Option<Instant>>,
}

/// What the one who asked last has learned, besides the states.
#[derive(Debug, Default)]
struct Asked {
    /// A version that even the primary did not have, and when.
    future: Option<(i64, Instant)>,
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
            answers: Answers::default(),
            floor: AtomicI64::new(floor),
            known: RwLock::new(None),
            asking: Mutex::default(),
            failed: std::sync::Mutex::new(None),
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
        self.floor.fetch_max(entry.version, Ordering::SeqCst);
        if let Some(current) = known.as_mut() {
            current.known.apply(entry);
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
        if self.is_resting() {
            return self.without_asking(wanted);
        }
        let asking = self.asking.lock().await;
        match self.look(wanted) {
            Some((states, age)) if age < FRESH => Ok(FreshStates { states, stale: None }),
            _ if self.is_resting() => self.without_asking(wanted),
            _ => self.ask(store, wanted, asking).await,
        }
    }

    /// Whether what is known should be confirmed, and nobody is doing so.
    pub(super) fn is_due(&self) -> bool {
        self.look(0).is_none_or(|(_, age)| age >= FRESH)
            && !self.is_resting()
            && self.asking.try_lock().is_ok()
    }

    /// Confirms what is known if nobody else is doing so, for those who refuse by it.
    pub(super) async fn refresh(&self, store: &Arc<Store>) {
        if self.is_due()
            && let Ok(asking) = self.asking.try_lock()
            && let Err(error) = self.ask(store, self.floor.load(Ordering::SeqCst), asking).await
        {
            log::debug!("a map is not confirmed: {error}");
        }
    }

    /// Whether the databases have just failed to answer: everybody would only wait to learn that again.
    fn is_resting(&self) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < REST)
    }

    /// What is known, however old, if it is what the reader needs.
    fn without_asking(&self, wanted: i64) -> Result<FreshStates, StoreError> {
        match self.look(wanted) {
            Some((states, age)) => Ok(FreshStates { states, stale: Some(age) }),
            None => Err(StoreError::Unavailable("nobody can be asked for the seats".to_owned())),
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
        mut asking: tokio::sync::MutexGuard<'_, Asked>,
    ) -> Result<FreshStates, StoreError> {
        let future = asking.future.filter(|(_, at)| at.elapsed() < REST);
        let searched = future.is_some_and(|(version, _)| wanted <= version);
        let wanted = if searched { self.floor.load(Ordering::SeqCst) } else { wanted };
        let caught_up = self.catch_up(store, wanted).await;
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed = caught_up.is_err().then(Instant::now);
        drop(failed);
        if let Err(error) = caught_up {
            return self.without_asking(wanted).map_err(|_| error);
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

    async fn catch_up(&self, store: &Arc<Store>, wanted: i64) -> Result<(), StoreError> {
        let learned = self.follow(store, ReadFrom::Anywhere).await?;
        if !learned || self.look(wanted).is_none() {
            self.follow(store, ReadFrom::Primary).await?;
        }
        Ok(())
    }

    /// Reads the journal from what is known on, or all seats if that leads nowhere. False if the database
    /// asked is behind, and what it tells is not the newest.
    async fn follow(&self, store: &Arc<Store>, from: ReadFrom) -> Result<bool, StoreError> {
        let id = self.schedule.id;
        let asked = Instant::now();
        if let Some((states, _)) = self.look(0)
            && let Some(journal) = store.journal_after(id, states.version, from).await?
        {
            if from == ReadFrom::Anywhere && store.has_replica() && journal.behind > BEHIND {
                return Ok(false);
            }
            match self.take_all(&journal, asked) {
                Followed::Confirmed => return Ok(true),
                Followed::Behind => return Ok(false),
                Followed::Astray => {}
            }
        }
        let Some(snapshot) = store.seats(id, from).await? else { return Ok(false) };
        let known = Known::new(snapshot.version, &snapshot.states);
        let mut current = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let floor = self.floor.load(Ordering::SeqCst);
        let newer = current.as_ref().is_none_or(|c| c.known.states.version <= snapshot.version);
        // A lagging replica is not believed: the version never goes back.
        let believed = newer && (snapshot.version >= floor || from == ReadFrom::Primary);
        if believed {
            *current = Some(Current { known, confirmed: asked });
        }
        Ok(believed)
    }

    /// Applies what the journal tells.
    fn take_all(&self, journal: &Journal, asked: Instant) -> Followed {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Some(current) = known.as_mut() else { return Followed::Astray };
        for entry in &journal.entries {
            if entry.version > current.known.states.version && !current.known.apply(entry) {
                return Followed::Astray;
            }
        }
        let version = current.known.states.version;
        if journal.head > version {
            // A limit, or a history that was replaced: the journal does not lead there.
            return Followed::Astray;
        }
        if journal.head < version || version < self.floor.load(Ordering::SeqCst) {
            return Followed::Behind;
        }
        current.confirmed = asked;
        Followed::Confirmed
    }
}

/// Where following the journal led.
enum Followed {
    /// To the newest version.
    Confirmed,
    /// Nowhere new: the database asked knows less than this process.
    Behind,
    /// Not to what the database has: only a snapshot helps.
    Astray,
}
