//! The routes of the service, and what each needs of its caller. This is the only table of both.

use std::sync::Arc;

use actix_web::guard;
use actix_web::http::header;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, Route};

use super::handlers::{
    api_keys, blocks, bookings, events, holds, operations, plans, requests, schedules, seats,
    stream,
};
use super::host_and_origin::Unlimited;
use super::needs::{Access, MethodAccess, Needs};
use super::problem::{Code, Problem};
use super::query::Parameters;
use super::request::ApiRequest;
use super::{auth, documents};

/// Registers every route. Routes are matched in the order of the tables, and each with a parameter by a regular
/// expression, so the most frequent ones come first.
pub fn routes(config: &mut ServiceConfig) {
    let scope = web::scope(API).wrap(from_fn(auth::authenticate));
    let scope = api().into_iter().fold(scope, |scope, row| scope.service(row.resource()));
    config.service(scope.default_service(web::to(not_found)));
    for row in outside_the_api() {
        config.service(row.resource());
    }
    config.default_service(web::to(not_found));
}

/// The path below which requests need a key.
const API: &str = "/api/v1";

/// The routes of the API, with what each method needs of its caller.
fn api() -> Vec<ResourceRow> {
    use Needs::{Admin, OwnClaims, OwnHold, Read, Sell};
    vec![
        // the most frequent requests
        at("/holds", [get(OwnClaims, holds::list), post(OwnHold, holds::create)]),
        at("/bookings", [get(OwnClaims, bookings::list), post(Sell, bookings::create)]),
        at("/schedules/{id}/seats", [get(Read, seats::list)]),
        at("/schedules/{id}/availability", [get(Read, seats::availability)]),
        // customers
        at(
            "/holds/{id}",
            [
                get(OwnHold, holds::read),
                patch(OwnHold, holds::change),
                delete(OwnHold, holds::release),
            ],
        ),
        at("/holds/{id}/extend", [post(OwnHold, holds::extend)]),
        at("/bookings/{id}", [get(OwnClaims, bookings::read)]),
        at("/bookings/{id}/cancel", [post(Sell, bookings::cancel)]),
        at("/booking-requests/{id}", [get(Sell, requests::read)]),
        at("/booking-requests/{id}/stream", [stream(Sell, requests::listen)]),
        // schedules
        at("/schedules/{id}", [get(Read, schedules::read)]),
        at("/schedules/{id}/stream", [stream(Read, stream::listen)]),
        // the admin API
        at("/events", [get(Read, events::list), post(Admin, events::create)]),
        at("/events/{id}", [get(Read, events::read)]),
        at("/events/{id}/schedules", [get(Read, schedules::list), post(Admin, schedules::create)]),
        at("/seat-plans/{id}", [put(Admin, plans::put)]),
        at("/seat-plans/{id}/versions/{version}", [get(Read, plans::read)]),
        at("/schedules/{id}/blocks", [get(Admin, blocks::list), post(Admin, blocks::create)]),
        at("/schedules/{id}/blocks/{block}", [delete(Admin, blocks::lift)]),
        at("/api-keys", [get(Admin, api_keys::list), post(Admin, api_keys::create)]),
        at("/api-keys/{id}", [get(Admin, api_keys::read), delete(Admin, api_keys::revoke)]),
        at("/api-keys/{id}/rotate", [post(Admin, api_keys::rotate)]),
    ]
}

/// Routes outside the API, for operators and integrators.
fn outside_the_api() -> Vec<ResourceRow> {
    vec![
        at("/livez", [page(operations::live)]),
        at("/readyz", [get(Needs::Nothing, operations::ready)]),
        at("/metrics", [page(operations::metrics)]),
        at("/problems/{code}", [page(operations::problem)]),
        at("/openapi.json", [page(documents::document)]),
        at("/docs", [page(documents::redirect)]),
        at("/docs/{file:.*}", [page(documents::file)]),
    ]
}

/// Routes for operators only, on a separate port.
pub fn metrics_routes(config: &mut ServiceConfig) {
    config
        .app_data(Unlimited)
        .service(at("/metrics", [page(operations::own_port_metrics)]).resource())
        .service(at("/livez", [page(operations::live)]).resource())
        .service(at("/readyz", [get(Needs::Nothing, operations::ready)]).resource())
        .default_service(web::to(not_found));
}

