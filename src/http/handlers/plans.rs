//! Seat plans: immutable versions of layouts.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use serde::Serialize;
use utoipa::openapi::schema::{OneOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::plan::{ReadPlan, SeatPlan};
use crate::domain::rules::{PLAN_ID_RULE, is_plan_id};
use crate::formats::csv;
use crate::formats::pretix::{IdFrom, PretixPlan, to_plan};
use crate::formats::prices::Prices;
use crate::http::idempotency_key::KeyHeader;
use crate::http::media::{CSV, PlanMedia};
use crate::http::problem::Problem;
use crate::http::query::{NoParameters, Parameters, RawQuery};
use crate::http::reply::{self, CachePolicy, LocationHeader};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::{EnteredPlanBody, render_plan};
use crate::http::schemas::{
    CategoryName, GapBefore, PretixPlanBody, Price, RowCount, RowLength, SeatRank, SectionName,
    seat_attributes,
};
use crate::http::{body, json, percent, plan_problem};

/// A section of equal rows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SectionBody {
    /// Its name, the first part of its labels.
    #[schema(value_type = SectionName)]
    pub name: String,
    /// The number of its rows.
    #[schema(value_type = RowCount)]
    pub rows: u32,
    /// The number of seats in each row.
    #[schema(value_type = RowLength)]
    pub seats_per_row: u32,
    /// The price of each seat.
    #[schema(value_type = Price)]
    pub price: i64,
    /// The price category of each seat.
    #[schema(value_type = Option<CategoryName>)]
    pub category: Option<String>,
    /// What distinguishes each seat of the section, each once.
    #[schema(required = false, schema_with = seat_attributes)]
    pub attributes: Vec<String>,
    /// The numbers of the seats with a gap, such as an aisle, before them, in each row.
    #[schema(required = false, value_type = Vec<GapBefore>, max_items = 1_000)]
    pub gaps_before: Vec<u32>,
    /// The rank of each seat.
    #[schema(value_type = Option<SeatRank>)]
    pub rank: Option<u32>,
    /// Whether each row is a group of linked seats, such as a table, which are only taken and given back together.
    #[schema(required = false)]
    pub linked_rows: bool,
}

/// The result of a dry run.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRunBody {
    /// Always true.
    pub dry_run: bool,
    /// The number of seats of the plan.
    pub seats: usize,
    /// Columns or values that were understood although they differ from the documented format; absent if there are
    /// none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The answer to an upload in the OpenAPI document.
#[derive(Debug)]
pub enum SeatPlanAnswer {}

impl PartialSchema for SeatPlanAnswer {
    fn schema() -> RefOr<Schema> {
        let form = Ref::from_schema_name;
        OneOfBuilder::new().item(form("EnteredPlanBody")).item(form("DryRunBody")).into()
    }
}

impl ToSchema for SeatPlanAnswer {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("EnteredPlanBody".to_owned(), EnteredPlanBody::schema()));
        schemas.push(("DryRunBody".to_owned(), DryRunBody::schema()));
    }
}

/// The query of an upload; `price` may be repeated.
#[derive(Debug, Clone)]
pub struct PutQuery {
    dry_run: bool,
    id_from: Option<IdFrom>,
    prices: Prices,
}

impl Parameters for PutQuery {
    fn read(raw: &mut RawQuery<'_>) -> Result<Self, Problem> {
        let dry_run = raw.parsed("dry_run", "true or false")?.unwrap_or(false);
        let id_from = raw.parsed("id_from", "guid, uuid or position")?;
        let wrong = |errors: Vec<String>| Problem::parameter("price", errors.join("; "));
        let prices = Prices::parse(&raw.every("price")).map_err(wrong)?;
        Ok(Self { dry_run, id_from, prices })
    }
}

