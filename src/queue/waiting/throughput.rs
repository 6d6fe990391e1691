//! The throughput of each schedule as this process has measured it, in executed requests per second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::ids::ScheduleId;

/// The time constant of the moving average.
const AVERAGE: Duration = Duration::from_secs(5);

/// The shortest time over which the throughput is measured.
const WINDOW: Duration = Duration::from_millis(250);

/// The throughput of a schedule is removed after this time without an execution.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The throughput of each schedule.
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
    /// Counts executions, and updates the average when the window is long enough.
    fn note(&mut self, count: usize, now: Instant) {
        self.count += count;
        let window = now.saturating_duration_since(self.since);
        if window < WINDOW {
            return;
        }
        let measured = self.count as f64 / window.as_secs_f64();
        let weight = 1.0 - (-window.as_secs_f64() / AVERAGE.as_secs_f64()).exp();
        let before = self.per_second.unwrap_or(measured);
        self.per_second = Some(before + (measured - before) * weight);
        (self.since, self.count) = (now, 0);
    }
}

impl Throughput {
    /// Counts executions of a schedule. Returns its throughput as soon as it has been measured.
    pub(super) fn note(&self, schedule: ScheduleId, count: usize) -> Option<f64> {
        let now = Instant::now();
        let mut schedules = self.schedules.lock();
        if !schedules.contains_key(&schedule) {
            schedules.retain(|_, measured| now - measured.since < IDLE_MAX);
        }
        let new = Measured { since: now, count: 0, per_second: None };
        let measured = schedules.entry(schedule).or_insert(new);
        measured.note(count, now);
        measured.per_second
    }

    pub(super) fn of(&self, schedule: ScheduleId) -> Option<f64> {
        self.schedules.lock().get(&schedule)?.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_throughput_is_a_moving_average_of_executions() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let mut measured = Measured { since: began, count: 0, per_second: None };
        measured.note(10, at(100));
        assert_eq!(measured.per_second, None, "the window is too short");
        measured.note(90, at(500));
        assert_eq!(measured.per_second, Some(200.0));
        for second in 1..60u64 {
            measured.note(50, at(500 + second * 1_000));
        }
        assert!((measured.per_second.unwrap() - 50.0).abs() < 1.0, "{measured:?}");
    }
}