/// A row of the table of routes, for documents and tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRow {
    /// The whole path, with the names of its parameters.
    pub path: String,
    /// The method; a `GET` is also answered as `HEAD`.
    pub method: &'static str,
    /// What it needs of its caller.
    pub needs: Needs,
    /// Whether a publishable key may be in the query.
    pub key_in_query: bool,
}

/// Every method of every route.
#[must_use]
pub fn table() -> Vec<RouteRow> {
    let api = api().into_iter().map(|row| (API, row));
    let rows = api.chain(outside_the_api().into_iter().map(|row| ("", row)));
    rows.flat_map(|(base, row)| {
        let path = format!("{base}{}", row.path);
        row.methods.into_iter().map(move |MethodRoute { access, .. }| RouteRow {
            path: path.clone(),
            method: access.methods.split(',').next().unwrap_or_default(),
            needs: access.needs,
            key_in_query: access.key_in_query,
        })
    })
    .collect()
}

/// A method of a resource.
struct MethodRoute {
    access: MethodAccess,
    route: Route,
}

macro_rules! api_methods {
    ($($name:ident = $methods:expr, $route:expr, $key_in_query:literal;)+) => {
        $(
            /// A route for these methods. The caller needs what is stated, and the query is parsed.
            fn $name<F, Q>(needs: Needs, handler: F) -> MethodRoute
            where
                F: Handler<(ApiRequest<Q>,)>,
                F::Output: Responder + 'static,
                Q: Parameters + 'static,
            {
                let access = MethodAccess { methods: $methods, needs, key_in_query: $key_in_query };
                MethodRoute { access, route: $route.to(handler) }
            }
        )+
    };
}

api_methods! {
    get = READS, reads(), false;
    stream = READS, reads(), true;
    post = "POST", web::post(), false;
    put = "PUT", web::put(), false;
    patch = "PATCH", web::patch(), false;
    delete = "DELETE", web::delete(), false;
}

const READS: &str = "GET, HEAD";

/// HEAD is answered as GET is, and the server omits the body (RFC 9110 §9.3.2).
fn reads() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A read route outside the API, which needs nothing; its query is ignored.
fn page<F, Args>(handler: F) -> MethodRoute
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    let access = MethodAccess { methods: READS, needs: Needs::Nothing, key_in_query: false };
    MethodRoute { access, route: reads().to(handler) }
}

/// A resource with its methods.
struct ResourceRow {
    path: &'static str,
    methods: Vec<MethodRoute>,
}

fn at<const N: usize>(path: &'static str, methods: [MethodRoute; N]) -> ResourceRow {
    ResourceRow { path, methods: methods.into() }
}

impl ResourceRow {
    /// The resource. It answers OPTIONS with its methods, and any other method with 405 and the same list (RFC 9110
    /// §15.5.6). A browser's preflight request is such an OPTIONS request; `src/http/cors.rs` adds what it permits.
    fn resource(self) -> Resource {
        let access: Vec<MethodAccess> = self.methods.iter().map(|method| method.access).collect();
        let allow: Vec<&str> = access.iter().map(|row| row.methods).chain(["OPTIONS"]).collect();
        let allow: Arc<str> = allow.join(", ").into();
        let resource = web::resource(self.path).app_data(Access(access));
        let resource =
            self.methods.into_iter().fold(resource, |all, method| all.route(method.route));
        let allowed = Arc::clone(&allow);
        let options = move || {
            let allow = (header::ALLOW, allowed.to_string());
            async move { HttpResponse::NoContent().insert_header(allow).finish() }
        };
        let refuse = move |request: HttpRequest| {
            let detail = format!("{} is not possible here; use {allow}", request.method());
            let supported = Some(Box::new((header::ALLOW, allow.to_string())));
            let problem = Problem { supported, ..Problem::new(Code::MethodNotAllowed, detail) };
            async move { Err::<String, Problem>(problem) }
        };
        resource
            .route(web::route().guard(guard::Options()).to(options))
            .default_service(web::to(refuse))
    }
}

async fn not_found(request: HttpRequest) -> Result<String, Problem> {
    let detail =
        format!("there is nothing at {}; /openapi.json lists what there is", request.path());
    Err(Problem::new(Code::NotFound, detail))
}
