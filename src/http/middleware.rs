//! The outermost middleware of every request. Before the handler it sets the id, the trace and the deadline; after the
//! handler it writes the log line, the metrics and the body of an error. It also catches a panic of a handler.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, Version};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use futures_util::FutureExt as _;

use crate::telemetry::metrics::http::HttpMethod;
use crate::telemetry::request_context::{RequestContext, RequestIds};

use super::problem::{Code, Problem, problem_response};
use super::response_body::ResponseBody;
use super::{Services, cors, host_and_origin, rate_limit, trace};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// When a request must be answered.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The deadline of a request; the current time if the request did not pass this middleware.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Instant {
        request.extensions().get::<Self>().map_or_else(Instant::now, |deadline| deadline.0)
    }
}

/// Handles a request in its own log context, from its arrival to its response.
pub async fn request_log<B: MessageBody + 'static>(
    services: web::Data<Arc<Services>>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<ResponseBody>, actix_web::Error> {
    let start = RequestStart {
        began: Instant::now(),
        method: HttpMethod::of(request.method().as_str()),
        takes_seats: takes_seats(&request),
        is_encrypted: request.app_config().secure(),
        ids: Arc::new(RequestIds {
            id: request_id(request.headers().get(&REQUEST_ID)),
            trace: trace::of(request.headers(), fastrand::u64(..)),
        }),
    };
    let context = RequestContext::request(Arc::clone(&start.ids));
    context.during(answer(services, request, next, start)).await
}

/// The properties of a request before it is handled.
struct RequestStart {
    began: Instant,
    method: HttpMethod,
    takes_seats: bool,
    is_encrypted: bool,
    ids: Arc<RequestIds>,
}

async fn answer<B: MessageBody + 'static>(
    services: web::Data<Arc<Services>>,
    request: ServiceRequest,
    next: Next<B>,
    start: RequestStart,
) -> Result<ServiceResponse<ResponseBody>, actix_web::Error> {
    request.extensions_mut().insert(Deadline(start.began + services.request_timeout));
    let in_flight = InFlight::begin(&services.metrics.http.in_flight);
    // actix gives the router mutable access to the request, so no clone of the request may exist here.
    let answered = match host_and_origin::check(&services, &request) {
        Err(problem) => request.error_response(problem),
        Ok(()) => match AssertUnwindSafe(next.call(request)).catch_unwind().await {
            Ok(response) => response?.map_into_boxed_body(),
            Err(_) => return Err(panicked(&services, &start)),
        },
    };
    let (answered, problem) = with_problem_body(answered, &start.ids.id);
    let (mut response, problem) = with_counted_body(&services, answered, problem, &start.ids.id);
    drop(in_flight);
    set_headers(response.response_mut(), &start);
    rate_limit::set_headers(&mut response);
    cors::set_headers(&services, &mut response);
    close_without_chunking(&mut response);
    if services.health.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let route = response.request().match_pattern();
    let status = response.status().as_u16();
    let took = start.began.elapsed();
    count(&services, &start, route.as_deref(), status, problem.as_ref(), took);
    log_answer(&response, problem.as_ref(), took);
    Ok(response)
}

/// HTTP/1.0 has no chunked encoding: a body of unknown length ends with its connection (RFC 9112 §6.1, §6.3).
fn close_without_chunking<B: MessageBody>(response: &mut ServiceResponse<B>) {
    let is_old = response.request().version() < Version::HTTP_11;
    if is_old && response.response().body().size() == BodySize::Stream {
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
}

/// Whether this is a request to hold, book or confirm.
fn takes_seats(request: &ServiceRequest) -> bool {
    const PATHS: [&str; 2] = ["/api/v1/bookings", "/api/v1/holds"];
    *request.method() == Method::POST && PATHS.contains(&request.path())
}

fn count(
    services: &Services,
    start: &RequestStart,
    route: Option<&str>,
    status: u16,
    problem: Option<&Problem>,
    took: Duration,
) {
    let metrics = &services.metrics;
    metrics.http.answered(start.method, route, status, took);
    if let Some(problem) = problem {
        metrics.reservation.answered_problem(problem.code.name(), status);
    }
    if start.takes_seats {
        metrics.reservation.answered(status);
    }
}

/// Adds the ids that identify the request in the log, and the security headers.
fn set_headers<B>(response: &mut HttpResponse<B>, start: &RequestStart) {
    let RequestStart { ids, is_encrypted, .. } = start;
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&ids.id) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(value) = ids.trace.as_ref().and_then(trace::response) {
        headers.insert(trace::TRACERESPONSE, value);
    }
    host_and_origin::set_security_headers(headers, *is_encrypted);
}

