//! Requests that go through the queue in front: taken with 202, asked for later.

use std::time::{Duration, Instant};

use actix_web::http::{Method, header};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::command::{Action, Keyed};
use crate::domain::ids::{RequestId, ScheduleId};
use crate::http::middleware::Deadline;
use crate::http::prefer_header::{APPLIED, Prefer};
use crate::http::problem::{Code, EffectKnown, Problem, ProblemBody};
use crate::http::query::{NoParameters, Query};
use crate::http::{Services, reply, time};
use crate::service::queued_requests::{
    EnqueueError, RequestProgress, Requests, Status, estimate_s,
};
use crate::telemetry::metrics::queue::Accepted;

use super::{path_id, unless_known};

/// Where a request can be asked for.
const PLACE: &str = "/api/v1/booking-requests/";

/// When a client should ask again, in seconds.
const ASK_AGAIN: (header::HeaderName, header::HeaderValue) =
    (header::RETRY_AFTER, header::HeaderValue::from_static("1"));

/// What is left of a request's time for writing its answer.
const FOR_THE_ANSWER: Duration = Duration::from_secs(1);

/// How often the stream of a request tells its place.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// A request that went through the queue.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestBody {
    /// Its identifier.
    pub id: String,
    /// `queued`, `running`, `succeeded`, `failed` or `expired`.
    #[schema(example = "queued")]
    pub status: &'static str,
    /// RFC 3339; when it was accepted.
    pub accepted_at: String,
    /// RFC 3339; from then on it is not executed any more.
    pub expires_at: String,
    /// Its place in the queue of its schedule, from 1, as far as known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
    /// In how many seconds its turn should come, as far as known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_s: Option<u64>,
    /// The booking or hold that it has become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// The problem that the direct way would have answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<serde_json::Value>,
}

impl From<Status> for RequestBody {
    fn from(Status { id, progress, not_after }: Status) -> Self {
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
            RequestProgress::Waiting(Some(standing)) => {
                body.status = if standing.running { "running" } else { "queued" };
                body.place = Some(standing.position);
                body.estimate_s = estimate_s(&standing);
            }
            RequestProgress::Decided(answer) => {
                let written = serde_json::from_str(&answer.body).ok();
                if answer.status < 400 {
                    (body.status, body.result) = ("succeeded", written);
                } else {
                    let late = answer.status == Code::RequestExpired.status();
                    body.status = if late { "expired" } else { "failed" };
                    body.error = written;
                }
            }
        }
        body
    }
}

/// The front of the queue, if this request goes through it.
pub(super) fn front<'a>(services: &'a Services, request: &HttpRequest) -> Option<&'a Requests> {
    let front = services.requests.as_deref()?;
    (services.always_queued || Prefer::of(request).respond_async).then_some(front)
}

/// Takes a request into the queue, and says where to ask for it.
pub(super) async fn enqueue(
    services: &Services,
    front: &Requests,
    request: &HttpRequest,
    (schedule, action, keyed): (ScheduleId, Action, Option<Keyed>),
) -> Result<HttpResponse, Problem> {
    // With a key it may have had its effect already, which whoever executes it will see.
    if keyed.is_none() {
        unless_known(services, request, schedule, &action).await?;
    }
    let accepted = front.accept(schedule, action, keyed).await;
    services.metrics.queue.accepted(match &accepted {
        Ok(_) => Accepted::Queued,
        Err(EnqueueError::Full) => Accepted::Full,
        Err(EnqueueError::CustomerFull) => Accepted::CustomerFull,
        Err(EnqueueError::Away(_) | EnqueueError::NotQueued) => Accepted::Away,
        Err(EnqueueError::Unknown) => Accepted::Unknown,
    });
    let body = RequestBody::from(accepted?);
    let mut response = HttpResponse::Accepted();
    response.insert_header((header::LOCATION, format!("{PLACE}{}", body.id)));
    response.insert_header(ASK_AGAIN);
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if Prefer::of(request).respond_async {
        response.insert_header(APPLIED);
    }
    Ok(response.json(&body))
}

