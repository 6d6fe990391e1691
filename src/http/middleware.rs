//! The outermost layer of every request: its id, trace and deadline on the way in; log, metrics and the form of
//! errors on the way out. A handler's panic ends here as a 500.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, Version};
use actix_web::middleware::Next;
#[cfg(target_os = "linux")]
use actix_web::rt::net::TcpStream;
use actix_web::{HttpMessage as _, HttpRequest, web};
use futures_util::FutureExt as _;
#[cfg(target_os = "linux")]
use socket2::SockRef;

use crate::telemetry::metrics::http::HttpMethod;
use crate::telemetry::request_context::{RequestContext, RequestIds};

use super::outgoing::Outgoing;
use super::problem::{Code, Problem, problem_response};
use super::{Services, guard, trace};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes that the system keeps of an answer that is not on its way yet: more would be memory that slow
/// clients hold, and hide from the streams that they are slow.
#[cfg(target_os = "linux")]
const UNSENT_MAX: u32 = 64 * 1024;

/// Has the system cut a connection off whose client takes nothing of what is sent for this long: such a
/// client holds memory, and one that is gone without a word would hold it for hours (RFC 5482).
#[cfg(target_os = "linux")]
pub fn bound_sending(connection: &dyn Any, patience: Duration) {
    let Some(connection) = connection.downcast_ref::<TcpStream>() else { return };
    let socket = SockRef::from(connection);
    let bounded = socket
        .set_tcp_user_timeout(Some(patience))
        .and_then(|()| socket.set_tcp_notsent_lowat(UNSENT_MAX));
    if let Err(error) = bounded {
        log::debug!("a connection has no limits for sending: {error}");
    }
}

/// Other systems have no such options, or others; the service is meant for Linux.
#[cfg(not(target_os = "linux"))]
pub fn bound_sending(_: &dyn Any, _: Duration) {}

/// When a request must be answered.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The deadline of a request; a request that did not pass the edge has had its time.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Instant {
        request.extensions().get::<Self>().map_or_else(Instant::now, |deadline| deadline.0)
    }
}

/// Wraps a request.
pub async fn request_log<B: MessageBody + 'static>(
    services: web::Data<Services>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<Outgoing>, actix_web::Error> {
    let arrival = RequestStart {
        began: Instant::now(),
        method: HttpMethod::of(request.method().as_str()),
        asks_for_seats: asks_for_seats(&request),
        request: RequestIds {
            id: request_id(request.headers().get(&REQUEST_ID)),
            trace: trace::of(request.headers(), fastrand::u64(..)),
        },
    };
    let context = RequestContext::request(arrival.request.clone());
    context.during(answer(services, request, next, arrival)).await
}

/// What is known of a request before anybody has looked at it.
struct RequestStart {
    began: Instant,
    method: HttpMethod,
    asks_for_seats: bool,
    request: RequestIds,
}

async fn answer<B: MessageBody + 'static>(
    services: web::Data<Services>,
    request: ServiceRequest,
    next: Next<B>,
    arrival: RequestStart,
) -> Result<ServiceResponse<Outgoing>, actix_web::Error> {
    let id = arrival.request.id.as_str();
    request.extensions_mut().insert(Deadline(arrival.began + services.request_timeout));
    let in_flight = InFlight::begin(&services);
    // actix lends the request mutably to the router, so nobody may keep a copy of it here.
    let answered = match guard::admit(&services, &request) {
        Err(problem) => request.error_response(problem),
        Ok(()) => match AssertUnwindSafe(next.call(request)).catch_unwind().await {
            Ok(response) => response?.map_into_boxed_body(),
            Err(_) => return Err(panicked(&services, &arrival)),
        },
    };
    let (answered, problem) = in_problem_form(answered, id);
    let (mut response, problem) = outgoing(&services, answered, problem, id);
    drop(in_flight);
    put_names(response.headers_mut(), &arrival.request);
    guard::protect(response.headers_mut());
    end_by_closing(&mut response);
    if services.health.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let route = response.request().match_pattern();
    count(&services, &arrival, (route.as_deref(), response.status().as_u16()), problem.as_ref());
    log_answer(&response, problem.as_ref(), arrival.began.elapsed());
    Ok(response)
}

