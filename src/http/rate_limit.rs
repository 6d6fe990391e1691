//! Optional limits of requests per second: of each client address, of each secret API key, and of each customer (GCRA,
//! by `governor`). Each process counts for itself. Answers name the limits that applied
//! (draft-ietf-httpapi-ratelimit-headers-09).

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::domain::api_key::caller::{Caller, CallerKind};
use crate::domain::cidr::Cidr;
use crate::domain::ids::CustomerId;

use super::Services;
use super::client_address::client_address;
use super::problem::{Code, Problem};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The number of requests after which those with a full quota are removed. This bounds the memory: a request adds at
/// most one entry.
const CHECKS_PER_SWEEP: u64 = 65_536;

/// The limits of requests per second that are configured.
pub struct RateLimits {
    address: Option<Limiter>,
    key: Option<Limiter>,
    customer: Option<Limiter>,
    pub(super) trusted_proxies: Vec<Cidr>,
}

impl RateLimits {
    /// Allows so many requests per second to each address, to each secret key and to each customer, and a burst of the
    /// same size.
    #[must_use]
    pub fn new(
        address: Option<NonZeroU32>,
        key: Option<NonZeroU32>,
        customer: Option<NonZeroU32>,
        trusted_proxies: Vec<Cidr>,
    ) -> Self {
        Self {
            address: address.map(|quota| Limiter::per_second("address", quota)),
            key: key.map(|quota| Limiter::per_second("key", quota)),
            customer: customer.map(|quota| Limiter::per_second("customer", quota)),
            trusted_proxies,
        }
    }
}

/// A limiter with a quota for each hash of an address, a key or a customer.
struct Limiter {
    policy: &'static str,
    quota: NonZeroU32,
    limiter: DefaultKeyedRateLimiter<u64, StateInformationMiddleware>,
    hasher: RandomState,
    checks: AtomicU64,
}

/// What is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    policy: &'static str,
    quota: u32,
    remaining: u32,
    /// Seconds until the next request is allowed; 0 if one is allowed now.
    wait: u32,
}

/// The usage of each limit that was applied to a request, in its extensions.
struct Usages(Vec<Usage>);

impl Limiter {
    fn per_second(policy: &'static str, quota: NonZeroU32) -> Self {
        let limiter = RateLimiter::keyed(Quota::per_second(quota));
        Self {
            policy,
            quota,
            limiter: limiter.with_middleware(),
            hasher: RandomState::new(),
            checks: AtomicU64::new(1),
        }
    }

    /// Counts a request. It is refused if the quota is used up.
    fn check(&self, of: impl Hash) -> Usage {
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        if checks.is_multiple_of(CHECKS_PER_SWEEP) {
            self.limiter.retain_recent();
        }
        let (remaining, wait) = match self.limiter.check_key(&self.hasher.hash_one(of)) {
            Ok(state) => (state.remaining_burst_capacity(), Duration::ZERO),
            Err(refused) => (0, refused.wait_time_from(DefaultClock::default().now())),
        };
        let is_refused = remaining == 0 && wait > Duration::ZERO;
        let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
        let wait = if is_refused { seconds.max(1) } else { 0 };
        Usage { policy: self.policy, quota: self.quota.get(), remaining, wait }
    }

    /// Counts a request, and adds the usage to it.
    fn count(&self, request: &impl HttpMessage, of: impl Hash) -> Result<(), Problem> {
        let usage = self.check(of);
        let mut extensions = request.extensions_mut();
        match extensions.get_mut::<Usages>() {
            Some(Usages(usages)) => usages.push(usage),
            None => drop(extensions.insert(Usages(vec![usage]))),
        }
        if usage.wait == 0 {
            return Ok(());
        }
        let detail = format!("this {} sends more requests than it may", usage.policy);
        Err(Problem { retry_after: Some(usage.wait), ..Problem::new(Code::RateLimited, detail) })
    }
}

/// Refuses a request whose client address has used up its quota. The addresses of an IPv6 network of 64 bits, which one
/// client usually has, share a quota.
pub(super) fn check_address(services: &Services, request: &ServiceRequest) -> Result<(), Problem> {
    let limits = &services.rate_limits;
    let (Some(limiter), Some(peer)) = (&limits.address, request.peer_addr()) else {
        return Ok(());
    };
    let address = client_address(peer.ip(), request.headers(), &limits.trusted_proxies);
    limiter.count(request, network_of(address))
}

fn network_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address) >> 64,
    }
}

/// Refuses a request whose secret key has used up its quota. All visitors of a page share a publishable key, so it has no
/// quota.
pub(super) fn check_key(
    services: &Services,
    request: &ServiceRequest,
    caller: &Caller,
) -> Result<(), Problem> {
    let limiter = services.rate_limits.key.as_ref();
    let limiter = limiter.filter(|_| caller.kind == CallerKind::Secret);
    limiter.map_or(Ok(()), |limiter| limiter.count(request, &caller.id))
}

/// Refuses a request for seats of a customer who has used up the quota.
pub(super) fn check_customer(
    services: &Services,
    request: &HttpRequest,
    customer: &CustomerId,
) -> Result<(), Problem> {
    let limiter = services.rate_limits.customer.as_ref();
    limiter.map_or(Ok(()), |limiter| limiter.count(request, customer))
}

/// Adds the limits that were applied to the request.
pub(super) fn set_headers<B>(response: &mut ServiceResponse<B>) {
    let extensions = response.request().extensions();
    let Some(Usages(usages)) = extensions.get() else { return };
    let (mut policy, mut limit) = (String::new(), String::new());
    for usage in usages {
        let comma = if policy.is_empty() { "" } else { ", " };
        let Usage { policy: name, quota, remaining, wait } = usage;
        // Writing to a string does not fail.
        let _ = write!(policy, "{comma}\"{name}\";q={quota};w=1");
        let _ = write!(limit, "{comma}\"{name}\";r={remaining};t={wait}");
    }
    drop(extensions);
    for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> u128 {
        network_of(text.parse().unwrap())
    }

    #[test]
    fn each_address_has_a_quota_of_its_own() {
        let limiter = Limiter::per_second("address", NonZeroU32::new(2).unwrap());
        let usage = |text| limiter.check(address(text));
        assert_eq!((usage("10.0.0.1").remaining, usage("10.0.0.1").remaining), (1, 0));
        let refused = usage("10.0.0.1");
        assert_eq!((refused.remaining, refused.wait, refused.quota), (0, 1, 2));
        assert_eq!(usage("10.0.0.2").wait, 0);
    }

    #[test]
    fn the_addresses_of_one_client_are_one() {
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("10.0.0.1"), address("::ffff:10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
    }
}
