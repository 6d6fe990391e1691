//! Seat maps: the layout of a schedule, which never changes, and the states of its seats at a version.
//!
//! Both are kept in memory for the schedules in use, the least recently used leaving first. A layout is
//! read once. States are read again when the schedule's version has grown; the version is one narrow row.

mod layout;
mod loaded;
mod recent;

pub use layout::{Layout, LayoutSeat};
pub use loaded::{LoadedSchedule, SeatStates};

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::failure::StoreError;
use crate::domain::ids::ScheduleId;
use crate::store::Store;

use recent::Recent;

/// Seats of all schedules kept in memory together.
const SEATS_KEPT: usize = 2_000_000;

/// The seat maps of the schedules in use.
pub struct SeatMaps {
    store: Arc<Store>,
    loaded: Mutex<Recent<ScheduleId, Arc<LoadedSchedule>>>,
}

impl SeatMaps {
    /// No map is loaded yet.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store, loaded: Mutex::new(Recent::new(SEATS_KEPT)) }
    }

    /// A schedule with its layout; `None` if there is none by this id.
    pub async fn schedule(
        &self,
        id: ScheduleId,
    ) -> Result<Option<Arc<LoadedSchedule>>, StoreError> {
        if let Some(found) = self.recent().get(&id) {
            return Ok(Some(found));
        }
        let Some(schedule) = self.store.schedule(id).await? else { return Ok(None) };
        let version = schedule.plan.clone();
        let plan = self.store.plan(version.id, Some(version.version)).await?;
        let plan = plan.ok_or_else(|| StoreError::Corrupt("a schedule without a plan".into()))?;
        let loaded = Arc::new(LoadedSchedule::new(schedule, Layout::new(&plan.plan)));
        self.recent().put(id, Arc::clone(&loaded), loaded.layout.len());
        Ok(Some(loaded))
    }

    /// The states of a schedule's seats, not older than the database's where reads go.
    pub async fn states(&self, schedule: &LoadedSchedule) -> Result<Arc<SeatStates>, StoreError> {
        schedule.states(&self.store).await
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent<ScheduleId, Arc<LoadedSchedule>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
