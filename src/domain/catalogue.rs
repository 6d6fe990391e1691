//! The catalogue: events, schedules, seat counts, and pages of lists.

use super::clock::EpochMs;
use super::ids::{BookingId, CustomerId, EventId, HistoryId, HoldId, InHistory, ScheduleId};
use super::plan::SeatPlan;
use super::rules::ScheduleRules;

/// An event (a show).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its identifier.
    pub id: EventId,
    /// Its name, 1 to 200 characters.
    pub name: String,
    /// When it was created.
    pub created_at: EpochMs,
}

/// One immutable version of a seat plan.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlanVersion {
    /// The plan.
    pub id: String,
    /// Its version, from 1.
    pub version: i32,
}

/// A version of a plan as it was entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnteredPlan {
    /// The plan and its version.
    pub version: PlanVersion,
    /// Sentences for the author: what was read differently from how it was written.
    pub notes: Vec<String>,
}

/// One performance of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Its identifier.
    pub id: ScheduleId,
    /// The show.
    pub event: EventId,
    /// When the performance starts.
    pub starts_at: EpochMs,
    /// Its rules.
    pub rules: ScheduleRules,
    /// Its layout.
    pub plan: PlanVersion,
    /// How many seats it has.
    pub seats: u32,
    /// When it was created.
    pub created_at: EpochMs,
}

/// A schedule to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchedule {
    /// The show.
    pub event: EventId,
    /// When the performance starts.
    pub starts_at: EpochMs,
    /// Its rules.
    pub rules: ScheduleRules,
}

/// How many seats of a schedule are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// For sale.
    pub available: u32,
    /// Claimed by holds.
    pub held: u32,
    /// Sold.
    pub booked: u32,
    /// Out of sale.
    pub blocked: u32,
}

impl Counts {
    /// Counts the codes of states ([`SeatState::code`](super::seat::SeatState::code)).
    #[must_use]
    pub fn of(codes: impl Iterator<Item = u8>) -> Self {
        codes.fold(Self::default(), |mut counts, code| {
            *counts.of_code(code) += 1;
            counts
        })
    }

    /// Updates the counts after a seat has changed its state, given the codes of the states.
    pub fn moved(&mut self, from: u8, to: u8) {
        let from = self.of_code(from);
        *from = from.saturating_sub(1);
        *self.of_code(to) += 1;
    }

    fn of_code(&mut self, code: u8) -> &mut u32 {
        match code {
            0 => &mut self.available,
            1 => &mut self.held,
            2 => &mut self.booked,
            _ => &mut self.blocked,
        }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// The cursor at which the next page begins; absent on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of at most `limit` rows. The caller has read `limit + 1` rows, to find out whether more follow. The
    /// cursor is the `id` of the last item, in the history that the rows were read in.
    #[must_use]
    pub fn of<I: std::fmt::Display>(
        history: HistoryId,
        mut rows: Vec<T>,
        limit: usize,
        id: impl Fn(&T) -> I,
    ) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = if more { rows.last() } else { None };
        let next_cursor = last.map(|last| InHistory { history, at: id(last) }.to_string());
        Self { items: rows, next_cursor }
    }
}

/// The most seats in the claims of one page. The first claim is on the page even if it alone has more.
pub const PAGE_SEATS_MAX: usize = 50_000;

impl<T> Page<T> {
    /// Like [`Page::of`], with at most [`PAGE_SEATS_MAX`] seats; `seats` counts those of one claim.
    #[must_use]
    pub fn of_claims<I: std::fmt::Display>(
        history: HistoryId,
        rows: Vec<T>,
        limit: usize,
        seats: impl Fn(&T) -> usize,
        id: impl Fn(&T) -> I,
    ) -> Self {
        let mut sum = 0;
        let fits = |row: &&T| {
            sum += seats(row);
            sum <= PAGE_SEATS_MAX
        };
        let fitting = rows.iter().take_while(fits).count().max(1);
        Self::of(history, rows, limit.min(fitting), id)
    }
}

/// The seat plan of a new schedule.
#[derive(Debug, Clone)]
pub enum PlanSource {
    /// This plan, stored under a generated name.
    Inline(SeatPlan),
    /// A stored plan; its newest version if none is named.
    Stored {
        /// The plan.
        id: String,
        /// The version.
        version: Option<i32>,
    },
}

/// The bookings to list. Without a customer or a schedule, no index can be used.
#[derive(Debug, Clone, Default)]
pub struct BookingFilter {
    /// Only of this customer.
    pub customer: Option<CustomerId>,
    /// Only of this schedule.
    pub schedule: Option<ScheduleId>,
    /// Only those after this one, by creation.
    pub after: Option<InHistory<BookingId>>,
}

/// The holds to list.
#[derive(Debug, Clone)]
pub struct HoldFilter {
    /// Only of this customer.
    pub customer: CustomerId,
    /// Only of this schedule.
    pub schedule: Option<ScheduleId>,
    /// Only those after this one, by schedule and creation.
    pub after: Option<InHistory<HoldId>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(sizes: &[usize], limit: usize) -> (Vec<usize>, Option<String>) {
        let rows = sizes.to_vec();
        let history = HistoryId::TEST;
        let page = Page::of_claims(history, rows, limit, |size| *size, |size| *size);
        (page.items, page.next_cursor)
    }

    fn cursor(at: usize) -> Option<String> {
        Some(format!("{}.{at}", HistoryId::TEST))
    }

    #[test]
    fn a_page_of_claims_ends_where_their_seats_are_too_many() {
        let half = PAGE_SEATS_MAX / 2;
        assert_eq!(page(&[1, 2], 5), (vec![1, 2], None));
        assert_eq!(page(&[1, 2, 3], 2), (vec![1, 2], cursor(2)));
        assert_eq!(page(&[half, half], 5), (vec![half, half], None));
        assert_eq!(page(&[half, half, 1], 5), (vec![half, half], cursor(half)));
        let huge = PAGE_SEATS_MAX + 1;
        assert_eq!(page(&[huge, 1], 5), (vec![huge], cursor(huge)), "never empty");
        assert_eq!(page(&[huge], 5), (vec![huge], None));
        assert_eq!(page(&[], 5), (vec![], None));
    }
}
