//! HTTP: requests to commands, outcomes to answers. It names no store and no lock.
//!
//! [`routes`] is the API on one page, [`problem`] the only error table, [`responses`] the form of every answer.

pub mod auth;
pub mod body;
mod content_encoding;
mod documents;
mod error_mapping;
pub mod handlers;
mod host_and_origin;
mod idempotency_key;
pub mod json;
mod media;
pub mod middleware;
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
mod sse;
pub mod stored_response;
pub mod time;
mod trace;
pub mod validation;
pub mod version;
mod work_permits;

use std::sync::Arc;
use std::time::Duration;

use crate::seat_map::{SeatMaps, Streams};
use crate::service::bookings::BookingService;
use crate::service::catalogue::Catalogue;
use crate::service::queued_requests::QueuedRequests;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

pub use documents::Documents;
pub use error_mapping::plan_problem;
pub use host_and_origin::AllowedHosts;
pub use rate_limit::RateLimit;
pub use response_body::ResponseBudget;
pub use work_permits::WorkPermits;

use auth::ApiKey;

/// What handlers work with.
pub struct Services {
    /// Commands, holds, bookings and blocks.
    pub bookings: Arc<BookingService>,
    /// The progress of queued requests, if there is a queue.
    pub queue: Option<Arc<QueuedRequests>>,
    /// Events, schedules, plans.
    pub catalogue: Arc<Catalogue>,
    /// Layouts and states.
    pub seat_maps: Arc<SeatMaps>,
    /// States as they change.
    pub streams: Arc<Streams>,
    /// Readiness.
    pub health: Arc<Health>,
    /// Permits for large bodies and for work on other threads.
    pub work_permits: WorkPermits,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The key of callers, if one is needed.
    pub api_key: Option<ApiKey>,
    /// Requests per second and client address, if limited.
    pub rate_limit: Option<RateLimit>,
    /// From the head of a request to its answer.
    pub request_timeout: Duration,
    /// For the body of a request.
    pub body_timeout: Duration,
    /// Bytes of a body.
    pub body_limit: usize,
    /// Bytes of a body that has a plan.
    pub plan_body_limit: usize,
    /// The life of a hold if neither the request nor the schedule has one.
    pub hold_ttl: Duration,
    /// The longest life of a hold.
    pub hold_ttl_max: Duration,
    /// Whether `/metrics` is served at the port of the API.
    pub serve_metrics: bool,
    /// The API's document and its page, unless they are switched off.
    pub documents: Option<Documents>,
    /// The host names of the service.
    pub allowed_hosts: AllowedHosts,
    /// Memory for answers that are being sent.
    pub response_budget: ResponseBudget,
}

impl Services {
    /// Whether the API needs no key, so that shared caches may keep its answers.
    fn is_public(&self) -> bool {
        self.api_key.is_none()
    }
}
