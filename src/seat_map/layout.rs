//! A schedule's layout: its plan, and its seats by label.

use std::collections::HashMap;

use crate::domain::ids::SeatNumber;
use crate::domain::plan::{PlacedSeat, SeatPlan};

/// A plan, ready to translate between labels and numbers.
#[derive(Debug)]
pub struct Layout {
    plan: SeatPlan,
    by_label: HashMap<String, SeatNumber>,
}

impl Layout {
    pub(super) fn new(plan: SeatPlan) -> Self {
        let by_label =
            plan.seats().map(|(number, placed)| (placed.seat.label.clone(), number)).collect();
        Self { plan, by_label }
    }

    /// How many seats it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_label.len()
    }

    /// Whether it has no seat, which no stored plan has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_label.is_empty()
    }

    /// The number of the seat with this label.
    #[must_use]
    pub fn number(&self, label: &str) -> Option<SeatNumber> {
        self.by_label.get(label).copied()
    }

    /// All seats in plan order.
    pub fn seats(&self) -> impl Iterator<Item = (SeatNumber, PlacedSeat<'_>)> {
        self.plan.seats()
    }

    /// The labels of these seats, in their order.
    #[must_use]
    pub fn labels(&self, numbers: &[SeatNumber]) -> HashMap<SeatNumber, String> {
        let wanted = self.plan.seats().filter(|(number, _)| numbers.contains(number));
        wanted.map(|(number, placed)| (number, placed.seat.label.clone())).collect()
    }
}
