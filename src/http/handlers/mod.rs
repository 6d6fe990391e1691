//! The handlers, a file per resource. A handler reads and checks the request, calls one service, and writes the
//! response.

pub mod api_keys;
pub mod blocks;
pub mod bookings;
pub mod events;
pub mod holds;
pub mod operations;
pub mod plans;
pub mod requests;
pub mod schedules;
pub mod seats;
pub mod stream;

use std::str::FromStr;

use uuid::Uuid;

use crate::domain::command::{Action, Command, Keyed};
use crate::domain::ids::{CustomerId, InHistory, ScheduleId};
use crate::service::bookings::Submitted;

use super::middleware::Deadline;
use super::prefer_header::Prefer;
use super::problem::Problem;
use super::query::{PageQuery, Parameters, RawQuery};
use super::reply::{self, LocationHeader};
use super::request::{ApiRequest, HttpResult};
use super::version::MinVersion;

impl ApiRequest<MinVersion> {
    /// Submits a command and builds the response.
    async fn submit(
        &self,
        schedule: ScheduleId,
        action: Action,
        keyed: Option<Keyed>,
        location: LocationHeader,
    ) -> HttpResult {
        let command = Command { schedule, action, keyed, locked: false, queued: None };
        let deadline = Deadline::of(&self.request);
        let prefer = Prefer::of(&self.request);
        let (bookings, MinVersion(min_version)) = (&self.services.bookings, self.query);
        match bookings.submit(command, min_version, prefer.respond_async, deadline).await? {
            Submitted::Executed(outcome) => {
                let version = self.services.seat_maps.version(schedule);
                Ok(reply::with_version(reply::outcome(*outcome, location)?, version))
            }
            Submitted::Queued(status) => Ok(requests::accepted(status, prefer)),
        }
    }
}

/// The query of a list of holds or bookings.
#[derive(Debug)]
pub struct ClaimsQuery<T> {
    customer: Option<CustomerId>,
    schedule: Option<ScheduleId>,
    page: PageQuery<InHistory<T>>,
    min_version: i64,
}

impl<T> Parameters for ClaimsQuery<T>
where
    InHistory<T>: FromStr,
{
    fn read(raw: &mut RawQuery<'_>) -> Result<Self, Problem> {
        let customer = raw.parsed("customer_id", "a customer's id")?;
        let schedule = raw.parsed("schedule_id", "a schedule's id")?;
        let (page, MinVersion(min_version)) = (PageQuery::read(raw)?, MinVersion::read(raw)?);
        Ok(Self { customer, schedule, page, min_version })
    }
}

/// A new identifier that sorts by creation.
fn new_uuid() -> Uuid {
    Uuid::now_v7()
}
