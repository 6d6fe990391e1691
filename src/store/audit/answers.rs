//! Recorded answers, page by page in the order of their ends, against what they tell of.

use std::collections::{BTreeSet, HashMap, HashSet};

use entity::idempotency;
use sea_orm::{ConnectionTrait as _, DbErr, FromQueryResult as _, QueryResult};
use uuid::Uuid;

use crate::domain::audit::answer::{RecordedEffect, StoredPrices, check};
use crate::domain::catalogue::PlanVersion;
use crate::domain::clock::EpochMs;
use crate::domain::command::RequestKey;
use crate::domain::effect::RecordedAnswer;
use crate::domain::ids::ScheduleId;
use crate::store::connection::dialect::{Column, RowSet};
use crate::store::connection::rows;

use super::Auditor;

/// Answers of one page: each brings up to as many seats as a booking may have.
const PAGE: usize = 200;

/// How many of the answers since some time are audited at a time, besides those that end in the same
/// millisecond as the last.
pub const ANSWERS_AT_A_TIME: u64 = 10_000;

/// What the database has of a page of answers.
#[derive(Default)]
struct Known {
    /// Seat numbers of holds and bookings, none of blocks.
    claims: HashMap<(i64, Uuid), Vec<i32>>,
    seats: HashMap<(i64, i32), (String, i64)>,
    currencies: HashMap<i64, String>,
    events: HashSet<i64>,
    plans: HashSet<(String, i32)>,
}

impl Auditor {
    /// Audits some of the answers that end after `since` and not after `until`: [`ANSWERS_AT_A_TIME`],
    /// and `answers_until` says how far that went.
    pub(super) async fn some_answers(
        &mut self,
        since: EpochMs,
        until: EpochMs,
    ) -> Result<(), DbErr> {
        let sql = "SELECT expires_at FROM idempotency WHERE expires_at > $1 AND expires_at <= $2
             ORDER BY expires_at LIMIT 1 OFFSET $3";
        let values = vec![since.0.into(), until.0.into(), ANSWERS_AT_A_TIME.into()];
        let end = self.rows(sql, values).await?;
        let end = end.first().map(|row| row.try_get_by_index(0)).transpose()?;
        self.answers((since, end.map_or(until, EpochMs)), None).await
    }