/// Before HTTP/1.1 there is no chunked coding: a body of unknown length ends with its connection (RFC 9112
/// §6.1, §6.3).
fn end_by_closing<B: MessageBody>(response: &mut ServiceResponse<B>) {
    let is_old = response.request().version() < Version::HTTP_11;
    if is_old && response.response().body().size() == BodySize::Stream {
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
}

/// Whether this is a request to hold, book or confirm.
fn asks_for_seats(request: &ServiceRequest) -> bool {
    const PATHS: [&str; 2] = ["/api/v1/bookings", "/api/v1/holds"];
    *request.method() == Method::POST && PATHS.contains(&request.path())
}

fn count(
    services: &Services,
    arrival: &RequestStart,
    (route, status): (Option<&str>, u16),
    problem: Option<&Problem>,
) {
    let metrics = &services.metrics;
    metrics.http.answered(arrival.method, route, status, arrival.began.elapsed());
    if let Some(problem) = problem {
        metrics.reservation.answered_problem(problem.code.name(), status);
    }
    if arrival.asks_for_seats {
        metrics.reservation.answered(status);
    }
}

/// The names by which a request is found in the log, for its caller.
fn put_names(headers: &mut HeaderMap, request: &RequestIds) {
    if let Ok(value) = HeaderValue::from_str(&request.id) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(value) = request.trace.as_ref().and_then(trace::response) {
        headers.insert(trace::TRACERESPONSE, value);
    }
}

/// The answer to a request whose handler panicked; the panic has its line in the log already.
fn panicked(services: &Services, arrival: &RequestStart) -> actix_web::Error {
    let problem = Problem::new(Code::Internal, "the request failed");
    count(services, arrival, (None, problem.code.status()), Some(&problem));
    let mut response = problem_response(&problem, &arrival.request.id);
    put_names(response.headers_mut(), &arrival.request);
    guard::protect(response.headers_mut());
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

/// A response that failed without a problem's body, from a handler or from actix itself, gets one.
fn in_problem_form(response: ServiceResponse, id: &str) -> (ServiceResponse, Option<Problem>) {
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return (response, None);
    }
    let problem = match response.response().error() {
        Some(error) => of(error),
        None if has_body(&response) => return (response, None),
        None => by_status(response.status().as_u16(), ""),
    };
    (response.into_response(problem_response(&problem, id)), Some(problem))
}

fn has_body(response: &ServiceResponse) -> bool {
    !matches!(response.response().body().size(), BodySize::None)
        && response.headers().contains_key(header::CONTENT_TYPE)
}

/// The response with its body as it leaves; a problem in its place if there is no room for it.
fn outgoing(
    services: &Services,
    response: ServiceResponse,
    problem: Option<Problem>,
    id: &str,
) -> (ServiceResponse<Outgoing>, Option<Problem>) {
    let (request, response) = response.into_parts();
    let (head, body) = response.into_parts();
    let (response, problem) = match services.budget.admit((request.method(), request.path()), body)
    {
        Ok(body) => (head.set_body(body), problem),
        Err(full) => {
            let response =
                problem_response(&full, id).map_body(|_, body| Outgoing::uncounted(body));
            (response, Some(full))
        }
    };
    (ServiceResponse::new(request, response), problem)
}

/// The problem behind an error; actix's own errors are told by their status.
fn of(error: &actix_web::Error) -> Problem {
    match error.as_error::<Problem>() {
        Some(problem) => problem.clone(),
        None => {
            let status = error.as_response_error().status_code().as_u16();
            by_status(status, &error.to_string())
        }
    }
}

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

/// How loud an answer is. What is refused on purpose is counted, not told one by one; that the service has
/// begun to refuse it has its own line.
fn level(status: u16, problem: Option<&Problem>) -> log::Level {
    match problem.map(|problem| problem.code) {
        Some(Code::Internal) => log::Level::Error,
        Some(Code::Overloaded | Code::ReadOnly | Code::Draining) => log::Level::Debug,
        _ if status >= 500 && problem.is_some() => log::Level::Warn,
        _ => log::Level::Debug,
    }
}

/// The one line on an answer, with what is behind a failure that has no line of its own yet.
fn log_answer<B>(response: &ServiceResponse<B>, problem: Option<&Problem>, took: Duration) {
    let status = response.status().as_u16();
    let level = level(status, problem);
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

struct InFlight(prometheus::IntGauge);

impl InFlight {
    fn begin(services: &Services) -> Self {
        services.metrics.http.in_flight.inc();
        Self(services.metrics.http.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
