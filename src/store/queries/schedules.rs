//! Schedules: creating one with all its seats, and reading them.

use std::sync::Arc;

use entity::{event, schedule, schedule_version};
use sea_orm::{ActiveModelTrait as _, EntityTrait as _, Set};
use uuid::Uuid;

use crate::domain::catalogue::{NewSchedule, Page, PlanSource, PlanVersion, Schedule};
use crate::domain::clock::EpochMs;
use crate::domain::command::Keyed;
use crate::domain::effect::{Once, RecordedAnswer};
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::{EventId, InHistory, ScheduleId};
use crate::domain::plan::SeatPlan;
use crate::domain::rejection::Rejection;
use crate::store::Store;
use crate::store::connection::{Db, DbResult, Dialect, RowSet, Transaction, rows};
use crate::store::queries::{citus, plans};

/// The most seats in one statement, which bounds the memory of the statement.
const SEATS_PER_STATEMENT: usize = 10_000;

impl Store {
    /// Creates a schedule with all its seats for sale, once per key. Refused if the event or the plan does
    /// not exist.
    pub async fn create_schedule(
        self: &Arc<Self>,
        new: NewSchedule,
        source: PlanSource,
        keyed: Option<Keyed>,
        render: fn(&Schedule) -> RecordedAnswer,
    ) -> StoreResult<Once<Schedule>> {
        let limit = self.settings.limits.creation_timeout;
        let input = Arc::new((new, source));
        let created = self
            .once(keyed, limit, render, move |session, now| {
                let input = Arc::clone(&input);
                Box::pin(async move { create(session, now, &input.0, &input.1).await })
            })
            .await?;
        if let (Dialect::Citus, Once::Done(schedule)) = (self.dialect, &created) {
            let id = schedule.id;
            let analyzed = self.on_primary(move |db| async move { citus::analyze(&db, id).await });
            if let Err(error) = analyzed.await {
                log::warn!("no statistics of the seats of schedule {id} were collected: {error}");
            }
        }
        Ok(created)
    }

    /// One schedule.
    pub async fn schedule(&self, id: ScheduleId) -> StoreResult<Option<Schedule>> {
        self.find(move |db| async move {
            let row = schedule::Entity::find_by_id(id.0).one(&db.connection).await?;
            row.map(rows::schedule).transpose()
        })
        .await
    }

    /// At most `limit` schedules of an event after `after`, in the order of their ids.
    pub async fn schedules(
        &self,
        event: EventId,
        after: Option<InHistory<ScheduleId>>,
        limit: usize,
    ) -> StoreResult<Page<Schedule>> {
        let (history, from) = self.history_of_page(after.map(|after| after.history)).await?;
        let read = move |db: Db| async move {
            // The keys of the index `schedule_listed`.
            let sql = format!(
                "SELECT s.* FROM schedule s WHERE {} AND s.id + 0 > $2
                 ORDER BY s.event_id, s.id + 0 LIMIT $3",
                db.dialect.only("s.event_id", "$1")
            );
            let after = after.map_or(0, |after| after.at.0);
            let values = vec![event.0.into(), after.into(), rows::more_than(limit)];
            let models = db.models::<schedule::Model>(sql, values).await?;
            models.into_iter().map(rows::schedule).collect::<DbResult<Vec<Schedule>>>()
        };
        let rows = self.read_from(from, read).await?;
        Ok(Page::of(history, rows, limit, |schedule| schedule.id))
    }
}

async fn create(
    session: &Transaction,
    now: EpochMs,
    new: &NewSchedule,
    source: &PlanSource,
) -> DbResult<Result<Schedule, Rejection>> {
    if event::Entity::find_by_id(new.event.0).one(&session.connection).await?.is_none() {
        return Ok(Err(Rejection::NotFound("event")));
    }
    let stored;
    let (version, plan) = match source {
        PlanSource::Inline(plan) => {
            let id = format!("inline-{}", Uuid::now_v7().simple());
            (plans::insert(session, now, id, plan).await?, plan)
        }
        PlanSource::Stored { id, version } => {
            let Some(found) = plans::find(session, id.clone(), *version).await? else {
                return Ok(Err(Rejection::NotFound("seat plan")));
            };
            stored = found;
            (stored.version, &stored.plan)
        }
    };
    let schedule = insert_schedule(session, now, new, version, plan).await?;
    insert_seats(session, schedule.id, plan).await?;
    // Last, so that no batch can lock the schedule before its seats exist.
    let row = schedule_version::ActiveModel { schedule_id: Set(schedule.id.0), version: Set(1) };
    schedule_version::Entity::insert(row).exec_without_returning(&session.connection).await?;
    Ok(Ok(schedule))
}

async fn insert_schedule(
    session: &Transaction,
    now: EpochMs,
    new: &NewSchedule,
    plan: PlanVersion,
    layout: &SeatPlan,
) -> DbResult<Schedule> {
    let rules = &new.rules;
    let limit = |count: u32| i32::try_from(count).map_err(|_| rows::corrupt("limit"));
    let row = schedule::ActiveModel {
        event_id: Set(new.event.0),
        starts_at: Set(new.starts_at.0),
        currency: Set(rules.currency.clone()),
        sales_open_at: Set(rules.sales_open_at.map(|time| time.0)),
        sales_close_at: Set(rules.sales_close_at.map(|time| time.0)),
        max_seats_per_booking: Set(limit(rules.max_seats_per_booking)?),
        max_seats_per_customer: Set(rules.max_seats_per_customer.map(limit).transpose()?),
        hold_ttl_ms: Set(i64::try_from(rules.hold_ttl.as_millis()).unwrap_or(i64::MAX)),
        plan_id: Set(plan.id),
        plan_version: Set(plan.version),
        seats: Set(rows::count_column(layout.seat_count())),
        created_at: Set(now.0),
        ..Default::default()
    };
    rows::schedule(row.insert(&session.connection).await?)
}

async fn insert_seats(
    session: &Transaction,
    schedule: ScheduleId,
    plan: &SeatPlan,
) -> DbResult<()> {
    let seats: Vec<(i32, &str, i64)> = plan
        .seats()
        .map(|(number, placed)| {
            (rows::number_column(number), placed.seat.label.as_str(), placed.seat.price)
        })
        .collect();
    for chunk in seats.chunks(SEATS_PER_STATEMENT) {
        let rows = RowSet::of(chunk)
            .with("number", |(number, ..)| *number)
            .with("label", |(_, label, _)| (*label).to_owned())
            .with("price", |(.., price)| *price);
        let before = "INSERT INTO seat (schedule_id, number, label, price, state)
             SELECT $1, r.number, r.label, r.price, 0 FROM";
        session.write(rows, vec![schedule.0.into()], before, "").await?;
    }
    Ok(())
}
