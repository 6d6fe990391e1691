//! The HTTP interface: it turns requests into commands, and outcomes into responses. It names neither the store nor the
//! locks.
//!
//! [`routes`] lists all routes, [`problem`] has the only error table, and [`responses`] has the bodies of all
//! responses.

pub mod auth;
pub mod body;
mod client_address;
mod content_encoding;
mod cors;
mod documents;
mod error_mapping;
pub mod handlers;
mod host_and_origin;
mod idempotency_key;
pub mod json;
mod media;
pub mod middleware;
pub mod needs;
pub mod openapi;
mod percent;
mod prefer_header;
pub mod problem;
pub mod query;
mod rate_limit;
mod reply;
pub mod request;
mod response_body;
pub mod responses;
pub mod routes;
pub mod schemas;
pub mod socket;
mod sse;
pub mod stored_response;
pub mod time;
mod trace;
pub mod validation;
pub mod version;
mod work_permits;

use std::sync::Arc;
use std::time::Duration;

use crate::api_keys::ApiKeys;
use crate::domain::api_key::caller::Caller;
use crate::seat_map::{SeatMaps, Streams};
use crate::service::bookings::BookingService;
use crate::service::catalogue::Catalogue;
use crate::service::queued_requests::QueuedRequests;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::tokens::Tokens;

pub use documents::Documents;
pub use error_mapping::plan_problem;
pub use host_and_origin::AllowedHosts;
pub use rate_limit::RateLimits;
pub use response_body::ResponseBudget;
pub use work_permits::WorkPermits;

use auth::InstallationKey;

/// The services and settings that handlers use.
pub struct Services {
    /// Commands, holds, bookings and blocks.
    pub bookings: Arc<BookingService>,
    /// The progress of queued requests, if there is a queue.
    pub queue: Option<Arc<QueuedRequests>>,
    /// Events, schedules, plans.
    pub catalogue: Arc<Catalogue>,
    /// Layouts of seats and their states.
    pub seat_maps: Arc<SeatMaps>,
    /// Streams of the changes of states.
    pub streams: Arc<Streams>,
    /// Readiness.
    pub health: Arc<Health>,
    /// Permits for large bodies and for work on other threads.
    pub work_permits: WorkPermits,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Whether the addresses of clients are recorded in the journal.
    pub audit_addresses: bool,
    /// `ADMIN_API_KEY`, if it is set. If not, requests need no key.
    pub admin_key: Option<InstallationKey>,
    /// The keys of the database.
    pub api_keys: Arc<ApiKeys>,
    /// Customer tokens, if there is an identity provider.
    pub tokens: Option<Arc<Tokens>>,
    /// The caller of requests without a key, where they need none.
    pub open_caller: Arc<Caller>,
    /// The limits of requests per second.
    pub rate_limits: RateLimits,
    /// The time limit of a request, from its head to its response.
    pub request_timeout: Duration,
    /// The time limit of a request body.
    pub body_timeout: Duration,
    /// The most bytes of a body.
    pub body_limit: usize,
    /// The most bytes of a body that contains a plan.
    pub plan_body_limit: usize,
    /// The lifetime of a hold if neither the request nor the schedule sets one.
    pub hold_ttl: Duration,
    /// The longest lifetime of a hold.
    pub hold_ttl_max: Duration,
    /// Whether `/metrics` is served on the port of the API.
    pub serve_metrics: bool,
    /// The OpenAPI document and its page, unless they are switched off.
    pub documents: Option<Documents>,
    /// The host names that a request may name.
    pub allowed_hosts: AllowedHosts,
    /// The memory budget of responses that are being sent.
    pub response_budget: ResponseBudget,
}

impl Services {
    /// Whether the API needs no key, so that shared caches may keep its answers.
    fn is_public(&self) -> bool {
        self.admin_key.is_none()
    }
}
