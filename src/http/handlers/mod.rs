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
use std::sync::Arc;

use uuid::Uuid;

use crate::domain::command::{Action, Command, Keyed, Sender};
use crate::domain::effect::{RecordedAnswer, Resource};
use crate::domain::ids::{CustomerId, HoldId, InHistory, ScheduleId};
use crate::service::bookings::Submitted;
use crate::telemetry::request_context::RequestContext;

use super::client_address::client_address;
use super::middleware::Deadline;
use super::prefer_header::Prefer;
use super::problem::Problem;
use super::query::{PageQuery, Parameters, RawQuery};
use super::reply::{self, LocationHeader};
use super::request::{ApiRequest, HttpResult};
use super::version::MinVersion;
use super::{json, stored_response};

/// The header with the secret of a hold, which a page sends to change the hold.
pub(super) const HOLD_SECRET: &str = "hold-secret";

impl ApiRequest<MinVersion> {
    /// Submits a command and builds the response.
    async fn submit(
        &self,
        schedule: ScheduleId,
        action: Action,
        keyed: Option<Keyed>,
        location: LocationHeader,
    ) -> HttpResult {
        let (sender, owner) = (self.sender(), self.customer());
        let command = Command { keyed, sender, owner, ..Command::new(schedule, action) };
        let deadline = Deadline::of(&self.request);
        let prefer = Prefer::of(&self.request);
        let (bookings, MinVersion(min_version)) = (&self.services.bookings, self.query);
        // Neither a page nor a customer may read the outcome of a queued request.
        let is_limited = self.caller.as_ref().is_some_and(|caller| caller.has_origins());
        let respond_async = prefer.respond_async && !is_limited;
        match bookings.submit(command, min_version, respond_async, deadline).await? {
            Submitted::Executed(outcome) => {
                let version = self.services.seat_maps.version(schedule);
                let complete = |answer| self.with_hold_secret(answer);
                let response = reply::outcome(*outcome, location, complete)?;
                Ok(reply::with_version(response, version))
            }
            Submitted::Queued(status) => Ok(requests::accepted(status, prefer)),
        }
    }
}

impl<Q> ApiRequest<Q> {
    /// Whether a page with a publishable key sends this request.
    fn is_page(&self) -> bool {
        self.caller.as_ref().is_some_and(|caller| caller.is_publishable())
    }

    /// The customer whose token sends this request, who touches nothing of others.
    fn customer(&self) -> Option<CustomerId> {
        self.caller.as_ref()?.customer.clone()
    }

    /// The customer whose claims are listed: the one that is asked for, and only themselves for a customer's token.
    fn listed_customer(&self, asked: Option<CustomerId>) -> Result<Option<CustomerId>, Problem> {
        let Some(own) = self.customer() else { return Ok(asked) };
        if asked.as_ref().is_some_and(|asked| *asked != own) {
            let message = "is not the subject of the token; leave it out";
            return Err(Problem::parameter_error("customer_id", "not_own", message));
        }
        Ok(Some(own))
    }

    /// Adds the secret of a new hold to the answer for a page.
    fn with_hold_secret(&self, answer: RecordedAnswer) -> RecordedAnswer {
        let created = |resource| match resource {
            Resource::Hold(hold) if answer.status == 201 && self.is_page() => Some(hold),
            _ => None,
        };
        let secret = stored_response::resource(&answer).and_then(created).and_then(|hold| {
            let key = self.services.api_keys.hold_key()?;
            Some(key.secret(hold))
        });
        match secret {
            Some(secret) => {
                let body = json::with_field(&answer.body, "hold_secret", &secret);
                RecordedAnswer { body, ..answer }
            }
            None => answer,
        }
    }

    /// The hold that the path names, if it is the caller's own: a page needs the secret of the hold. Without the secret
    /// the hold is not found, as if it did not exist.
    fn own_hold(&self) -> Result<HoldId, Problem> {
        let hold = self.path_id("id", "hold")?;
        if self.is_page() {
            let secret = self.request.headers().get(HOLD_SECRET);
            let secret = secret.and_then(|secret| secret.to_str().ok()).unwrap_or_default();
            let key = self.services.api_keys.hold_key();
            if !key.is_some_and(|key| key.admits(hold, secret)) {
                return Err(Problem::not_found("hold"));
            }
        }
        Ok(hold)
    }

    /// Who sends this request, for the journal.
    fn sender(&self) -> Option<Arc<Sender>> {
        let actor = self.caller.as_ref()?.name.clone();
        let context = RequestContext::current();
        let request = context.requests().first().map(|ids| ids.id.clone());
        let is_recorded = self.services.audit_addresses;
        let peer = self.request.peer_addr().filter(|_| is_recorded);
        let trusted = &self.services.rate_limits.trusted_proxies;
        let address = peer.map(|peer| client_address(peer.ip(), self.request.headers(), trusted));
        Some(Arc::new(Sender {
            actor,
            request: request.unwrap_or_default(),
            address: address.map(|address| address.to_string()),
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
