//! Live streams of all schedules that somebody listens to.
//!
//! They tell what readers would read, when it changes: the clock in `actors::seat_map` asks the maps and
//! hands on what has moved. What a returning listener has missed is remembered, or read from the journal
//! by one for all.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::execution_error::StoreError;
use crate::domain::ids::{InHistory, ScheduleId, SeatNumber};
use crate::store::ReadFrom;

use super::channel::{Channel, LastSeen, Listener, Missed};
use super::{LoadedSchedule, SeatMaps};

/// The live streams.
pub struct Streams {
    maps: Arc<SeatMaps>,
    channels: Mutex<HashMap<ScheduleId, Arc<Channel>>>,
    listeners: Arc<AtomicUsize>,
    listeners_max: usize,
    closed: AtomicBool,
}

/// Why nobody can listen now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoStream {
    /// The service is stopping.
    #[error("the service is stopping")]
    Closed,
    /// There are as many listeners as there may be.
    #[error("too many listen already")]
    Full,
    /// The seats cannot be read.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// A place among the listeners, given back when it is dropped.
#[derive(Debug)]
pub struct ListenerSlot(Arc<AtomicUsize>);

impl Drop for ListenerSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Streams {
    /// Nobody listens yet; at most `listeners_max` will at a time.
    #[must_use]
    pub fn new(maps: Arc<SeatMaps>, listeners_max: usize) -> Self {
        Self {
            maps,
            channels: Mutex::default(),
            listeners: Arc::default(),
            listeners_max,
            closed: AtomicBool::new(false),
        }
    }

    /// Listens to a schedule: from now on, or on from what the listener has seen last, and in both cases not from
    /// before the version `at_least`. Keep the place as long as the listener. Also gives
    /// the age of the states that it begins with, if no database could give newer ones.
    pub async fn listen(
        &self,
        schedule: &LoadedSchedule,
        last: Option<LastSeen>,
        at_least: i64,
    ) -> Result<(Listener, ListenerSlot, Option<Duration>), NoStream> {
        let place = self.place()?;
        let at_least = last.map_or(at_least, |last| last.version.max(at_least));
        let fresh = self.maps.states(schedule, at_least).await?;
        let id = schedule.schedule.id;
        loop {
            let begin = || Arc::new(Channel::new(Arc::clone(&fresh.states)));
            let channel = Arc::clone(self.channels().entry(id).or_insert_with(begin));
            channel.advance(&fresh.states);
            let listener = match last {
                None => channel.listen(),
                Some(last) => self.resume(&channel, id, last).await?,
            };
            // Meanwhile it may have been forgotten, since nobody listened to it, or closed.
            let channels = self.channels();
            if self.closed.load(Ordering::SeqCst) {
                return Err(NoStream::Closed);
            }
            if channels.get(&id).is_some_and(|current| Arc::ptr_eq(current, &channel)) {
                return Ok((listener, place, fresh.stale));
            }
        }
    }

    /// Listens on from a version; what came after it may be known to the journal alone, which one at a time
    /// asks for all.
    async fn resume(
        &self,
        channel: &Channel,
        id: ScheduleId,
        last: LastSeen,
    ) -> Result<Listener, StoreError> {
        if let Ok(listener) = channel.resume(last) {
            return Ok(listener);
        }
        let _recalling = channel.recalling.lock().await;
        let Missed { newest } = match channel.resume(last) {
            Ok(listener) => return Ok(listener),
            Err(missed) => missed,
        };
        Ok(match self.changed(id, last.version, newest).await? {
            Some(touched) => channel.resume_with(last.version, newest.at, touched),
            None => channel.listen(),
        })
    }

    /// The seats that the journal says have changed after one version, if it tells of all until the other.
    async fn changed(
        &self,
        id: ScheduleId,
        after: i64,
        until: InHistory<i64>,
    ) -> Result<Option<Vec<SeatNumber>>, StoreError> {
        let journal = self.maps.sources.store.journal_after(id, after, ReadFrom::Anywhere).await?;
        let journal = journal.filter(|journal| journal.history == until.history);
        let Some(journal) = journal else { return Ok(None) };
        let gapless =
            journal.entries.iter().zip(after + 1..).all(|(entry, next)| entry.version == next);
        let reaches = journal.entries.last().is_some_and(|last| last.version >= until.at);
        let seats = journal.entries.iter().flat_map(|entry| &entry.changes);
        Ok((gapless && reaches).then(|| seats.map(|(seat, _)| *seat).collect()))
    }

    /// The schedules that have a stream and are due to be looked at. Streams that nobody listens to any
    /// more are forgotten.
    #[must_use]
    pub fn due(&self) -> Vec<ScheduleId> {
        let mut channels = self.channels();
        channels.retain(|_, channel| !channel.is_idle());
        channels.iter().filter(|(_, channel)| channel.is_due()).map(|(id, _)| *id).collect()
    }

    /// Reads a schedule's states and tells its listeners what has changed. True if there was something to
    /// tell.
    pub async fn follow(&self, id: ScheduleId) -> Result<bool, StoreError> {
        let channel = self.channels().get(&id).map(Arc::clone);
        let Some(channel) = channel else { return Ok(false) };
        // First, for it must not wait for a database that is away.
        let reassured = channel.reassure();
        let Some(schedule) = self.maps.schedule(id).await? else { return Ok(reassured) };
        let fresh = self.maps.states(&schedule, 0).await?;
        Ok(channel.advance(&fresh.states) || reassured)
    }

    /// How many listen now.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::SeqCst)
    }

    /// Says goodbye to all who listen now. Who comes back before [`Streams::close`] is still welcome: most
    /// will come back elsewhere.
    pub fn dismiss(&self) {
        for channel in self.channels().values() {
            channel.close();
        }
    }

    /// Says goodbye to all, and lets nobody in any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.dismiss();
    }

    fn place(&self) -> Result<ListenerSlot, NoStream> {
        let place = ListenerSlot(Arc::clone(&self.listeners));
        if self.listeners.fetch_add(1, Ordering::SeqCst) >= self.listeners_max {
            return Err(NoStream::Full);
        }
        Ok(place)
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<ScheduleId, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
