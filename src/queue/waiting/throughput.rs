//! How fast the line of each schedule moves, as this process sees it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::ids::ScheduleId;

/// What happened this long ago counts for a third.
const MEMORY: Duration = Duration::from_secs(5);

/// A pace is measured over at least this long.
const WINDOW: Duration = Duration::from_millis(250);

/// A schedule whose line has not moved for this long is forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// The pace of each line.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    schedules: Mutex<HashMap<ScheduleId, Measured>>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    since: Instant,
    count: usize,
    per_second: Option<f64>,
}

impl Measured {
    /// Counts some more; closes the window if it is long enough.
    fn note(&mut self, count: usize, now: Instant) {
        self.count += count;
        let window = now.saturating_duration_since(self.since);
        if window < WINDOW {
            return;
        }
        let measured = self.count as f64 / window.as_secs_f64();
        let share = 1.0 - (-window.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        let before = self.per_second.unwrap_or(measured);
        self.per_second = Some(before + (measured - before) * share);
        (self.since, self.count) = (now, 0);
    }
}

impl Throughput {
    /// Notes that so many requests of a schedule were executed; gives its pace, once there is one.
    pub(super) fn note(&self, schedule: ScheduleId, count: usize) -> Option<f64> {
        let now = Instant::now();
        let mut schedules = self.schedules.lock().unwrap_or_else(PoisonError::into_inner);
        if !schedules.contains_key(&schedule) {
            schedules.retain(|_, measured| now - measured.since < FORGET);
        }
        let new = Measured { since: now, count: 0, per_second: None };
        let measured = schedules.entry(schedule).or_insert(new);
        measured.note(count, now);
        measured.per_second
    }

    /// The pace of a schedule.
    pub(super) fn of(&self, schedule: ScheduleId) -> Option<f64> {
        let schedules = self.schedules.lock().unwrap_or_else(PoisonError::into_inner);
        schedules.get(&schedule)?.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_follows_what_is_executed() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut line = Measured { since: began, count: 0, per_second: None };
        line.note(10, at(100));
        assert_eq!(line.per_second, None, "too short to tell");
        line.note(90, at(500));
        assert_eq!(line.per_second, Some(200.0));
        for second in 1..60u64 {
            line.note(50, at(500 + second * 1_000));
        }
        assert!((line.per_second.unwrap() - 50.0).abs() < 1.0, "{line:?}");
    }
}
