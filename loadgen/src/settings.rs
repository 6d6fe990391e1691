//! One measurement, and which settings contradict each other.

use crate::arguments::{Scenario, Target};
use crate::open_loop::Phase;

/// One measurement, with all defaults applied.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The scenario, or the way of buying.
    pub(crate) name: String,
    pub(crate) scenario: Scenario,
    pub(crate) target: Target,
    pub(crate) connections: usize,
    pub(crate) seconds: u64,
    /// Seats of a booking.
    pub(crate) seats: usize,
    pub(crate) schedules: usize,
    /// Schedules on sale at the same time.
    pub(crate) hot: usize,
    pub(crate) schedule_seats: usize,
    pub(crate) keyed: bool,
    pub(crate) hold: bool,
    pub(crate) limit: Option<usize>,
    pub(crate) stored: usize,
    pub(crate) queued: bool,
    pub(crate) offset: usize,
    pub(crate) phases: Vec<Phase>,
    pub(crate) customers: usize,
    /// The seats of a stampede are sold before it.
    pub(crate) sold: bool,
    /// Ids of existing schedules to sell instead of new ones.
    pub(crate) existing: Vec<u64>,
}

impl Settings {
    /// Returns which settings contradict each other.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self { scenario, limit, seats, schedules, hot, .. } = self;
        let is_sale = !matches!(scenario, Scenario::Stampede | Scenario::OnSale | Scenario::Browse);
        let has_phases = !self.phases.is_empty();
        let wrong = if limit.is_some_and(|limit| limit < *seats) {
            "--limit must be at least --seats"
        } else if schedules % hot != 0 {
            "--schedules must be a multiple of --hot"
        } else if has_phases && !matches!(scenario, Scenario::Plain | Scenario::OnSale) {
            "--phases is for the scenarios plain and on-sale"
        } else if !is_sale && (self.keyed || self.hold || self.queued || limit.is_some()) {
            "--keyed, --hold, --queued and --limit are for the scenarios plain, keyed, limited and hold"
        } else if self.target == Target::Reference && (!is_sale || limit.is_some() || self.hold) {
            "--target reference is for the scenarios plain and keyed"
        } else if self.sold && *scenario != Scenario::Stampede {
            "--sold is for the scenario stampede"
        } else if !self.existing.is_empty() && !is_sale {
            "--existing is for the scenarios plain, keyed, limited and hold"
        } else if self.queued && self.hold {
            "--queued is not for holds"
        } else {
            return Ok(());
        };
        Err(wrong.to_owned())
    }

    /// The front seats of each measured schedule that stored bookings have.
    pub(crate) fn front(&self) -> usize {
        self.stored.div_ceil(self.schedules).min(self.schedule_seats / 2)
    }

    /// The additional schedules for stored bookings.
    pub(crate) fn additional_schedules(&self) -> usize {
        let rest = self.stored.saturating_sub(self.front() * self.schedules);
        rest.div_ceil(self.schedule_seats)
    }
}

#[cfg(test)]
mod tests {
    use crate::arguments::tests::settings;

    #[test]
    fn stored_bookings_take_at_most_half_of_a_schedule() {
        let of = |stored: &str| {
            let settings =
                settings(&["--schedules", "2", "--schedule-seats", "1000", "--stored", stored]);
            (settings.front(), settings.additional_schedules())
        };
        assert_eq!(of("0"), (0, 0));
        assert_eq!(of("999"), (500, 0));
        assert_eq!(of("1000"), (500, 0));
        assert_eq!(of("2001"), (500, 2));
    }
}
