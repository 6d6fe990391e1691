//! Seat plans: immutable versions of layouts.

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::catalogue::PlanVersion;
use crate::domain::plan::{ReadPlan, SeatPlan};
use crate::domain::rules::{PLAN_ID_RULE, is_plan_id};
use crate::formats::csv;
use crate::formats::pretix::{IdFrom, PretixPlan, to_plan};
use crate::formats::prices::Prices;
use crate::http::idempotency_key::KeyHeader;
use crate::http::media::{CSV, PlanMedia};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{Given, NoParameters, Parameters, Query};
use crate::http::reply::{self, Keep, LocationHeader};
use crate::http::responses::{EnteredPlanBody, render_plan};
use crate::http::{Services, body, percent, plan_problem};

use super::path_id;

/// A section of equal rows.
#[derive(Debug, ToSchema)]
pub struct SectionBody {
    /// Its name, the first part of its labels.
    #[schema(example = "A")]
    pub name: String,
    /// 1 to 1,000.
    #[schema(example = 20)]
    pub rows: u32,
    /// 1 to 1,000.
    #[schema(example = 30)]
    pub seats_per_row: u32,
    /// Minor units.
    #[schema(example = 9900)]
    pub price: i64,
}

/// What a dry run found.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRunBody {
    /// Always true.
    pub dry_run: bool,
    /// How many seats the plan has.
    pub seats: usize,
    /// What was understood although the document said it in another way; absent if nothing was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How a plan is to be read: `?price=` may be repeated.
#[derive(Debug)]
pub struct PutQuery {
    dry_run: bool,
    id_from: Option<IdFrom>,
    prices: Prices,
}

impl Parameters for PutQuery {
    fn read(given: &mut Given) -> Result<Self, Problem> {
        let dry_run = given.parsed("dry_run", "true or false")?.unwrap_or(false);
        let id_from = given.parsed("id_from", "guid, uuid or position")?;
        let wrong = |errors: Vec<String>| Problem::parameter("price", errors.join("; "));
        let prices = Prices::parse(&given.every("price")).map_err(wrong)?;
        Ok(Self { dry_run, id_from, prices })
    }
}

/// Stores a seat plan, as CSV or as a pretix seating plan in JSON, as the next version of a plan.
///
/// CSV has a header with the columns `section`, `row`, `number` and, if wanted, `label`, `x`, `y`,
/// `category` and `price` (minor units); some other names of columns are understood, which `notes` tell. The
/// `pointer` of an error in CSV is like `line 7, column 3`.
#[utoipa::path(put, path = "/api/v1/seat-plans/{id}", tag = "box office",
    params(("id" = String, Path), ("dry_run" = Option<bool>, Query),
        ("id_from" = Option<String>, Query, description = "guid, uuid or position; not with CSV"),
        ("price" = Option<String>, Query, description = "`9900` or `Category I=9900`; may be repeated")),
    request_body(content((serde_json::Value = "application/json"), (String = "text/csv"))),
    responses((status = 200, body = EnteredPlanBody),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn put(
    services: Data<Services>,
    request: HttpRequest,
    Query(query): Query<PutQuery>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let id = percent::path_parameter(&request, "id")?.into_owned();
    if !is_plan_id(&id) {
        return Err(Problem::field("id", "invalid_id", format!("the id of a plan {PLAN_ID_RULE}")));
    }
    let media = PlanMedia::of_body(&request)?;
    if media == PlanMedia::Csv && query.id_from.is_some() {
        let message = "is for pretix plans; CSV has labels in a column of its own";
        return Err(Problem::parameter("id_from", message));
    }
    let PutQuery { dry_run, id_from, prices } = query;
    let read = move |body: &[u8], key: Option<KeyHeader>| {
        let plan = match media {
            PlanMedia::Csv => csv::parse(body, &prices),
            PlanMedia::Json => {
                let document: PretixPlan = body::parse(body)?;
                let plan = to_plan(&document, id_from.unwrap_or_default(), &prices);
                plan.map(|plan| ReadPlan { plan, notes: Vec::new() })
            }
        };
        let plan = plan.map_err(|errors| plan_problem(errors, ""))?;
        let keyed = key.map(|key| key.keyed(&plan.plan)).transpose()?;
        Ok((plan, keyed))
    };
    let (plan, keyed) = services.large(&request, payload, read).await?;
    if dry_run {
        let (seats, notes) = (plan.plan.seat_count(), plan.notes);
        return Ok(reply::json(&DryRunBody { dry_run, seats, notes }));
    }
    let once = services.catalogue.put_plan(id, plan, keyed, render_plan).await?;
    reply::once(once, render_plan, LocationHeader::None)
}

#[derive(Serialize)]
struct LayoutBody<'a> {
    id: &'a str,
    version: i32,
    #[serde(flatten)]
    plan: &'a SeatPlan,
}

/// One version of a plan: sections, rows, seats. It never changes. CSV for `Accept: text/csv`.
#[utoipa::path(get, path = "/api/v1/seat-plans/{id}/versions/{version}", tag = "map",
    params(("id" = String, Path), ("version" = i32, Path)),
    responses((status = 200, description = "sections, rows and seats in plan order",
            content((serde_json::Value = "application/json"), (String = "text/csv")),
            headers(("ETag" = String), ("Vary" = String))),
        (status = 304, description = "not modified"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn read(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<NoParameters>,
) -> Result<HttpResponse, Problem> {
    let id = percent::path_parameter(&request, "id")?.into_owned();
    // No plan has such a name, and PostgreSQL would not even read it.
    if id.chars().any(char::is_control) {
        return Err(Problem::not_found("seat plan"));
    }
    let version: i32 = path_id(&request, "version", "seat plan")?;
    let found = services.catalogue.plan(id, version).await?;
    let found = found.ok_or_else(|| Problem::not_found("seat plan"))?;
    let PlanVersion { id, version } = &found.version;
    let media = PlanMedia::wanted(&request);
    let tag = match media {
        PlanMedia::Json => format!("\"{}.plan-{version}\"", found.history),
        PlanMedia::Csv => format!("\"{}.plan-{version}-csv\"", found.history),
    };
    let kept = (Keep::Always, services.readers());
    let mut response = reply::conditional(&request, &tag, kept, || match media {
        PlanMedia::Json => {
            let layout = LayoutBody { id, version: *version, plan: &found.plan };
            HttpResponse::Ok()
                .insert_header(header::ContentType::json())
                .body(serde_json::to_string(&layout).unwrap_or_default())
        }
        PlanMedia::Csv => HttpResponse::Ok().content_type(CSV).body(csv::write(&found.plan)),
    });
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}
