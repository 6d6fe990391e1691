//! The routes of the service.

use std::sync::Arc;

use actix_web::guard;
use actix_web::http::header;
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, Route};

use super::handlers::{
    blocks, bookings, events, holds, operations, plans, requests, schedules, seats, stream,
};
use super::host_and_origin::Unlimited;
use super::problem::{Code, Problem};
use super::query::Parameters;
use super::request::ApiRequest;
use super::{auth, documents};

/// Registers every route. Routes below `/api` need the key, others do not. Routes are matched in this order, and
/// each with a parameter by a regular expression, so the most frequent ones come first.
pub fn routes(config: &mut ServiceConfig) {
    config.configure(api).configure(outside_the_api).default_service(web::to(not_found));
}

fn api(config: &mut ServiceConfig) {
    config.service(
        web::scope("/api/v1")
            .wrap(from_fn(auth::authenticate))
            // the most frequent requests
            .service(at("/holds", [get(holds::list), post(holds::create)]))
            .service(at("/bookings", [get(bookings::list), post(bookings::create)]))
            .service(at("/schedules/{id}/seats", [get(seats::list)]))
            .service(at("/schedules/{id}/availability", [get(seats::availability)]))
            // customers
            .service(at(
                "/holds/{id}",
                [get(holds::read), patch(holds::change), delete(holds::release)],
            ))
            .service(at("/holds/{id}/extend", [post(holds::extend)]))
            .service(at("/bookings/{id}", [get(bookings::read)]))
            .service(at("/bookings/{id}/cancel", [post(bookings::cancel)]))
            .service(at("/booking-requests/{id}", [get(requests::read)]))
            .service(at("/booking-requests/{id}/stream", [get(requests::listen)]))
            // schedules
            .service(at("/schedules/{id}", [get(schedules::read)]))
            .service(at("/schedules/{id}/stream", [get(stream::listen)]))
            // the admin API
            .service(at("/events", [get(events::list), post(events::create)]))
            .service(at("/events/{id}", [get(events::read)]))
            .service(at("/events/{id}/schedules", [get(schedules::list), post(schedules::create)]))
            .service(at("/seat-plans/{id}", [put(plans::put)]))
            .service(at("/seat-plans/{id}/versions/{version}", [get(plans::read)]))
            .service(at("/schedules/{id}/blocks", [get(blocks::list), post(blocks::create)]))
            .service(at("/schedules/{id}/blocks/{block}", [delete(blocks::lift)]))
            .default_service(web::to(not_found)),
    );
}

/// Routes outside the API, for operators and integrators.
fn outside_the_api(config: &mut ServiceConfig) {
    config
        .service(at("/livez", [page(operations::live)]))
        .service(at("/readyz", [get(operations::ready)]))
        .service(at("/metrics", [page(operations::metrics)]))
        .service(at("/problems/{code}", [page(operations::problem)]))
        .service(at("/openapi.json", [page(documents::document)]))
        .service(at("/docs", [page(documents::redirect)]))
        .service(at("/docs/{file:.*}", [page(documents::file)]));
}

/// Routes for operators only, on a separate port.
pub fn metrics_routes(config: &mut ServiceConfig) {
    config
        .app_data(Unlimited)
        .service(at("/metrics", [page(operations::own_port_metrics)]))
        .service(at("/livez", [page(operations::live)]))
        .service(at("/readyz", [get(operations::ready)]))
        .default_service(web::to(not_found));
}

/// A route with the methods that it answers.
struct MethodRoute {
    methods: &'static str,
    route: Route,
}

macro_rules! api_methods {
    ($($name:ident = $methods:expr, $route:expr;)+) => {
        $(
            /// A route of the API for these methods; its query is parsed.
            fn $name<F, Q>(handler: F) -> MethodRoute
            where
                F: Handler<(ApiRequest<Q>,)>,
                F::Output: Responder + 'static,
                Q: Parameters + 'static,
            {
                MethodRoute { methods: $methods, route: $route.to(handler) }
            }
        )+
    };
}

api_methods! {
    get = READS, reads();
    post = "POST", web::post();
    put = "PUT", web::put();
    patch = "PATCH", web::patch();
    delete = "DELETE", web::delete();
}

const READS: &str = "GET, HEAD";

/// HEAD is answered as GET is, and the server omits the body (RFC 9110 §9.3.2).
fn reads() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A read route outside the API; its query is ignored.
fn page<F, Args>(handler: F) -> MethodRoute
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    MethodRoute { methods: READS, route: reads().to(handler) }
}

/// A resource. It answers OPTIONS with its methods, and any other method with 405 and the same list (RFC 9110 §15.5.6).
/// A browser's preflight request is such an OPTIONS request: no other origin may call this API, so the answer has no
/// CORS header.
fn at<const N: usize>(path: &str, methods: [MethodRoute; N]) -> Resource {
    let allow: Vec<&str> = methods.iter().map(|route| route.methods).chain(["OPTIONS"]).collect();
    let allow: Arc<str> = allow.join(", ").into();
    let resource =
        methods.into_iter().fold(web::resource(path), |all, method| all.route(method.route));
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

async fn not_found(request: HttpRequest) -> Result<String, Problem> {
    let detail =
        format!("there is nothing at {}; /openapi.json lists what there is", request.path());
    Err(Problem::new(Code::NotFound, detail))
}
