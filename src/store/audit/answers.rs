//! The audit of recorded answers. They are read page by page, in the order in which they expire, and compared with
//! what they describe.

use std::collections::{BTreeSet, HashMap, HashSet};

use entity::idempotency::Model;
use uuid::Uuid;

use super::Auditor;
use crate::domain::audit::answer::{StoredPrices, check};
use crate::domain::catalogue::PlanVersion;
use crate::domain::clock::EpochMs;
use crate::domain::command::RequestKey;
use crate::domain::effect::Resource;
use crate::domain::ids::ScheduleId;
use crate::store::connection::{DbResult, RowSet, rows};
use crate::store::queries::idempotency;

/// The answers of one page. Each may list as many seats as a booking may have.
const PAGE: usize = 200;

/// How many answers one audit of recent answers reads. Answers that expire in the same millisecond as the last one
/// are read in addition.
pub const ANSWERS_AT_A_TIME: u64 = 10_000;

/// The stored data of the resources that a page of answers describes.
#[derive(Default)]
struct Stored {
    /// Seat numbers of holds and bookings; blocks have an empty list.
    claims: HashMap<(i64, Uuid), Vec<i32>>,
    /// The holds among them whose seats were changed.
    changed: HashSet<(i64, Uuid)>,
    seats: HashMap<(i64, i32), (String, i64)>,
    currencies: HashMap<i64, String>,
    events: HashSet<i64>,
    plans: HashSet<(String, i32)>,
}

impl Auditor {
    /// Audits [`ANSWERS_AT_A_TIME`] of the answers that expire after `since` and not after `until`, and sets
    /// `answers_until` to the time at which the last of them expires.
    pub(super) async fn recent_answers(&mut self, since: EpochMs, until: EpochMs) -> DbResult<()> {
        let sql = "SELECT expires_at FROM idempotency WHERE expires_at > $1 AND expires_at <= $2
             ORDER BY expires_at LIMIT 1 OFFSET $3";
        let values = vec![since.0.into(), until.0.into(), ANSWERS_AT_A_TIME.into()];
        let end = self.session.fetch_one(sql, values).await?;
        self.answers((since, end.map_or(until, EpochMs)), None).await
    }

    /// Audits the answers that expire after `since` and not after `until`; with `only`, those of one schedule.
    pub(super) async fn answers(
        &mut self,
        range: (EpochMs, EpochMs),
        only: Option<ScheduleId>,
    ) -> DbResult<()> {
        for table in idempotency::tables(self.session.dialect) {
            self.answers_in(table, range, only).await?;
        }
        Ok(())
    }

    async fn answers_in(
        &mut self,
        table: &str,
        (since, until): (EpochMs, EpochMs),
        only: Option<ScheduleId>,
    ) -> DbResult<()> {
        let sql = format!(
            "SELECT * FROM {table} WHERE (expires_at, caller, key) > ($1, $2, $3)
             AND expires_at <= $5 ORDER BY expires_at, caller, key LIMIT $4"
        );
        // No caller's name sorts after this one, so answers that expire at `since` are not read again.
        let mut after = (since.0, "\u{10ffff}".to_owned(), String::new());
        self.audited.answers_until = Some(until);
        loop {
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let (expires_at, caller, key) = after.clone();
            let values =
                vec![expires_at.into(), caller.into(), key.into(), limit.into(), until.0.into()];
            let found = self.session.models::<Model>(&sql, values).await?;
            let count = found.len();
            let mut page = Vec::with_capacity(count);
            for row in found {
                after = (row.expires_at, row.caller.clone(), row.key.clone());
                let request = RequestKey { caller: row.caller.clone(), key: row.key.clone() };
                let recorded = rows::answer(row).ok();
                let stated = recorded.and_then(|(_, answer)| self.codec.read(&answer));
                let schedule = stated.as_ref().and_then(|stated| stated.resource.schedule());
                if only.is_none() || only == schedule {
                    page.push((request, stated));
                }
            }
            let resources = page.iter().filter_map(|(_, stated)| Some(&stated.as_ref()?.resource));
            let stored = self.stored(resources).await?;
            for (request, stated) in &page {
                let found = stated.as_ref().and_then(|stated| stored.prices_of(&stated.resource));
                let violation = check(request, stated.as_ref(), found.as_ref());
                self.report(violation.into_iter().collect()).await;
            }
            self.audited.answers += page.len() as u64;
            self.pauses.pause().await;
            if count < PAGE {
                return Ok(());
            }
        }
    }

