//! An optional limit of requests per second and client address (GCRA, by `governor`).

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::dev::ServiceRequest;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::Services;
use super::problem::{Code, Problem};

/// The number of requests after which addresses with a full quota are removed. This bounds the memory: a request adds
/// at most one address.
const CHECKS_PER_SWEEP: u64 = 65_536;

/// A limiter with one quota per client address.
pub struct RateLimit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    checks: AtomicU64,
}

impl RateLimit {
    /// Allows this many requests per second, and a burst of the same size.
    #[must_use]
    pub fn per_second(requests: NonZeroU32) -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_second(requests)), checks: AtomicU64::new(1) }
    }

    /// Counts a request. If the quota is used up, the error is the time to wait, in seconds.
    fn check(&self, address: IpAddr) -> Result<(), u32> {
        let checks = self.checks.fetch_add(1, Ordering::Relaxed);
        if checks.is_multiple_of(CHECKS_PER_SWEEP) {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&address).map_err(|refused| {
            let wait = refused.wait_time_from(DefaultClock::default().now());
            u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1)
        })
    }
}

/// Refuses a request whose client address has used up its quota.
pub(super) fn check(services: &Services, request: &ServiceRequest) -> Result<(), Problem> {
    let (Some(limit), Some(address)) = (&services.rate_limit, request.peer_addr()) else {
        return Ok(());
    };
    limit.check(address.ip()).map_err(|seconds| {
        let detail = "this address sends more requests than it may";
        Problem { retry_after: Some(seconds), ..Problem::new(Code::RateLimited, detail) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_a_quota_of_its_own() {
        let limit = RateLimit::per_second(NonZeroU32::new(2).unwrap());
        let one = IpAddr::from([10, 0, 0, 1]);
        let other = IpAddr::from([10, 0, 0, 2]);
        assert_eq!(limit.check(one), Ok(()));
        assert_eq!(limit.check(one), Ok(()));
        assert_eq!(limit.check(one), Err(1));
        assert_eq!(limit.check(other), Ok(()));
    }
}
