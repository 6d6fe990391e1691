//! What operators ask: alive, ready, metrics, and what an error means.

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::http::Services;
use crate::http::problem::{Code, Problem, ProblemBody};
use crate::http::query::{Given, Parameters, Query};
use crate::http::{percent, reply};
use crate::telemetry::health::{Check, Readiness};

/// Says that the process runs; asks nobody else.
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, description = "alive")))]
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Readiness.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadyBody {
    /// `ok`, `degraded` or `unready`.
    pub status: &'static str,
    /// What is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// With `?verbose`: every check, with its problem or null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<serde_json::Map<String, serde_json::Value>>,
}

/// How readiness is asked for.
#[derive(Debug)]
pub struct ReadyQuery {
    verbose: bool,
}

impl Parameters for ReadyQuery {
    fn read(given: &mut Given) -> Result<Self, Problem> {
        Ok(Self { verbose: given.one("verbose")?.is_some() })
    }
}

/// Says whether requests are welcome. A lost dependency degrades; it does not turn requests away, since
/// what can be done without it is done.
#[utoipa::path(get, path = "/readyz", tag = "operations", params(("verbose" = Option<String>, Query)),
    responses((status = 200, body = ReadyBody), (status = 503, body = ReadyBody)))]
pub async fn ready(
    services: Data<Services>,
    _: HttpRequest,
    Query(asked): Query<ReadyQuery>,
) -> Result<HttpResponse, Problem> {
    let verbose = |checks: &[Check]| {
        let one = |check: &Check| (check.name.words(), json!(check.problem));
        asked.verbose.then(|| checks.iter().map(one).collect())
    };
    let checks = match services.health.readiness() {
        Readiness::NotReady(reason) => {
            let checks = verbose(&services.health.checks());
            let body = ReadyBody { status: "unready", reasons: vec![reason.to_owned()], checks };
            return Ok(HttpResponse::ServiceUnavailable()
                .insert_header((header::RETRY_AFTER, "1"))
                .json(body));
        }
        Readiness::Ready(checks) => checks,
    };
    let reasons: Vec<String> = checks
        .iter()
        .filter_map(|check| Some(format!("{}: {}", check.name.words(), check.problem.as_ref()?)))
        .collect();
    let status = if reasons.is_empty() { "ok" } else { "degraded" };
    Ok(reply::json(&ReadyBody { status, reasons, checks: verbose(&checks) }))
}

/// Metrics, unless they have a port of their own.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, content_type = "text/plain", description = "Prometheus text format")))]
pub async fn metrics(services: Data<Services>) -> Result<HttpResponse, Problem> {
    if services.serve_metrics {
        Ok(exposition(&services))
    } else {
        Err(Problem::new(Code::NotFound, "metrics are served at METRICS_BIND"))
    }
}

/// Metrics, at the port of their own.
pub async fn metrics_apart(services: Data<Services>) -> HttpResponse {
    exposition(&services)
}

fn exposition(services: &Services) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(services.metrics.encode())
}

/// What a problem's `type` points at: its meaning and remedy.
#[utoipa::path(get, path = "/problems/{code}", tag = "operations", params(("code" = String, Path)),
    responses((status = 200, description = "code, status, title, remedy and what to do with a payment"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn problem(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let name = percent::path_parameter(&request, "code")?;
    let code = Code::ALL.iter().find(|code| code.name() == name);
    let code = code.ok_or_else(|| Problem::not_found("problem"))?;
    Ok(HttpResponse::Ok().json(json!({
        "code": code.name(),
        "status": code.status(),
        "title": code.title(),
        "remedy": code.remedy(),
        "payment": code.payment().instruction(),
    })))
}
