//! A request of the API as a handler receives it: services, query, path and body.

use std::future::{Ready, ready};
use std::str::FromStr;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::auth::Authenticated;
use super::idempotency_key::KeyHeader;
use super::needs::{Access, MethodAccess, Needs};
use super::problem::{Code, Problem};
use super::query::{self, Parameters};
use super::{Services, body, idempotency_key, percent, rate_limit};
use crate::domain::api_key::caller::Caller;
use crate::domain::command::Keyed;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{CustomerId, ScheduleId};
use crate::seat_map::LoadedSchedule;

/// The result of a handler.
pub type HttpResult = Result<HttpResponse, Problem>;

/// A request whose caller may send it and whose query is valid, with the services.
pub struct ApiRequest<Q> {
    pub(super) services: Data<Arc<Services>>,
    /// Who sends the request; `None` outside of the API.
    pub(super) caller: Option<Arc<Caller>>,
    pub(super) request: HttpRequest,
    pub(super) query: Q,
    payload: Payload,
}

impl<Q: Parameters> FromRequest for ApiRequest<Q> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let mut read = || {
            let services = request.app_data::<Data<Arc<Services>>>().cloned();
            let services = services.ok_or_else(|| Problem::new(Code::Internal, "no services"))?;
            let caller = admitted(request)?;
            let query = query::read(request.query_string(), request.headers())?;
            Ok(Self { services, caller, request: request.clone(), query, payload: payload.take() })
        };
        ready(read())
    }
}

/// The caller of a request, if it has what the route needs.
fn admitted(request: &HttpRequest) -> Result<Option<Arc<Caller>>, Problem> {
    let unstated = || Problem::new(Code::Internal, "the route does not state what it needs");
    let MethodAccess { needs, key_in_query, .. } = Access::of(request).ok_or_else(unstated)?;
    if needs == Needs::Nothing {
        return Ok(None);
    }
    let missing = || Problem::new(Code::Internal, "the caller was not authenticated");
    let Authenticated { caller, in_query } = Authenticated::of(request).ok_or_else(missing)?;
    if in_query && !key_in_query {
        let detail = "only streams take a key in the query; send it as a bearer token";
        return Err(Problem::new(Code::Unauthenticated, detail));
    }
    needs.check(&caller)?;
    Ok(Some(caller))
}

impl<Q> ApiRequest<Q> {
    /// Who sends the request. A route outside of the API has no caller.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        self.caller.as_deref().ok_or_else(|| Problem::new(Code::Internal, "there is no caller"))
    }

    /// Counts a request for seats against the rate limit of the customer.
    pub(super) fn count_customer(&self, customer: &CustomerId) -> Result<(), Problem> {
        rate_limit::check_customer(&self.services, &self.request, customer)
    }

    /// Parses an id in the path. A text that is not an id is answered as not found.
    pub(super) fn path_id<T: FromStr>(&self, name: &str, what: &str) -> Result<T, Problem> {
        let text = percent::path_parameter(&self.request, name)?;
        text.parse().map_err(|_| Problem::not_found(what))
    }

    /// A schedule with its layout.
    pub(super) async fn schedule(&self, id: ScheduleId) -> Result<Arc<LoadedSchedule>, Problem> {
        self.schedule_of(id, "schedule").await
    }

    /// The schedule of `what` the request names, with its layout. Without the schedule, that is not found.
    pub(super) async fn schedule_of(
        &self,
        id: ScheduleId,
        what: &str,
    ) -> Result<Arc<LoadedSchedule>, Problem> {
        if let Some(found) = self.services.seat_maps.loaded(id) {
            return Ok(found);
        }
        let found = self.in_time(self.services.seat_maps.schedule(id)).await?;
        found.ok_or_else(|| Problem::not_found(what))
    }

    /// Waits for a read, at most for the request timeout.
    pub(super) fn in_time<'a, T: 'a>(
        &self,
        read: impl Future<Output = Result<T, StoreError>> + 'a,
    ) -> impl Future<Output = Result<T, Problem>> + 'a {
        // Boxed: this future is seldom needed, and would otherwise enlarge the future of every request.
        let read = tokio::time::timeout(self.services.request_timeout, Box::pin(read));
        async move {
            let detail = "the database did not answer in time";
            let late = |_| Problem::new(Code::DependencyUnavailable, detail);
            Ok(read.await.map_err(late)??)
        }
    }

    async fn body(&mut self, limit: usize) -> Result<Bytes, Problem> {
        body::read(&self.request, &mut self.payload, limit, self.services.body_timeout).await
    }

    /// Reads a JSON body of ordinary size, and the Idempotency-Key with its fingerprint.
    pub(super) async fn json<T: DeserializeOwned + Serialize>(
        &mut self,
    ) -> Result<(T, Option<Keyed>), Problem> {
        body::expect_json(&self.request)?;
        let parsed = body::parse(&self.body(self.services.body_limit).await?)?;
        let keyed = idempotency_key::keyed(&self.request, self.caller()?, &parsed)?;
        Ok((parsed, keyed))
    }

    /// Like [`Self::json`], for a body that may be omitted or null.
    pub(super) async fn optional_json<T: DeserializeOwned + Serialize + Default>(
        &mut self,
    ) -> Result<(T, Option<Keyed>), Problem> {
        let body = self.body(self.services.body_limit).await?;
        // An empty body needs no Content-Type, but a wrong one is refused: any page can make a browser send an empty
        // form without a preflight request.
        if !body.is_empty() || self.request.headers().contains_key(header::CONTENT_TYPE) {
            body::expect_json(&self.request)?;
        }
        let parsed = if body.is_empty() { None } else { body::parse::<Option<T>>(&body)? };
        let parsed = parsed.unwrap_or_default();
        let keyed = idempotency_key::keyed(&self.request, self.caller()?, &parsed)?;
        Ok((parsed, keyed))
    }

    /// Like [`Self::json`], for a body that may name all seats of a hall: it is parsed and checked on another thread.
    pub(super) async fn large_json<T: DeserializeOwned + Serialize, U: Send + 'static>(
        &mut self,
        check: impl FnOnce(T) -> Result<U, Problem> + Send + 'static,
    ) -> Result<(U, Option<Keyed>), Problem> {
        body::expect_json(&self.request)?;
        let work = move |body: &[u8], key: Option<KeyHeader>| {
            let parsed: T = body::parse(body)?;
            let keyed = key.map(|key| key.keyed(&parsed)).transpose()?;
            Ok((check(parsed)?, keyed))
        };
        self.large_body(work).await
    }

    /// Reads a large body and processes it on another thread, with the Idempotency-Key of the request.
    pub(super) async fn large_body<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&[u8], Option<KeyHeader>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let services = self.services.clone();
        let key = KeyHeader::of(&self.request, self.caller()?)?;
        let permit = services.work_permits.permit_for_body(&self.request, services.body_limit)?;
        let body = self.body(services.plan_body_limit).await?;
        let work = move || {
            let done = work(&body, key);
            drop((body, permit));
            done
        };
        services.work_permits.run_blocking(work).await
    }
}
