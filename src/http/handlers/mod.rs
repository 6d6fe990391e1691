//! The handlers, a file per resource. A handler reads and checks the request, calls one service, and writes the
//! response.

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
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::command::{Action, Command, Keyed, Sender};
use crate::domain::ids::{CustomerId, InHistory, ScheduleId};
use crate::service::bookings::Submitted;
use crate::telemetry::request_context::RequestContext;

use super::auth::Caller;
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
        let command = Command { keyed, sender: self.sender(), ..Command::new(schedule, action) };
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

impl<Q> ApiRequest<Q> {
    /// Who sends this request, for the journal.
    fn sender(&self) -> Option<Arc<Sender>> {
        let Caller(actor) = Caller::of(&self.request);
        let context = RequestContext::current();
        let request = context.requests().first().map(|ids| ids.id.clone());
        let is_recorded = self.services.audit_addresses;
        let address = self.request.peer_addr().filter(|_| is_recorded);
        Some(Arc::new(Sender {
            actor,
            request: request.unwrap_or_default(),
            address: address.map(|address| address.ip().to_string()),
        }))
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
