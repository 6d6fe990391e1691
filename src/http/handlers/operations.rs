//! Operations: liveness, readiness, metrics, and the explanation of errors.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::http::problem::{Code, Problem};
use crate::http::query::{Parameters, RawQuery};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::{Services, percent, reply};
use crate::telemetry::health::{Check, Readiness};

/// Whether the process runs; nothing else is checked.
#[utoipa::path(operation_id = "live", get, path = "/livez", tag = "operations", responses((status = 200, description = "alive")))]
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Readiness.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadyBody {
    /// `ok`, `degraded` or `unready`.
    pub status: &'static str,
    /// The problems, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// With `?verbose`: every check, with its problem or null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The query of readiness.
#[derive(Debug)]
pub struct ReadyQuery {
    verbose: bool,
}

impl Parameters for ReadyQuery {
    fn read(raw: &mut RawQuery<'_>) -> Result<Self, Problem> {
        Ok(Self { verbose: raw.one("verbose")?.is_some() })
    }
}

/// Whether the service accepts requests. A lost dependency degrades it; requests that do not need it are still
/// executed.
#[utoipa::path(operation_id = "ready", get, path = "/readyz", tag = "operations", params(("verbose" = Option<String>, Query)),
    responses((status = 200, body = ReadyBody), (status = 503, body = ReadyBody)))]
pub async fn ready(api: ApiRequest<ReadyQuery>) -> HttpResult {
    let health = &api.services.health;
    let verbose = |checks: &[Check]| {
        let one = |check: &Check| (check.name.words(), json!(check.problem));
        api.query.verbose.then(|| checks.iter().map(one).collect())
    };
    let checks = match health.readiness() {
        Readiness::NotReady(reason) => {
            let checks = verbose(&health.checks());
            let body = ReadyBody { status: "unready", reasons: vec![reason.to_owned()], checks };
            let mut response = HttpResponse::ServiceUnavailable();
            return Ok(response.insert_header((header::RETRY_AFTER, "1")).json(body));
        }
        Readiness::Ready(checks) => checks,
    };
    let reason =
        |check: &Check| Some(format!("{}: {}", check.name.words(), check.problem.as_ref()?));
    let reasons: Vec<String> = checks.iter().filter_map(reason).collect();
    let status = if reasons.is_empty() { "ok" } else { "degraded" };
    Ok(reply::json(&ReadyBody { status, reasons, checks: verbose(&checks) }))
}

/// Metrics, unless they are served on a separate port.
#[utoipa::path(operation_id = "read_metrics", get, path = "/metrics", tag = "operations",
    responses((status = 200, content_type = "text/plain", description = "Prometheus text format"),
        (status = 404, description = "not_found")))]
pub async fn metrics(services: Data<Arc<Services>>) -> HttpResult {
    if services.serve_metrics {
        return Ok(own_port_metrics(services).await);
    }
    Err(Problem::new(Code::NotFound, "metrics are served at METRICS_BIND"))
}

/// Metrics on their separate port.
pub async fn own_port_metrics(services: Data<Arc<Services>>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(services.metrics.encode())
}

/// The resource of a problem's `type`: its meaning and remedy.
#[utoipa::path(operation_id = "read_problem", get, path = "/problems/{code}", tag = "operations", params(("code" = String, Path)),
    responses((status = 200, description = "code, status, title, remedy and what to do with a payment")))]
pub async fn problem(request: HttpRequest) -> HttpResult {
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
