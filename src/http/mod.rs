//! HTTP: requests to commands, outcomes to answers. It knows no store and no lock.
//!
//! A handler is short: read and check the body, hand it on, write the answer. [`routes`] is the API on one
//! page, [`problem`] the only error table, [`answers`] the form of every answer.

pub mod auth;
pub mod body;
mod content_encoding;
mod documents;
mod error_mapping;
pub mod fields;
mod guard;
pub mod handlers;
mod heavy;
mod idempotency_key;
pub mod json;
mod limit;
mod media;
pub mod middleware;
pub mod openapi;
mod outgoing;
mod percent;
mod prefer_header;
pub mod problem;
pub mod query;
mod reply;
pub mod responses;
pub mod routes;
pub mod stored_response;
pub mod time;
mod trace;
pub mod version;

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::command::Keyed;
use crate::seat_map::{SeatMaps, Streams};
use crate::service::bookings::Reservation;
use crate::service::catalogue::Catalogue;
use crate::service::queued_requests::Requests;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

pub use documents::Documents;
pub use error_mapping::plan_problem;
pub use guard::Hosts;
pub use heavy::Heavy;
pub use limit::RateLimit;
pub use outgoing::Budget;

use auth::ApiKey;
use idempotency_key::KeyHeader;
use problem::Problem;
use reply::Readers;

/// What handlers work with.
pub struct Services {
    /// Commands and claims.
    pub reservation: Arc<Reservation>,
    /// Requests through the queue in front, if there is one.
    pub requests: Option<Arc<Requests>>,
    /// Whether all requests for seats go through it, or only those that ask for it.
    pub always_queued: bool,
    /// Events, schedules, plans.
    pub catalogue: Arc<Catalogue>,
    /// Layouts and states.
    pub seat_maps: Arc<SeatMaps>,
    /// States as they change.
    pub streams: Arc<Streams>,
    /// Readiness.
    pub health: Arc<Health>,
    /// Places for work that is done away from the event loops.
    pub heavy: Heavy,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The key callers must know, if any.
    pub api_key: Option<ApiKey>,
    /// Requests per second and client address, if limited.
    pub rate_limit: Option<RateLimit>,
    /// From the head of a request to its answer.
    pub request_timeout: Duration,
    /// For the body of a request.
    pub body_timeout: Duration,
    /// Bytes of a body.
    pub body_limit: usize,
    /// Bytes of a body that carries a plan.
    pub plan_body_limit: usize,
    /// The life of a hold that does not ask for one, unless its schedule says otherwise.
    pub hold_ttl: Duration,
    /// The longest life of a hold.
    pub hold_ttl_max: Duration,
    /// Whether `/metrics` is served here or elsewhere.
    pub serve_metrics: bool,
    /// The API's document and its page, unless they are switched off.
    pub documents: Option<Documents>,
    /// By which names the service may be addressed.
    pub hosts: Hosts,
    /// Room for answers on their way.
    pub budget: Budget,
}

impl Services {
    /// Who may read what is not one caller's own.
    fn readers(&self) -> Readers {
        if self.api_key.is_some() { Readers::KeyHolders } else { Readers::Anybody }
    }

    /// Reads a JSON body of ordinary size, and the Idempotency-Key it came with.
    pub(crate) async fn json<T: DeserializeOwned + Serialize>(
        &self,
        request: &HttpRequest,
        payload: Payload,
    ) -> Result<(T, Option<Keyed>), Problem> {
        body::expect_json(request)?;
        let body = body::read(request, payload, self.body_limit, self.body_timeout).await?;
        let parsed = body::parse(&body)?;
        let keyed = idempotency_key::keyed(request, &parsed)?;
        Ok((parsed, keyed))
    }

    /// The same for a body that may name all seats of a hall: it is parsed and checked away from the event
    /// loop.
    pub(crate) async fn large_json<T: DeserializeOwned + Serialize, U: Send + 'static>(
        &self,
        request: &HttpRequest,
        payload: Payload,
        check: impl FnOnce(T) -> Result<U, Problem> + Send + 'static,
    ) -> Result<(U, Option<Keyed>), Problem> {
        body::expect_json(request)?;
        let work = move |body: &[u8], key: Option<KeyHeader>| {
            let parsed: T = body::parse(body)?;
            let keyed = key.map(|key| key.keyed(&parsed)).transpose()?;
            Ok((check(parsed)?, keyed))
        };
        self.large(request, payload, work).await
    }

    /// Reads a large body and works on it away from the event loop, with what the request says of its key.
    pub(crate) async fn large<T: Send + 'static>(
        &self,
        request: &HttpRequest,
        payload: Payload,
        work: impl FnOnce(&[u8], Option<KeyHeader>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let key = KeyHeader::of(request)?;
        let place = self.heavy.place_for_body(request, self.body_limit)?;
        let body = body::read(request, payload, self.plan_body_limit, self.body_timeout).await?;
        let work = move || {
            let done = work(&body, key);
            drop((body, place));
            done
        };
        self.heavy.run(work).await
    }

    /// The same for a body that may be left out.
    pub(crate) async fn optional_json<T: DeserializeOwned + Serialize + Default>(
        &self,
        request: &HttpRequest,
        payload: Payload,
    ) -> Result<(T, Option<Keyed>), Problem> {
        let body = body::read(request, payload, self.body_limit, self.body_timeout).await?;
        // An empty body needs no type. If it has one, the type must be right: a browser sends an empty form
        // for any page, without asking first.
        if !body.is_empty() || request.headers().contains_key(header::CONTENT_TYPE) {
            body::expect_json(request)?;
        }
        let parsed = if body.is_empty() { T::default() } else { body::parse(&body)? };
        let keyed = idempotency_key::keyed(request, &parsed)?;
        Ok((parsed, keyed))
    }
}