/// Stores a seat plan, as CSV or as a pretix seating plan in JSON, as the next version of a plan.
///
/// CSV has a header with the columns `section`, `row`, `number` and, optionally, `label`, `x`, `y`, `category`, `price`
/// (minor units), `attributes`, `gap`, `rank` and `linked`. Some other names of columns are understood and reported in `notes`. The `pointer` of an error
/// in CSV is like `line 7, column 3`.
#[utoipa::path(operation_id = "put_seat_plan", put, path = "/api/v1/seat-plans/{id}", tag = "box office",
    params(("id" = String, Path), ("dry_run" = Option<bool>, Query),
        ("id_from" = Option<String>, Query),
        ("price" = Option<String>, Query)),
    request_body(content((PretixPlanBody = "application/json"), (String = "text/csv", example = "section,row,number,price\nA,1,1,9900\n"))),
    responses((status = 200, body = SeatPlanAnswer)))]
pub async fn put(mut api: ApiRequest<PutQuery>) -> HttpResult {
    let id = percent::path_parameter(&api.request, "id")?.into_owned();
    if !is_plan_id(&id) {
        return Err(Problem::field("id", "invalid_id", format!("the id of a plan {PLAN_ID_RULE}")));
    }
    let media = PlanMedia::of_body(&api.request)?;
    let PutQuery { dry_run, id_from, prices } = api.query.clone();
    if media == PlanMedia::Csv && id_from.is_some() {
        let message = "is for pretix plans; CSV has labels in a column of its own";
        return Err(Problem::parameter_error("id_from", "conflicting", message));
    }
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
    let (plan, keyed) = api.large_body(read).await?;
    if dry_run {
        let seats = plan.plan.seat_count();
        let notes = plan.notes;
        return Ok(reply::json(&DryRunBody { dry_run, seats, notes }));
    }
    let once = api.services.catalogue.put_plan(id, plan, keyed, render_plan).await?;
    reply::once(once, render_plan, LocationHeader::None)
}

#[derive(Serialize)]
struct LayoutBody<'a> {
    id: &'a str,
    version: i32,
    #[serde(flatten)]
    plan: &'a SeatPlan,
}

/// One version of a plan: sections, rows, and seats with their positions, categories and attributes. It is the layout
/// for the maps that name this version as `plan_version`, and never changes. CSV for `Accept: text/csv`.
#[utoipa::path(operation_id = "read_seat_plan", get, path = "/api/v1/seat-plans/{id}/versions/{version}", tag = "map",
    params(("id" = String, Path), ("version" = i32, Path)),
    responses((status = 200, description = "sections, rows and seats in plan order",
            content((serde_json::Value = "application/json"), (String = "text/csv")),
            headers(("ETag" = String), ("Vary" = String))),
        (status = 304, description = "not modified")))]
pub async fn read(api: ApiRequest<NoParameters>) -> HttpResult {
    let id = percent::path_parameter(&api.request, "id")?.into_owned();
    // No plan has an id with control characters, and PostgreSQL cannot store all of them.
    if id.chars().any(char::is_control) {
        return Err(Problem::not_found("seat plan"));
    }
    let version: i32 = api.path_id("version", "seat plan")?;
    let found = api.services.catalogue.plan(id.clone(), Some(version)).await?;
    let found = found.ok_or_else(|| Problem::not_found("seat plan"))?;
    let media = PlanMedia::preferred(&api.request);
    let suffix = if media == PlanMedia::Csv { "-csv" } else { "" };
    let tag = format!("\"{}.plan-{version}{suffix}\"", found.history);
    let cache = CachePolicy::Immutable.header(api.services.is_public());
    let mut response = reply::conditional(&api.request, &tag, cache, || match media {
        PlanMedia::Json => {
            let layout = LayoutBody { id: &id, version, plan: &found.plan };
            HttpResponse::Ok().insert_header(header::ContentType::json()).body(json::write(&layout))
        }
        PlanMedia::Csv => HttpResponse::Ok().content_type(CSV).body(csv::write(&found.plan)),
    });
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}