    /// Audits the answers that end after `since` and not after `until`, those of one schedule if one is
    /// named.
    pub(super) async fn answers(
        &mut self,
        (since, until): (EpochMs, EpochMs),
        only: Option<ScheduleId>,
    ) -> Result<(), DbErr> {
        let sql = "SELECT * FROM idempotency WHERE (expires_at, caller, key) > ($1, $2, $3)
             AND expires_at <= $5 ORDER BY expires_at, caller, key LIMIT $4";
        // No caller is called so, so nothing that ends at `since` itself is looked at again.
        let mut after = (since.0, "\u{10ffff}".to_owned(), String::new());
        self.audited.answers_until = Some(until);
        loop {
            let (ends_at, caller, key) = after.clone();
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            let values =
                vec![ends_at.into(), caller.into(), key.into(), limit.into(), until.0.into()];
            let statement = self.dialect.statement(sql, values);
            let rows = self.transaction.query_all_raw(statement).await?;
            let mut page = Vec::with_capacity(rows.len());
            for row in &rows {
                let row = idempotency::Model::from_query_result(row, "")?;
                after = (row.expires_at, row.caller.clone(), row.key.clone());
                let status = u16::try_from(row.status).unwrap_or(0);
                let told = (self.read_answer)(&RecordedAnswer { status, body: row.body });
                let request = RequestKey { caller: row.caller, key: row.key };
                let schedule = told.as_ref().and_then(RecordedEffect::schedule);
                if only.is_none() || only == schedule {
                    page.push((request, told));
                }
            }
            let known = self.known(page.iter().filter_map(|(_, told)| told.as_ref())).await?;
            for (request, told) in &page {
                let found = told.as_ref().and_then(|told| known.tariff(told));
                let violation = check(request, told.as_ref(), found.as_ref());
                self.tell(violation.into_iter().collect()).await;
            }
            self.audited.answers += page.len() as u64;
            self.rests.rest().await;
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn known<'a>(
        &self,
        told: impl Iterator<Item = &'a RecordedEffect>,
    ) -> Result<Known, DbErr> {
        let mut known = Known::default();
        let (mut holds, mut bookings, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
        let (mut events, mut schedules, mut plans) = (Vec::new(), HashSet::new(), Vec::new());
        for told in told {
            schedules.extend(told.schedule());
            match told {
                RecordedEffect::Hold(id, _) => holds.push((id.schedule.0, id.uuid)),
                RecordedEffect::Booking(id, _) => bookings.push((id.schedule.0, id.uuid)),
                RecordedEffect::Block(id) => blocks.push((id.schedule.0, id.uuid)),
                RecordedEffect::Event(id) => events.push(id.0),
                RecordedEffect::Plan(PlanVersion { id, .. }) => plans.push(id.clone()),
                RecordedEffect::Schedule(_) | RecordedEffect::Nothing => {}
            }
        }
        for (table, ids) in [("hold", holds), ("booking", bookings), ("block", blocks)] {
            self.claims(&mut known, table, &ids).await?;
        }
        self.priced(&mut known).await?;
        let set = rows::schedule_ids(schedules.into_iter());
        let after = "JOIN schedule t ON t.id = r.id";
        for row in self.join(&set, "SELECT t.id, t.currency FROM", after).await? {
            let (id, currency) = row.try_get_many_by_index::<(i64, String)>()?;
            known.currencies.insert(id, currency);
        }
        let set = RowSet::new().with("id", Column::BigInt(events));
        for row in self.join(&set, "SELECT t.id FROM", "JOIN event t ON t.id = r.id").await? {
            known.events.insert(row.try_get_by_index(0)?);
        }
        let set = RowSet::new().with("id", Column::Text(plans));
        let after = "JOIN seat_plan t ON t.id = r.id";
        for row in self.join(&set, "SELECT t.id, t.version FROM", after).await? {
            known.plans.insert(row.try_get_many_by_index::<(String, i32)>()?);
        }
        Ok(known)
    }

    async fn claims(
        &self,
        known: &mut Known,
        table: &str,
        ids: &[(i64, Uuid)],
    ) -> Result<(), DbErr> {
        let set = RowSet::new()
            .with("schedule_id", Column::BigInt(ids.iter().map(|id| id.0).collect()))
            .with("id", Column::Uuid(ids.iter().map(|id| id.1).collect()));
        let before = "SELECT t.schedule_id, t.id, t.seats FROM";
        let after = format!("JOIN {table} t ON t.schedule_id = r.schedule_id AND t.id = r.id");
        for row in self.join(&set, before, &after).await? {
            let (schedule, id, seats) = row.try_get_many_by_index::<(i64, Uuid, String)>()?;
            // Blocks have no prices, and what cannot be read is told of with its schedule.
            let seats = if table == "block" { Vec::new() } else { numbers(&seats) };
            known.claims.insert((schedule, id), seats);
        }
        Ok(())
    }

    async fn priced(&self, known: &mut Known) -> Result<(), DbErr> {
        let claims = known.claims.iter();
        // Seats that several claims list are read once.
        let listed: BTreeSet<(i64, i32)> = claims
            .flat_map(|((schedule, _), seats)| seats.iter().map(|seat| (*schedule, *seat)))
            .collect();
        let set = RowSet::new()
            .with("schedule_id", Column::BigInt(listed.iter().map(|(id, _)| *id).collect()))
            .with("number", Column::Int(listed.iter().map(|(_, number)| *number).collect()));
        let before = "SELECT s.schedule_id, s.number, s.label, s.price FROM";
        let after = "JOIN seat s ON s.schedule_id = r.schedule_id AND s.number = r.number";
        for row in self.join(&set, before, after).await? {
            let (schedule, number, label, price) =
                row.try_get_many_by_index::<(i64, i32, String, i64)>()?;
            known.seats.insert((schedule, number), (label, price));
        }
        Ok(())
    }

    async fn join(
        &self,
        set: &RowSet,
        before: &str,
        after: &str,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let statement = set.statement(self.dialect, Vec::new(), before, after);
        self.transaction.query_all_raw(statement).await
    }
}

fn numbers(text: &str) -> Vec<i32> {
    let seats = rows::seats(text).unwrap_or_default();
    seats.into_iter().map(rows::number_column).collect()
}

impl Known {
    /// What an answer's effect costs, if that effect exists.
    fn tariff(&self, told: &RecordedEffect) -> Option<StoredPrices> {
        let claim = match told {
            RecordedEffect::Hold(id, _) => (id.schedule.0, id.uuid),
            RecordedEffect::Booking(id, _) => (id.schedule.0, id.uuid),
            RecordedEffect::Block(id) => (id.schedule.0, id.uuid),
            RecordedEffect::Event(id) => {
                return self.events.contains(&id.0).then(StoredPrices::default);
            }
            RecordedEffect::Schedule(id) => {
                return self.currencies.contains_key(&id.0).then(StoredPrices::default);
            }
            RecordedEffect::Plan(plan) => {
                let known = self.plans.contains(&(plan.id.clone(), plan.version));
                return known.then(StoredPrices::default);
            }
            RecordedEffect::Nothing => return Some(StoredPrices::default()),
        };
        let seats = self.claims.get(&claim)?.iter();
        let prices = seats.filter_map(|seat| self.seats.get(&(claim.0, *seat)).cloned()).collect();
        let currency = self.currencies.get(&claim.0).cloned().unwrap_or_default();
        Some(StoredPrices { prices, currency })
    }
}
