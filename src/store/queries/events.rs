//! Events.

use std::sync::Arc;

use entity::event;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Set,
};

use crate::domain::catalogue::{Event, Page};
use crate::domain::command::Keyed;
use crate::domain::effect::{Once, RecordedAnswer};
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::{EventId, InHistory};
use crate::store::Store;
use crate::store::connection::{Db, rows};

impl Store {
    /// Creates an event, once per key.
    pub async fn create_event(
        self: &Arc<Self>,
        name: String,
        keyed: Option<Keyed>,
        render: fn(&Event) -> RecordedAnswer,
    ) -> StoreResult<Once<Event>> {
        let limit = self.settings.limits.statement_timeout;
        self.once(keyed, limit, render, move |session, now| {
            let name = Set(name.clone());
            let created_at = Set(now.0);
            let row = event::ActiveModel { name, created_at, ..Default::default() };
            Box::pin(async move { Ok(Ok(rows::event(row.insert(&session.connection).await?))) })
        })
        .await
    }

    /// One event.
    pub async fn event(&self, id: EventId) -> StoreResult<Option<Event>> {
        self.find(move |db| async move {
            let row = event::Entity::find_by_id(id.0).one(&db.connection).await?;
            Ok(row.map(rows::event))
        })
        .await
    }

    /// At most `limit` events after `after`, in the order of their ids.
    pub async fn events(
        &self,
        after: Option<InHistory<EventId>>,
        limit: usize,
    ) -> StoreResult<Page<Event>> {
        let (history, from) = self.history_of_page(after.map(|after| after.history)).await?;
        let read = move |db: Db| async move {
            let rows = event::Entity::find()
                .filter(event::Column::Id.gt(after.map_or(0, |after| after.at.0)))
                .order_by_asc(event::Column::Id)
                .limit(limit as u64 + 1)
                .all(&db.connection)
                .await?;
            Ok(rows.into_iter().map(rows::event).collect::<Vec<Event>>())
        };
        let rows = self.read_from(from, read).await?;
        Ok(Page::of(history, rows, limit, |event| event.id))
    }
}