    /// Reads the stored data of the resources, in a fixed number of statements.
    async fn stored<'a>(&self, resources: impl Iterator<Item = &'a Resource>) -> DbResult<Stored> {
        let mut stored = Stored::default();
        let mut holds = Vec::new();
        let mut bookings = Vec::new();
        let mut blocks = Vec::new();
        let mut events = Vec::new();
        let mut schedules = HashSet::new();
        let mut plans = Vec::new();
        for resource in resources {
            schedules.extend(resource.schedule());
            match resource {
                Resource::Hold(id) => holds.push((id.schedule, id.uuid)),
                Resource::Booking(id) => bookings.push((id.schedule, id.uuid)),
                Resource::Block(id) => blocks.push((id.schedule, id.uuid)),
                Resource::Event(id) => events.push(id.0),
                Resource::SeatPlan(PlanVersion { id, .. }) => plans.push(id.clone()),
                Resource::Schedule(_) | Resource::Nothing => {}
            }
        }
        for (table, ids) in [("hold", holds), ("booking", bookings), ("block", blocks)] {
            let set = rows::claim_ids(ids);
            let before = match table {
                "hold" => "SELECT t.schedule_id, t.id, t.seats, t.version FROM",
                _ => "SELECT t.schedule_id, t.id, t.seats, 1 FROM",
            };
            let key = ["schedule_id", "id"];
            let found = self.join::<(i64, Uuid, String, i32), _>(set, before, table, &key);
            for (schedule, id, seats, version) in found.await? {
                if version > 1 {
                    stored.changed.insert((schedule, id));
                }
                // Blocks have no prices. An unreadable list is reported with its schedule.
                let seats = if table == "block" { Vec::new() } else { numbers(&seats) };
                stored.claims.insert((schedule, id), seats);
            }
        }
        self.prices(&mut stored).await?;
        let set = rows::schedule_ids(schedules);
        let found = self.join(set, "SELECT t.id, t.currency FROM", "schedule", &["id"]).await?;
        stored.currencies = found.into_iter().collect();
        let set = RowSet::of(events).with("id", |id| *id);
        let found = self.join(set, "SELECT t.id FROM", "event", &["id"]).await?;
        stored.events = found.into_iter().collect();
        let set = RowSet::of(plans).with("id", String::clone);
        let found = self.join(set, "SELECT t.id, t.version FROM", "seat_plan", &["id"]).await?;
        stored.plans = found.into_iter().collect();
        Ok(stored)
    }

    /// Adds the labels and prices of the seats of all claims. Seats that several claims list are read once.
    async fn prices(&self, stored: &mut Stored) -> DbResult<()> {
        let listed: BTreeSet<(i64, i32)> = stored
            .claims
            .iter()
            .flat_map(|((schedule, _), seats)| seats.iter().map(|seat| (*schedule, *seat)))
            .collect();
        let set = RowSet::of(listed)
            .with("schedule_id", |seat| ScheduleId(seat.0))
            .with("number", |seat| seat.1);
        let before = "SELECT t.schedule_id, t.number, t.label, t.price FROM";
        let found = self.join::<(i64, i32, String, i64), _>(
            set,
            before,
            "seat",
            &["schedule_id", "number"],
        );
        for (schedule, number, label, price) in found.await? {
            stored.seats.insert((schedule, number), (label, price));
        }
        Ok(())
    }

    /// Reads the rows `t` of a table by their keys.
    async fn join<T: sea_orm::TryGetableMany, R>(
        &self,
        set: RowSet<R>,
        before: &str,
        table: &str,
        key: &[&str],
    ) -> DbResult<Vec<T>> {
        let after = self.session.dialect.join_by_key(table, "t", key);
        self.session.fetch_set(set, Vec::new(), before, &after).await
    }
}

fn numbers(text: &str) -> Vec<i32> {
    let seats = rows::seats(text).unwrap_or_default();
    seats.into_iter().map(rows::number_column).collect()
}

impl Stored {
    /// The stored prices of a resource; `None` if the resource does not exist.
    fn prices_of(&self, resource: &Resource) -> Option<StoredPrices> {
        let (schedule, uuid) = match resource {
            Resource::Hold(id) => (id.schedule.0, id.uuid),
            Resource::Booking(id) => (id.schedule.0, id.uuid),
            Resource::Block(id) => (id.schedule.0, id.uuid),
            other => {
                let exists = match other {
                    Resource::Event(id) => self.events.contains(&id.0),
                    Resource::Schedule(id) => self.currencies.contains_key(&id.0),
                    Resource::SeatPlan(plan) => {
                        self.plans.contains(&(plan.id.clone(), plan.version))
                    }
                    _ => true,
                };
                return exists.then(StoredPrices::default);
            }
        };
        let seats = self.claims.get(&(schedule, uuid))?.iter();
        let prices = seats.filter_map(|seat| self.seats.get(&(schedule, *seat)).cloned()).collect();
        let currency = self.currencies.get(&schedule).cloned().unwrap_or_default();
        let changed = self.changed.contains(&(schedule, uuid));
        Some(StoredPrices { prices, currency, changed })
    }
}
