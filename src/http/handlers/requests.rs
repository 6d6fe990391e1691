//! Queued requests: a request is accepted with 202; then its client polls its status or listens to a stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::http::{Method, header};
use actix_web::web::{Bytes, Data};
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ids::RequestId;
use crate::http::middleware::Deadline;
use crate::http::prefer_header::{APPLIED, Prefer};
use crate::http::problem::{Code, Problem};
use crate::http::query::NoParameters;
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::schemas::{RequestEvent, RequestStatusName, ScopedId, Timestamp};
use crate::http::sse::{self, sse_event};
use crate::http::{Services, json, reply, time};
use crate::service::queued_requests::{QueuedRequests, RequestProgress, RequestStatus, estimate_s};

const LOCATION: &str = "/api/v1/booking-requests/";

/// When a client should poll again, in seconds.
const RETRY_AFTER: (header::HeaderName, header::HeaderValue) =
    (header::RETRY_AFTER, header::HeaderValue::from_static("1"));

/// The part of the request timeout that is left for writing the response.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// How often the stream of a request updates its position.
const UPDATE_INTERVAL: Duration = Duration::from_secs(1);

/// A request that went through the queue.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestBody {
    /// Its identifier.
    #[schema(value_type = ScopedId)]
    pub id: String,
    /// `queued`, `running`, `succeeded`, `failed` or `expired`.
    #[schema(value_type = RequestStatusName)]
    pub status: &'static str,
    /// When it was accepted.
    #[schema(value_type = Timestamp)]
    pub accepted_at: String,
    /// From this time on the request is not executed.
    #[schema(value_type = Timestamp)]
    pub expires_at: String,
    /// Its position in the queue of its schedule, from 1; absent if not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
    /// The estimated seconds until it is executed; absent if not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_s: Option<u64>,
    /// The booking or hold that the request created.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<serde_json::Value>,
    /// The problem with which the same request without a queue would have been answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error: Option<serde_json::Value>,
}

impl From<RequestStatus> for RequestBody {
    fn from(RequestStatus { id, progress, not_after }: RequestStatus) -> Self {
        let mut body = Self {
            id: id.to_string(),
            status: "queued",
            accepted_at: time::write(id.made_at()),
            expires_at: time::write(not_after),
            place: None,
            estimate_s: None,
            result: None,
            error: None,
        };
        match progress {
            RequestProgress::Waiting(None) => {}
            RequestProgress::Waiting(Some(position)) => {
                body.status = if position.running { "running" } else { "queued" };
                body.place = Some(position.position);
                body.estimate_s = estimate_s(&position);
            }
            RequestProgress::Decided(answer) if answer.status < 400 => {
                body.status = "succeeded";
                body.result = serde_json::from_str(&answer.body).ok();
            }
            RequestProgress::Decided(answer) => {
                let is_expired = answer.status == Code::RequestExpired.status();
                body.status = if is_expired { "expired" } else { "failed" };
                body.error = serde_json::from_str(&answer.body).ok();
            }
        }
        body
    }
}

/// The response to a request that was queued.
pub(super) fn accepted(status: RequestStatus, prefer: Prefer) -> HttpResponse {
    let body = RequestBody::from(status);
    let mut response = HttpResponse::Accepted();
    response.insert_header((header::LOCATION, format!("{LOCATION}{}", body.id)));
    response.insert_header(RETRY_AFTER);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if prefer.respond_async {
        response.insert_header(APPLIED);
    }
    response.json(&body)
}

impl ApiRequest<NoParameters> {
    fn queued_request(&self) -> Result<(&QueuedRequests, RequestId), Problem> {
        let id: RequestId = self.path_id("id", "request")?;
        let queue = self.services.queue.as_deref();
        Ok((queue.ok_or_else(|| Problem::not_found("request"))?, id))
    }
}

/// A request that went through the queue. With `Prefer: wait=5` the response is sent as soon as the request has an
/// outcome, or after 5 seconds.
#[utoipa::path(operation_id = "read_booking_request", get, path = "/api/v1/booking-requests/{id}", tag = "customers",
    params(("id" = String, Path),
        ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = RequestBody)))]
pub async fn read(api: ApiRequest<NoParameters>) -> HttpResult {
    let (queue, id) = api.queued_request()?;
    let status = match Prefer::of(&api.request).wait {
        None => queue.status(id).await?,
        Some(wait) => {
            let left = Deadline::of(&api.request).saturating_duration_since(Instant::now());
            queue.wait(id, wait.min(left.saturating_sub(ANSWER_TIME))).await?
        }
    };
    let status = status.ok_or_else(|| Problem::not_found("request"))?;
    let is_decided = status.is_decided();
    let mut response = reply::json(&RequestBody::from(status));
    if !is_decided {
        response.headers_mut().insert(RETRY_AFTER.0, RETRY_AFTER.1);
    }
    Ok(response)
}

/// The progress of a request, as server-sent events: `status` whenever it has changed, at most once a second;
/// `outcome` when it is decided, or `bye` when the service is stopping. Then the stream ends.
#[utoipa::path(operation_id = "stream_booking_request", get, path = "/api/v1/booking-requests/{id}/stream", tag = "customers",
    params(("id" = String, Path)),
    responses((status = 200, description = "events", content_type = "text/event-stream", body = RequestEvent)))]
pub async fn listen(api: ApiRequest<NoParameters>) -> HttpResult {
    let (queue, id) = api.queued_request()?;
    let status = queue.status(id).await?.ok_or_else(|| Problem::not_found("request"))?;
    if api.request.method() == Method::HEAD {
        return Ok(sse::head());
    }
    let events = Events { services: api.services.clone(), id, sent: Vec::new(), is_over: false };
    let events = stream::unfold((events, Some(status)), |(mut events, status)| async {
        let frame = events.next(status).await?;
        Some((Ok::<_, actix_web::Error>(frame), (events, None)))
    });
    Ok(sse::response().streaming(events))
}

/// The events of one request.
struct Events {
    services: Data<Arc<Services>>,
    id: RequestId,
    /// The data of the last event.
    sent: Vec<u8>,
    is_over: bool,
}

impl Events {
    /// The next event, built from `status` if it is given; `None` after the last event.
    async fn next(&mut self, status: Option<RequestStatus>) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let status = match status {
            Some(status) => Some(status),
            None => {
                let queue = self.services.queue.as_deref()?;
                queue.wait(self.id, UPDATE_INTERVAL).await.ok().flatten()
            }
        };
        let is_decided = status.as_ref().is_some_and(RequestStatus::is_decided);
        if self.services.health.is_draining() && !is_decided {
            self.is_over = true;
            return Some(Bytes::from(sse::bye("draining")));
        }
        // The database is unavailable at the moment: the next event is sent when it is available again.
        let Some(status) = status else { return Some(Bytes::from_static(sse::KEEP_ALIVE)) };
        self.is_over = is_decided;
        let data = json::write(&RequestBody::from(status)).into_bytes();
        if data == self.sent {
            return Some(Bytes::from_static(sse::KEEP_ALIVE));
        }
        let name = if is_decided { "outcome" } else { "status" };
        let frame = sse_event(name, None, &data);
        self.sent = data;
        Some(Bytes::from(frame))
    }
}
