//! The HTTP server, from the configuration.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App as HttpApp, HttpServer, web};

use crate::config::{Config, HostPort, TlsFiles};
use crate::http::{Services, middleware, socket};

use super::{AppError, tls};

/// Binds a server with these routes, with TLS if it has a certificate. It serves when it is polled.
pub(super) fn serve(
    config: &Config,
    bind: &HostPort,
    tls: Option<&TlsFiles>,
    services: &Arc<Services>,
    routes: fn(&mut web::ServiceConfig),
) -> Result<(Server, SocketAddr), AppError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let services = Arc::clone(services);
    let workers = config.http.workers(cores);
    let send_timeout = config.http.send_timeout;
    let address = (bind.host.as_str(), bind.port);
    let tls = tls.map(tls::server_config).transpose()?;
    let server = HttpServer::new(move || {
        HttpApp::new()
            // Each request counts its references. This counter belongs to one worker, so no other core changes it.
            .app_data(web::Data::new(Arc::clone(&services)))
            .wrap(from_fn(middleware::request_log))
            .configure(routes)
    })
    .workers(workers)
    .max_connections(config.http.max_connections.div_ceil(workers))
    .on_connect(move |connection, _| socket::set_options(connection, send_timeout))
    .client_request_timeout(config.http.header_timeout)
    .tls_handshake_timeout(config.http.header_timeout)
    .shutdown_timeout(config.http.drain_timeout.as_secs().max(1))
    .disable_signals();
    let bound = match tls {
        Some(tls) => server.bind_rustls_0_23(address, tls),
        None => server.bind(address),
    };
    let server = bound.map_err(|error| AppError::Bind(bind.to_string(), error))?;
    let address = server.addrs().first().copied();
    let unbound = || std::io::Error::other("no address was bound");
    let address = address.ok_or_else(|| AppError::Bind(bind.to_string(), unbound()))?;
    Ok((server.run(), address))
}
