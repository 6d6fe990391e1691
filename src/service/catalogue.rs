//! The box office: events, schedules and seat plans, as handlers and commands of the command line use them.

use std::sync::Arc;

use crate::domain::catalogue::{EnteredPlan, Event, NewSchedule, Page, PlanSource, Schedule};
use crate::domain::command::Keyed;
use crate::domain::effect::{Once, RecordedAnswer};
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{EventId, InHistory, ScheduleId};
use crate::domain::plan::ReadPlan;
use crate::store::{Store, StoredPlan};

/// Reads and writes what a box office enters.
pub struct Catalogue {
    store: Arc<Store>,
}

impl Catalogue {
    /// A catalogue in the store given.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Enters an event, once per key; `render` makes the answer that is kept under the key.
    pub async fn create_event(
        &self,
        name: String,
        keyed: Option<Keyed>,
        render: fn(&Event) -> RecordedAnswer,
    ) -> Result<Once<Event>, StoreError> {
        self.store.create_event(name, keyed, render).await
    }

    /// One event.
    pub async fn event(&self, id: EventId) -> Result<Option<Event>, StoreError> {
        self.store.event(id).await
    }

    /// At most `limit` events after `after`, by id.
    pub async fn events(
        &self,
        after: Option<InHistory<EventId>>,
        limit: usize,
    ) -> Result<Page<Event>, StoreError> {
        self.store.events(after, limit).await
    }

    /// Enters a schedule with all its seats, once per key.
    pub async fn create_schedule(
        &self,
        new: NewSchedule,
        source: PlanSource,
        keyed: Option<Keyed>,
        render: fn(&Schedule) -> RecordedAnswer,
    ) -> Result<Once<Schedule>, StoreError> {
        self.store.create_schedule(new, source, keyed, render).await
    }

    /// At most `limit` schedules of an event after `after`, by id; `None` if there is no such event.
    pub async fn schedules(
        &self,
        event: EventId,
        after: Option<InHistory<ScheduleId>>,
        limit: usize,
    ) -> Result<Option<Page<Schedule>>, StoreError> {
        if self.store.event(event).await?.is_none() {
            return Ok(None);
        }
        self.store.schedules(event, after, limit).await.map(Some)
    }

    /// Stores the next version of a plan, once per key; an equal plan makes no new version.
    pub async fn put_plan(
        &self,
        id: String,
        plan: ReadPlan,
        keyed: Option<Keyed>,
        render: fn(&EnteredPlan) -> RecordedAnswer,
    ) -> Result<Once<EnteredPlan>, StoreError> {
        self.store.put_plan(id, plan, keyed, render).await
    }

    /// One version of a plan.
    pub async fn plan(&self, id: String, version: i32) -> Result<Option<StoredPlan>, StoreError> {
        self.store.plan(id, Some(version)).await
    }
}
