//! The API on one page.

use std::sync::Arc;

use actix_web::guard;
use actix_web::http::header;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Responder, Route};

use super::guard::Unlimited;
use super::handlers::{
    blocks, bookings, events, holds, operations, plans, requests, schedules, seats, stream,
};
use super::problem::{Code, Problem};
use super::query::{Parameters, Query};
use super::{Services, auth, documents};

/// Every route. `/api` is for callers with the key; the rest is for whoever can reach the port. They are
/// tried in this order, so the busiest come first.
pub fn routes(config: &mut ServiceConfig) {
    config.configure(api).configure(beside_the_api).default_service(web::to(nothing));
}

fn api(config: &mut ServiceConfig) {
    config.service(
        web::scope("/api/v1")
            .wrap(from_fn(auth::authenticate))
            // customers
            .service(at("/holds", [get(holds::list), post(holds::create)]))
            .service(at("/holds/{id}", [get(holds::read), delete(holds::release)]))
            .service(at("/holds/{id}/extend", [post(holds::extend)]))
            .service(at("/bookings", [get(bookings::list), post(bookings::create)]))
            .service(at("/bookings/{id}", [get(bookings::read)]))
            .service(at("/bookings/{id}/cancel", [post(bookings::cancel)]))
            .service(at("/booking-requests/{id}", [get(requests::read)]))
            .service(at("/booking-requests/{id}/stream", [get(requests::listen)]))
            // the map
            .service(at("/schedules/{id}", [get(schedules::read)]))
            .service(at("/schedules/{id}/seats", [get(seats::list)]))
            .service(at("/schedules/{id}/availability", [get(seats::availability)]))
            .service(at("/schedules/{id}/stream", [get(stream::listen)]))
            // the box office
            .service(at("/events", [get(events::list), post(events::create)]))
            .service(at("/events/{id}", [get(events::read)]))
            .service(at("/events/{id}/schedules", [get(schedules::list), post(schedules::create)]))
            .service(at("/seat-plans/{id}", [put(plans::put)]))
            .service(at("/seat-plans/{id}/versions/{version}", [get(plans::read)]))
            .service(at("/schedules/{id}/blocks", [get(blocks::list), post(blocks::create)]))
            .service(at("/schedules/{id}/blocks/{block}", [delete(blocks::lift)]))
            .default_service(web::to(nothing)),
    );
}

/// What operators and integrators ask for.
fn beside_the_api(config: &mut ServiceConfig) {
    config
        .service(at("/livez", [page(operations::live)]))
        .service(at("/readyz", [get(operations::ready)]))
        .service(at("/metrics", [page(operations::metrics)]))
        .service(at("/problems/{code}", [page(operations::problem)]))
        .service(at("/openapi.json", [page(documents::document)]))
        .service(at("/docs", [page(documents::entrance)]))
        .service(at("/docs/{file:.*}", [page(documents::file)]));
}

/// Only what operators scrape, for a port of its own.
pub fn metrics_routes(config: &mut ServiceConfig) {
    config
        .app_data(Unlimited)
        .service(at("/metrics", [page(operations::metrics_apart)]))
        .service(at("/livez", [page(operations::live)]))
        .service(at("/readyz", [get(operations::ready)]))
        .default_service(web::to(nothing));
}

/// A handler with the methods that it answers.
struct Answering {
    methods: &'static str,
    route: Route,
}

/// A read of the API. HEAD is answered as GET is, and the server leaves the body out (RFC 9110 §9.3.2).
fn get<F, Q>(handler: F) -> Answering
where
    F: Handler<(Data<Services>, HttpRequest, Query<Q>)>,
    F::Output: Responder + 'static,
    Q: Parameters + 'static,
{
    page(handler)
}

/// A write of the API with a body.
fn post<F, Q>(handler: F) -> Answering
where
    F: Handler<(Data<Services>, HttpRequest, Query<Q>, Payload)>,
    F::Output: Responder + 'static,
    Q: Parameters + 'static,
{
    Answering { methods: "POST", route: web::post().to(handler) }
}

/// The same with PUT.
fn put<F, Q>(handler: F) -> Answering
where
    F: Handler<(Data<Services>, HttpRequest, Query<Q>, Payload)>,
    F::Output: Responder + 'static,
    Q: Parameters + 'static,
{
    Answering { methods: "PUT", route: web::put().to(handler) }
}

/// A write of the API without a body.
fn delete<F, Q>(handler: F) -> Answering
where
    F: Handler<(Data<Services>, HttpRequest, Query<Q>)>,
    F::Output: Responder + 'static,
    Q: Parameters + 'static,
{
    Answering { methods: "DELETE", route: web::delete().to(handler) }
}

/// A read outside the API, whose query may hold anything.
fn page<F, Args>(handler: F) -> Answering
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    let reads = guard::Any(guard::Get()).or(guard::Head());
    Answering { methods: "GET, HEAD", route: web::route().guard(reads).to(handler) }
}

/// A resource. It answers OPTIONS with the methods that it takes, and any other method with 405 and the
/// same list (RFC 9110 §15.5.6).
///
/// A browser's preflight is such an OPTIONS request. No origin is allowed to call this API, so its answer
/// permits nothing: it has no header of CORS.
fn at<const N: usize>(path: &str, answering: [Answering; N]) -> Resource {
    let methods = answering.iter().map(|answering| answering.methods);
    let allow: Vec<&str> = methods.chain(["OPTIONS"]).collect();
    let allow: Arc<str> = allow.join(", ").into();
    let routes = answering.into_iter().map(|answering| answering.route);
    let resource = routes.fold(web::resource(path), Resource::route);
    let options = Arc::clone(&allow);
    let options = move || {
        let allow = (header::ALLOW, options.to_string());
        async move { HttpResponse::NoContent().insert_header(allow).finish() }
    };
    let refuse = move |request: HttpRequest| {
        let detail = format!("{} is not possible here; use {allow}", request.method());
        let problem = Problem::new(Code::MethodNotAllowed, detail);
        let problem =
            Problem { takes: Some(Box::new((header::ALLOW, allow.to_string()))), ..problem };
        async move { Err::<String, Problem>(problem) }
    };
    resource
        .route(web::route().guard(guard::Options()).to(options))
        .default_service(web::to(refuse))
}

async fn nothing(request: HttpRequest) -> Result<String, Problem> {
    let detail =
        format!("there is nothing at {}; /openapi.json lists what there is", request.path());
    Err(Problem::new(Code::NotFound, detail))
}
