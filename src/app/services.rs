//! The services of the handlers, from the configuration.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::api_keys::ApiKeys;
use crate::config::{Config, is_loopback_host};
use crate::domain::api_key::caller::Caller;
use crate::http::auth::InstallationKey;
use crate::http::{
    AllowedHosts, Documents, RateLimits, ResponseBudget, Services, WorkPermits, openapi,
};
use crate::seat_map::Streams;
use crate::service::bookings::BookingService;
use crate::service::catalogue::Catalogue;
use crate::store::Store;
use crate::tokens::{KeySource, Tokens};

/// Builds the services.
pub(super) fn services(
    config: &Config,
    bookings: BookingService,
    streams: Arc<Streams>,
) -> Services {
    let http = &config.http;
    let deps = bookings.deps();
    Services {
        queue: deps.queue.clone(),
        tokens: tokens(config, &deps.store),
        api_keys: Arc::new(ApiKeys::new(Arc::clone(&deps.store), http.api_keys_max_age)),
        catalogue: Arc::new(Catalogue::new(Arc::clone(&deps.store))),
        seat_maps: Arc::clone(&deps.seat_maps),
        streams,
        health: Arc::clone(&deps.health),
        metrics: Arc::clone(&deps.metrics),
        bookings: Arc::new(bookings),
        work_permits: WorkPermits::default(),
        admin_key: http.admin_api_key.as_ref().map(|key| InstallationKey::new(key.expose())),
        open_caller: Arc::new(Caller::open()),
        audit_addresses: http.audit_addresses,
        rate_limits: RateLimits::new(
            http.rate_limit.and_then(NonZeroU32::new),
            http.rate_limit_key.and_then(NonZeroU32::new),
            http.rate_limit_customer.and_then(NonZeroU32::new),
            http.trusted_proxies.clone(),
        ),
        request_timeout: http.request_timeout,
        body_timeout: http.body_timeout,
        body_limit: http.body_limit,
        plan_body_limit: http.plan_body_limit,
        hold_ttl: config.reservation.hold_ttl,
        hold_ttl_max: config.reservation.hold_ttl_max,
        serve_metrics: http.metrics_bind.is_none(),
        documents: http.docs.then(|| {
            let hold_ttl_max = config.reservation.hold_ttl_max;
            Documents::new(move || openapi::json(hold_ttl_max))
        }),
        allowed_hosts: AllowedHosts {
            any: http.admin_api_key.is_some(),
            is_loopback: is_loopback_host,
            names: http.allowed_hosts.clone(),
        },
        response_budget: ResponseBudget::default(),
    }
}

/// Customer tokens, if the keys of an identity provider are configured.
fn tokens(config: &Config, store: &Arc<Store>) -> Option<Arc<Tokens>> {
    let settings = &config.tokens;
    let url = settings.jwks_url.clone().map(KeySource::Url);
    let source = url.or_else(|| settings.jwks_file.clone().map(KeySource::File))?;
    let store = Arc::clone(store);
    let clock = move || store.clock();
    Some(Arc::new(Tokens::new(settings.rules()?, source, settings.jwks_refresh, clock)))
}
