//! The API on one page.

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, Resource, Route};

use super::handlers::{
    blocks, bookings, events, holds, operations, plans, requests, schedules, seats, stream,
};
use super::problem::{Code, Problem};
use super::{auth, limit, openapi};

/// Every route. `/api` is for callers with the key; the rest is for whoever can reach the port. They are
/// tried in this order, so the busiest come first.
pub fn routes(config: &mut ServiceConfig) {
    config.configure(api).configure(beside_the_api).default_service(web::to(nothing));
}

fn api(config: &mut ServiceConfig) {
    config.service(
        web::scope("/api/v1")
            .wrap(from_fn(auth::authenticate))
            .wrap(from_fn(limit::limit))
            // customers
            .service(at(
                "/holds",
                "GET, POST",
                [web::get().to(holds::list), web::post().to(holds::create)],
            ))
            .service(at(
                "/holds/{id}",
                "GET, DELETE",
                [web::get().to(holds::read), web::delete().to(holds::release)],
            ))
            .service(at("/holds/{id}/extend", "POST", [web::post().to(holds::extend)]))
            .service(at(
                "/bookings",
                "GET, POST",
                [web::get().to(bookings::list), web::post().to(bookings::create)],
            ))
            .service(at("/bookings/{id}", "GET", [web::get().to(bookings::read)]))
            .service(at("/bookings/{id}/cancel", "POST", [web::post().to(bookings::cancel)]))
            .service(at("/booking-requests/{id}", "GET", [web::get().to(requests::read)]))
            .service(at("/booking-requests/{id}/stream", "GET", [web::get().to(requests::listen)]))
            // the map
            .service(at("/schedules/{id}", "GET", [web::get().to(schedules::read)]))
            .service(at("/schedules/{id}/seats", "GET", [web::get().to(seats::list)]))
            .service(at(
                "/schedules/{id}/availability",
                "GET",
                [web::get().to(seats::availability)],
            ))
            .service(at("/schedules/{id}/stream", "GET", [web::get().to(stream::listen)]))
            // the box office
            .service(at(
                "/events",
                "GET, POST",
                [web::get().to(events::list), web::post().to(events::create)],
            ))
            .service(at("/events/{id}", "GET", [web::get().to(events::read)]))
            .service(at(
                "/events/{id}/schedules",
                "GET, POST",
                [web::get().to(schedules::list), web::post().to(schedules::create)],
            ))
            .service(at("/seat-plans/{id}", "PUT", [web::put().to(plans::put)]))
            .service(at("/seat-plans/{id}/versions/{version}", "GET", [web::get().to(plans::read)]))
            .service(at(
                "/schedules/{id}/blocks",
                "GET, POST",
                [web::get().to(blocks::list), web::post().to(blocks::create)],
            ))
            .service(at(
                "/schedules/{id}/blocks/{block}",
                "DELETE",
                [web::delete().to(blocks::lift)],
            ))
            .default_service(web::to(nothing)),
    );
}

/// What operators and integrators ask for.
fn beside_the_api(config: &mut ServiceConfig) {
    config
        .service(at("/livez", "GET", [web::get().to(operations::live)]))
        .service(at("/readyz", "GET", [web::get().to(operations::ready)]))
        .service(at("/metrics", "GET", [web::get().to(operations::metrics)]))
        .service(at("/problems/{code}", "GET", [web::get().to(operations::problem)]))
        .service(at("/openapi.json", "GET", [web::get().to(openapi::document)]))
        .service(web::redirect("/docs", "/docs/"))
        .service(openapi::page());
}

/// Only what operators scrape, for a port of its own.
pub fn metrics_routes(config: &mut ServiceConfig) {
    config
        .service(at("/metrics", "GET", [web::get().to(operations::metrics_apart)]))
        .service(at("/livez", "GET", [web::get().to(operations::live)]))
        .service(at("/readyz", "GET", [web::get().to(operations::ready)]))
        .default_service(web::to(nothing));
}

/// A resource that answers every other method with 405 and what it takes (RFC 9110 §15.5.6).
fn at<const N: usize>(path: &str, allow: &'static str, routes: [Route; N]) -> Resource {
    let refuse = move |request: HttpRequest| async move {
        let detail = format!("{} is not possible here; use {allow}", request.method());
        let problem = Problem::new(Code::MethodNotAllowed, detail);
        Err::<String, Problem>(Problem { allow: Some(allow), ..problem })
    };
    let resource = web::resource(path).default_service(web::to(refuse));
    routes.into_iter().fold(resource, Resource::route)
}

async fn nothing(request: HttpRequest) -> Result<String, Problem> {
    let detail =
        format!("there is nothing at {}; /openapi.json lists what there is", request.path());
    Err(Problem::new(Code::NotFound, detail))
}
