//! Growing, random pauses between retries, so that processes that failed together do not retry together.

use std::time::Duration;

/// An endless series of pauses (exponential backoff with jitter). Each pause is random, evenly distributed between a
/// step and twice that step. The first step is the shortest pause; the step doubles after each pause until twice the
/// step is the longest pause.
///
/// The type is an iterator because failsafe accepts any iterator of pauses. failsafe's own series count whole seconds
/// and can start at zero.
#[derive(Debug, Clone)]
pub struct Backoff {
    step: Duration,
    longest: Duration,
}

impl Backoff {
    /// Creates a series of pauses of at least `shortest` and at most `longest`. If `longest` is less than twice
    /// `shortest`, it is raised to that.
    #[must_use]
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self { step: shortest, longest: longest.max(shortest.saturating_mul(2)) }
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        let step = self.step;
        self.step = step.saturating_mul(2).min(self.longest / 2);
        step.saturating_add(step.mul_f64(fastrand::f64()))
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.next_pause())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_the_shortest_to_the_longest_and_stay_there() {
        for _ in 0..100 {
            let pauses: Vec<_> =
                Backoff::new(Duration::from_secs(1), Duration::from_secs(10)).take(8).collect();
            let bounds = [(1, 2), (2, 4), (4, 8), (5, 10), (5, 10), (5, 10), (5, 10), (5, 10)];
            for (pause, (least, most)) in pauses.iter().zip(bounds) {
                let range = Duration::from_secs(least)..=Duration::from_secs(most);
                assert!(range.contains(pause), "{pauses:?}");
            }
        }
    }

    #[test]
    fn two_series_differ() {
        let pauses = || {
            Backoff::new(Duration::from_secs(1), Duration::from_secs(10))
                .take(8)
                .collect::<Vec<_>>()
        };
        assert_ne!(pauses(), pauses());
    }

    #[test]
    fn a_longest_pause_below_twice_the_shortest_is_raised() {
        let second = Duration::from_secs(1);
        assert!(Backoff::new(second, second).take(20).all(|pause| pause >= second));
    }
}
