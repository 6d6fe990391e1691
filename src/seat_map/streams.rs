//! The live streams of all schedules that have listeners.
//!
//! A stream sends the changes of the states that readers get. `background::map_refresh` calls it on a timer. The
//! changes that a returning listener has missed come from the change log of the stream, or are read from the journal,
//! by one task for all listeners.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

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

/// Why a listener was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// The service is stopping.
    #[error("the service is stopping")]
    Closed,
    /// The number of listeners has reached its limit.
    #[error("there are too many listeners already")]
    Full,
    /// The seats cannot be read.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// Counts one listener until this value is dropped.
#[derive(Debug)]
pub struct ListenerSlot(Arc<AtomicUsize>);

impl Drop for ListenerSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Streams {
    /// Creates streams for at most `listeners_max` listeners at a time.
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

    /// Adds a listener of a schedule. It begins with the states of all seats, or with the changes after the last
    /// version that it has received; these first states are at the version `at_least` or newer. The caller must drop
    /// the slot when the listener ends. Also returns the age of the first states if no database could give newer ones.
    pub async fn listen(
        &self,
        schedule: &LoadedSchedule,
        last: Option<LastSeen>,
        at_least: i64,
    ) -> Result<(Listener, ListenerSlot, Option<Duration>), ListenError> {
        let slot = self.slot()?;
        let at_least = last.map_or(at_least, |last| last.version.max(at_least));
        let fresh = self.maps.states(schedule, at_least).await?;
        let id = schedule.schedule.id;
        loop {
            let begin = || Arc::new(Channel::new(Arc::clone(&fresh.states)));
            let channel = Arc::clone(self.channels.lock().entry(id).or_insert_with(begin));
            channel.advance(&fresh.states);
            let listener = match last {
                None => channel.listen(),
                Some(last) => self.resume(&channel, id, last).await?,
            };
            // Meanwhile the channel may have been closed, or removed because it had no listeners.
            let channels = self.channels.lock();
            if self.closed.load(Ordering::SeqCst) {
                return Err(ListenError::Closed);
            }
            if channels.get(&id).is_some_and(|current| Arc::ptr_eq(current, &channel)) {
                return Ok((listener, slot, fresh.stale));
            }
        }
    }

    /// Adds a listener that resumes after a version. If the change log does not have the changes after it, one task
    /// reads them from the journal for all listeners.
    async fn resume(
        &self,
        channel: &Channel,
        id: ScheduleId,
        last: LastSeen,
    ) -> Result<Listener, StoreError> {
        if let Ok(listener) = channel.resume(last) {
            return Ok(listener);
        }
        let _reading = channel.reading_journal.lock().await;
        let Missed { newest } = match channel.resume(last) {
            Ok(listener) => return Ok(listener),
            Err(missed) => missed,
        };
        Ok(match self.changed(id, last.version, newest).await? {
            Some(changed) => channel.resume_with(last.version, newest.at, changed),
            None => channel.listen(),
        })
    }

    /// The seats that changed after one version until another; `None` if the journal does not have all entries between.
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

    /// The schedules whose streams are due for an update. Removes streams that have had no listeners for a while.
    #[must_use]
    pub fn due(&self) -> Vec<ScheduleId> {
        let mut channels = self.channels.lock();
        channels.retain(|_, channel| !channel.is_idle());
        channels.iter().filter(|(_, channel)| channel.is_due()).map(|(id, _)| *id).collect()
    }

    /// Reads a schedule's states and sends its listeners the changes. Returns whether anything was sent.
    pub async fn update(&self, id: ScheduleId) -> Result<bool, StoreError> {
        let channel = self.channels.lock().get(&id).map(Arc::clone);
        let Some(channel) = channel else { return Ok(false) };
        // The keep-alive is sent first, because it must not wait for an unavailable database.
        let kept_alive = channel.send_keep_alive();
        let Some(schedule) = self.maps.schedule(id).await? else { return Ok(kept_alive) };
        let fresh = self.maps.states(&schedule, 0).await?;
        Ok(channel.advance(&fresh.states) || kept_alive)
    }

    /// The number of listeners now.
    #[must_use]
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::SeqCst)
    }

    /// Ends the streams of all listeners. Until [`Streams::close`] is called they may connect to this process again,
    /// but most of them connect to another process.
    pub fn notify_shutdown(&self) {
        for channel in self.channels.lock().values() {
            channel.close();
        }
    }

    /// Ends all streams and refuses new listeners.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.notify_shutdown();
    }

    fn slot(&self) -> Result<ListenerSlot, ListenError> {
        let slot = ListenerSlot(Arc::clone(&self.listeners));
        if self.listeners.fetch_add(1, Ordering::SeqCst) >= self.listeners_max {
            return Err(ListenError::Full);
        }
        Ok(slot)
    }
}
