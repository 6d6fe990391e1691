//! The order of the timeouts: a timeout is shorter than the one that contains it.
//!
//! If an inner timeout is longer than the outer one, a clear answer becomes an unknown one: for example, if a seat lock
//! ends before its transaction, or if a request is answered before its database has given up.

use std::time::Duration;

use super::Config;
use super::duration::show;
use super::reader::Reader;

/// A timeout: its variable and its value.
type Timeout = (&'static str, fn(&Config) -> Duration);

/// A rule: one timeout is shorter than another, for a reason.
struct Rule {
    shorter: Timeout,
    longer: Timeout,
    may_be_equal: bool,
    reason: &'static str,
}

const LOCK_ROUND_TRIP: Timeout = ("LOCK_ROUND_TRIP", |c| c.seat_lock.round_trip);
const POOL_WAIT: Timeout = ("DB_POOL_WAIT", |c| c.database.pool_wait);
const LOCK: Timeout = ("DB_LOCK_TIMEOUT", |c| c.database.lock_timeout);
const STATEMENT: Timeout = ("DB_STATEMENT_TIMEOUT", |c| c.database.statement_timeout);
const TRANSACTION: Timeout = ("DB_TRANSACTION_TIMEOUT", |c| c.database.transaction_timeout);
const REQUEST: Timeout = ("REQUEST_TIMEOUT", |c| c.http.request_timeout);
const SEAT_LOCK: Timeout = ("SEAT_LOCK_TIMEOUT", |c| c.seat_lock.timeout);
const HOLD: Timeout = ("HOLD_TTL", |c| c.reservation.hold_ttl);
const HOLD_MAX: Timeout = ("HOLD_TTL_MAX", |c| c.reservation.hold_ttl_max);
const DRAIN: Timeout = ("DRAIN_TIMEOUT", |c| c.http.drain_delay + c.http.drain_timeout);
const GRACE: Timeout = ("TERMINATION_GRACE", |c| c.http.termination_grace);

const RULES: [Rule; 9] = [
    below(
        LOCK_ROUND_TRIP,
        POOL_WAIT,
        "a slow Redis must not delay a request more than a busy database",
    ),
    below(POOL_WAIT, LOCK, "waiting for a connection must fail before waiting for a row lock"),
    below(LOCK, STATEMENT, "waiting for a row lock is part of a statement"),
    below(STATEMENT, TRANSACTION, "a statement is part of a transaction"),
    below(TRANSACTION, REQUEST, "a request must learn how its transaction ended"),
    below(REQUEST, SEAT_LOCK, "a seat lock must outlive the request that holds it"),
    below(SEAT_LOCK, HOLD, "a hold must outlive the seat lock of its request"),
    Rule {
        shorter: HOLD,
        longer: HOLD_MAX,
        may_be_equal: true,
        reason: "the default lifetime of a hold must be allowed",
    },
    below(
        DRAIN,
        GRACE,
        "DRAIN_DELAY and DRAIN_TIMEOUT together must end before the platform kills the process",
    ),
];

const fn below(shorter: Timeout, longer: Timeout, reason: &'static str) -> Rule {
    Rule { shorter, longer, may_be_equal: false, reason }
}

/// Adds a problem for each rule that does not hold.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    for Rule { shorter, longer, may_be_equal, reason } in RULES {
        let low = shorter.1(config);
        let high = longer.1(config);
        let in_order = low < high || (may_be_equal && low == high);
        // Each timeout is the shorter one in at most one rule, and only the shorter one is refused, so no rule hides
        // another.
        if in_order || reader.is_refused(shorter.0) || reader.is_refused(longer.0) {
            continue;
        }
        let relation = if may_be_equal { "at most" } else { "less than" };
        let expected = format!("{relation} {}={} ({reason})", longer.0, show(high));
        let example = reader.defaults(&[shorter.0, longer.0]);
        reader.refuse(shorter.0, expected, example);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, problems};

    #[test]
    fn timeouts_out_of_order_name_both_variables_and_values() {
        assert_eq!(
            problems(&[("DB_POOL_WAIT", "1000ms")]),
            ["DB_POOL_WAIT=\"1000ms\": expected less than DB_LOCK_TIMEOUT=1s (waiting for \
                 a connection must fail before waiting for a row lock); \
                 for example DB_POOL_WAIT=500ms DB_LOCK_TIMEOUT=1s"]
        );
    }

    #[test]
    fn every_rule_is_checked_and_all_are_reported_together() {
        for Rule { shorter, longer, may_be_equal, .. } in RULES {
            let (low, high) = if may_be_equal { ("31s", "30s") } else { ("30s", "30s") };
            let found = problems(&[(shorter.0, low), (longer.0, high)]);
            let (start, with) =
                (format!("{}=\"{low}\"", shorter.0), format!("{}={high}", longer.0));
            let named = found.iter().any(|p| p.starts_with(&start) && p.contains(&with));
            assert!(named, "{} and {}: {found:?}", shorter.0, longer.0);
        }
        let upside_down = RULES.map(|rule| (rule.shorter.0, "2h"));
        assert_eq!(problems(&upside_down).len(), 9);
    }

    #[test]
    fn a_hold_may_live_as_long_as_any() {
        config(&[("HOLD_TTL", "1h"), ("HOLD_TTL_MAX", "1h")]);
    }

    #[test]
    fn a_timeout_that_is_refused_is_not_compared() {
        assert_eq!(problems(&[("DB_LOCK_TIMEOUT", "never"), ("DB_POOL_WAIT", "2s")]).len(), 1);
    }
}
