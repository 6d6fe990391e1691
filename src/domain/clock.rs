//! Times on the database's clock, and how an outage extends a hold.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC on the database's clock. No other clock is used in decisions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EpochMs(pub i64);

impl From<SystemTime> for EpochMs {
    /// The same time; zero for times before 1970.
    fn from(time: SystemTime) -> Self {
        Self(0).plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl EpochMs {
    /// This time plus a duration; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A period in which no replica could write, and so no customer could confirm a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// The time of the last heartbeat before the outage.
    pub began: EpochMs,
    /// When the first batch or heartbeat after the outage found it.
    pub ended: EpochMs,
}

/// When a hold expires. An end inside an outage, or within `grace` after it, moves to the outage's end plus `grace`.
/// `outages` are in the order of their beginning; a later outage can move the end again.
#[must_use]
pub fn hold_end(until: EpochMs, outages: &[Outage], grace: Duration) -> EpochMs {
    outages.iter().fold(until, |end, outage| {
        let extended = outage.ended.plus(grace);
        if end >= outage.began && end < extended { extended } else { end }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_millis(60);

    #[test]
    fn an_outage_moves_only_the_ends_it_took_from_the_customer() {
        let outages = [Outage { began: EpochMs(100), ended: EpochMs(200) }];
        let end = |until| hold_end(EpochMs(until), &outages, GRACE).0;
        assert_eq!(end(99), 99, "the hold ended before the outage");
        assert_eq!(end(100), 260);
        assert_eq!(end(150), 260);
        assert_eq!(end(259), 260, "too little was left to confirm");
        assert_eq!(end(260), 260);
        assert_eq!(end(300), 300, "enough time is left");
    }

    #[test]
    fn a_moved_end_can_fall_into_the_next_outage() {
        let outages = [
            Outage { began: EpochMs(100), ended: EpochMs(200) },
            Outage { began: EpochMs(250), ended: EpochMs(400) },
        ];
        assert_eq!(hold_end(EpochMs(150), &outages, GRACE), EpochMs(460));
    }

    #[test]
    fn times_saturate() {
        assert_eq!(EpochMs(i64::MAX).plus(GRACE), EpochMs(i64::MAX));
        assert_eq!(EpochMs(5).since(EpochMs(9)), Duration::ZERO);
    }
}
