//! The catalogue of the admin API: events, schedules and seat plans.

use std::sync::Arc;

use crate::domain::catalogue::{EnteredPlan, Event, NewSchedule, Page, PlanSource, Schedule};
use crate::domain::command::Keyed;
use crate::domain::effect::{Once, RecordedAnswer};
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{EventId, InHistory, ScheduleId};
use crate::domain::plan::ReadPlan;
use crate::store::{Store, StoredPlan};

/// Reads and writes the catalogue. The methods that create something once per key take a function that renders the
/// answer to be recorded.
pub struct Catalogue {
    store: Arc<Store>,
}

impl Catalogue {
    /// Creates the service on a store.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// At most `limit` schedules of an event that follow `after`, ordered by id; `None` if there is no such event.
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

    store_methods! {
        /// Creates an event, once per key.
        fn create_event(name: String, keyed: Option<Keyed>, render: fn(&Event) -> RecordedAnswer) -> Once<Event>;
        /// One event.
        fn event(id: EventId) -> Option<Event>;
        /// At most `limit` events that follow `after`, ordered by id.
        fn events(after: Option<InHistory<EventId>>, limit: usize) -> Page<Event>;
        /// Creates a schedule with all its seats, once per key.
        fn create_schedule(new: NewSchedule, source: PlanSource, keyed: Option<Keyed>,
            render: fn(&Schedule) -> RecordedAnswer) -> Once<Schedule>;
        /// Stores the next version of a plan, once per key; an equal plan makes no new version.
        fn put_plan(id: String, plan: ReadPlan, keyed: Option<Keyed>,
            render: fn(&EnteredPlan) -> RecordedAnswer) -> Once<EnteredPlan>;
        /// One version of a plan; the newest if `version` is none.
        fn plan(id: String, version: Option<i32>) -> Option<StoredPlan>;
    }
}