impl From<EnqueueError> for Problem {
    fn from(refused: EnqueueError) -> Self {
        match refused {
            EnqueueError::Full => Self::new(Code::Overloaded, "too many requests are queued"),
            EnqueueError::CustomerFull => {
                let detail = "as many requests of this customer wait for the schedule as may";
                let refused = Self::new(Code::QueueLimitReached, detail);
                Self { retryable: true, retry_after: Some(1), ..refused }
            }
            EnqueueError::Away(reason) => {
                Self::new(Code::DependencyUnavailable, "the queue did not take the request")
                    .because(reason)
            }
            EnqueueError::Unknown => Self {
                effect: EffectKnown::Unknown,
                ..Self::new(
                    Code::DependencyUnavailable,
                    "the queue did not confirm; repeat the request with the same Idempotency-Key",
                )
            },
            EnqueueError::NotQueued => Self::new(Code::Internal, "the request cannot be queued"),
        }
    }
}

/// A request that went through the queue. With `Prefer: wait=5` the answer comes as soon as it is decided,
/// or after 5 seconds.
#[utoipa::path(get, path = "/api/v1/booking-requests/{id}", tag = "customers",
    params(("id" = String, Path),
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>` (RFC 7240)")),
    responses((status = 200, body = RequestBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn read(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<NoParameters>,
) -> Result<HttpResponse, Problem> {
    let (front, id) = asked_for(&services, &request)?;
    let status = match Prefer::of(&request).wait {
        None => front.status(id).await?,
        Some(wait) => {
            let left = Deadline::of(&request).saturating_duration_since(Instant::now());
            front.wait(id, wait.min(left.saturating_sub(FOR_THE_ANSWER))).await?
        }
    };
    let status = status.ok_or_else(|| Problem::not_found("request"))?;
    let over = status.is_over();
    let mut response = reply::json(&RequestBody::from(status));
    if !over {
        response.headers_mut().insert(ASK_AGAIN.0, ASK_AGAIN.1);
    }
    Ok(response)
}

/// A request as it stands, as server-sent events: `status` whenever that has changed, at most once a
/// second; `outcome` when it is over, or `bye` when the service is stopping. Then the stream ends.
#[utoipa::path(get, path = "/api/v1/booking-requests/{id}/stream", tag = "customers",
    params(("id" = String, Path)),
    responses((status = 200, description = "events", content_type = "text/event-stream", body = String),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn listen(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<NoParameters>,
) -> Result<HttpResponse, Problem> {
    let (front, id) = asked_for(&services, &request)?;
    let status = front.status(id).await?.ok_or_else(|| Problem::not_found("request"))?;
    if request.method() == Method::HEAD {
        return Ok(super::stream::head());
    }
    let first = Telling { services: services.clone(), id, told: Vec::new(), is_over: false };
    let events = stream::unfold((first, Some(status)), |(mut telling, status)| async {
        let frame = telling.next(status).await?;
        Some((Ok::<_, actix_web::Error>(frame), (telling, None)))
    });
    let mut response = super::stream::events();
    Ok(response.streaming(events))
}

/// What the listener of one request has been told.
struct Telling {
    services: Data<Services>,
    id: RequestId,
    told: Vec<u8>,
    is_over: bool,
}

impl Telling {
    /// The next event; none after the last.
    async fn next(&mut self, known: Option<Status>) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let front = self.services.requests.as_deref()?;
        let status = match known {
            Some(status) => Some(status),
            None => front.wait(self.id, TELL_INTERVAL).await.ok().flatten(),
        };
        if self.services.health.is_draining() && !status.as_ref().is_some_and(Status::is_over) {
            self.is_over = true;
            return Some(Bytes::from_static(b"event: bye\ndata: {\"reason\":\"draining\"}\n\n"));
        }
        // The database is away for a moment: the listener is told when it is back.
        let Some(status) = status else { return Some(Bytes::from_static(b":\n\n")) };
        self.is_over = status.is_over();
        let name = if self.is_over { "outcome" } else { "status" };
        let data = serde_json::to_vec(&RequestBody::from(status)).unwrap_or_default();
        if data == self.told {
            return Some(Bytes::from_static(b":\n\n"));
        }
        self.told.clone_from(&data);
        let frame = [b"event: ", name.as_bytes(), b"\ndata: ", &data, b"\n\n"].concat();
        Some(Bytes::from(frame))
    }
}

fn asked_for<'a>(
    services: &'a Services,
    request: &HttpRequest,
) -> Result<(&'a Requests, RequestId), Problem> {
    let id: RequestId = path_id(request, "id", "request")?;
    let front = services.requests.as_deref();
    Ok((front.ok_or_else(|| Problem::not_found("request"))?, id))
}
