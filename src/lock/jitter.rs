//! Growing, random waiting times: so that replicas that failed together do not come back together.

use std::time::Duration;

/// An endless series of waiting times. Each lies, evenly spread, between a step and its double; the step
/// begins at the shortest wait and doubles until its own double is the longest.
///
/// failsafe takes any such iterator as a backoff; its own know whole seconds only and can begin with zero.
#[derive(Debug, Clone)]
pub struct Jitter {
    step: Duration,
    longest: Duration,
}

impl Jitter {
    /// Waits of at least `shortest` and at most `longest`; a `longest` below twice the `shortest` is
    /// taken as that.
    #[must_use]
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self { step: shortest, longest: longest.max(shortest.saturating_mul(2)) }
    }
}

impl Iterator for Jitter {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let step = self.step;
        self.step = step.saturating_mul(2).min(self.longest / 2);
        Some(step.saturating_add(step.mul_f64(fastrand::f64())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_the_shortest_to_the_longest_and_stay_there() {
        for _ in 0..100 {
            let waits: Vec<_> =
                Jitter::new(Duration::from_secs(1), Duration::from_secs(10)).take(8).collect();
            let bounds = [(1, 2), (2, 4), (4, 8), (5, 10), (5, 10), (5, 10), (5, 10), (5, 10)];
            for (wait, (least, most)) in waits.iter().zip(bounds) {
                let range = Duration::from_secs(least)..=Duration::from_secs(most);
                assert!(range.contains(wait), "{waits:?}");
            }
        }
    }

    #[test]
    fn two_series_differ() {
        let series = || {
            Jitter::new(Duration::from_secs(1), Duration::from_secs(10)).take(8).collect::<Vec<_>>()
        };
        assert_ne!(series(), series());
    }

    #[test]
    fn a_longest_wait_that_leaves_no_room_is_stretched() {
        let second = Duration::from_secs(1);
        assert!(Jitter::new(second, second).take(20).all(|wait| wait >= second));
    }
}