/// The answer to a request whose handler panicked; the panic has been logged already.
fn panicked(services: &Services, start: &RequestStart) -> actix_web::Error {
    let problem = Problem::new(Code::Internal, "the request failed");
    let took = start.began.elapsed();
    count(services, start, None, problem.code.status(), Some(&problem), took);
    let mut response = problem_response(&problem, &start.ids.id);
    set_headers(&mut response, start);
    InternalError::from_response(problem, response).into()
}

/// The caller's own id if it is short and printable, a new one otherwise.
fn request_id(given: Option<&HeaderValue>) -> String {
    let given = given.and_then(|value| value.to_str().ok());
    let fits =
        |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    match given.filter(fits) {
        Some(id) => id.to_owned(),
        None => format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)),
    }
}

/// Replaces the body of a failed response by a problem, unless the handler wrote a body of its own.
fn with_problem_body(response: ServiceResponse, id: &str) -> (ServiceResponse, Option<Problem>) {
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return (response, None);
    }
    let has_body = !matches!(response.response().body().size(), BodySize::None)
        && response.headers().contains_key(header::CONTENT_TYPE);
    let problem = match response.response().error() {
        Some(error) => error.as_error::<Problem>().cloned().unwrap_or_else(|| {
            by_status(error.as_response_error().status_code().as_u16(), &error.to_string())
        }),
        None if has_body => return (response, None),
        None => by_status(response.status().as_u16(), ""),
    };
    (response.into_response(problem_response(&problem, id)), Some(problem))
}

/// The response with its body in slices, or a problem if the memory budget is exhausted.
fn with_counted_body(
    services: &Services,
    response: ServiceResponse,
    problem: Option<Problem>,
    id: &str,
) -> (ServiceResponse<ResponseBody>, Option<Problem>) {
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    match services.response_budget.body(request.method(), request.path(), body) {
        Ok(body) => (ServiceResponse::new(request, head.set_body(body)), problem),
        Err(full) => {
            let response =
                problem_response(&full, id).map_body(|_, body| ResponseBody::uncounted(body));
            (ServiceResponse::new(request, response), Some(full))
        }
    }
}

/// The problem of an error of actix itself.
fn by_status(status: u16, detail: &str) -> Problem {
    let code = match status {
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        408 => Code::RequestTimeout,
        413 => Code::PayloadTooLarge,
        415 => Code::UnsupportedMediaType,
        400..500 => Code::BadRequest,
        _ => Code::Internal,
    };
    let detail = if detail.is_empty() || status >= 500 { code.title() } else { detail };
    Problem::new(code, detail)
}

/// Logs a response, with the cause of its problem unless the cause has been logged before. Deliberate refusals are
/// counted, and logged at debug level only; the service logs separately that it has begun to refuse requests.
fn log_answer<B>(response: &ServiceResponse<B>, problem: Option<&Problem>, took: Duration) {
    let status = response.status().as_u16();
    let level = match problem.map(|problem| problem.code) {
        Some(Code::Internal) => log::Level::Error,
        Some(Code::Overloaded | Code::ReadOnly | Code::Draining) => log::Level::Debug,
        Some(_) if status >= 500 => log::Level::Warn,
        _ => log::Level::Debug,
    };
    if log::log_enabled!(level) {
        let request = response.request();
        let code = problem.map(|problem| problem.code.name());
        let reason = problem.and_then(|problem| problem.reason.as_deref());
        log::log!(
            level,
            method = request.method().as_str(), path = request.path(), status = status,
            code = code, reason = reason, ms = took.as_secs_f64() * 1_000.0;
            "answered"
        );
    }
}

/// Counts a request as in flight until it is dropped.
struct InFlight<'a>(&'a prometheus::IntGauge);

impl<'a> InFlight<'a> {
    fn begin(gauge: &'a prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
