//! By what a lost id is found again: the live holds of a customer, the blocks of a schedule, and the own holds among
//! those that stand in the way.

use std::collections::BTreeMap;

use crate::domain::catalogue::{HoldFilter, Page};
use crate::domain::effect::{BlockView, HoldView};
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{BlockId, CustomerId, HoldId, InHistory, ScheduleId, SeatNumber};

use crate::service::bookings::Reservation;

impl Reservation {
    /// The holds of this customer among those that have the seats, for a request that was refused without asking
    /// the booking engine; `None` if that could not be found out in time.
    pub async fn own_holds(
        &self,
        schedule: ScheduleId,
        customer: &CustomerId,
        seats: &[SeatNumber],
    ) -> Option<BTreeMap<SeatNumber, HoldId>> {
        self.holders.own_holds(schedule, customer, seats).await
    }

    /// Holds of a customer that are alive, by schedule and creation, as they stand at the version `at_least` of
    /// their schedule or later.
    pub async fn holds(
        &self,
        filter: HoldFilter,
        at_least: i64,
        limit: usize,
    ) -> Result<Page<HoldView>, StoreError> {
        self.store.holds(filter, at_least, limit).await
    }

    /// Blocks of a schedule that were not lifted, by creation, at the version `at_least` or later.
    pub async fn blocks(
        &self,
        (schedule, at_least): (ScheduleId, i64),
        after: Option<InHistory<BlockId>>,
        limit: usize,
    ) -> Result<Page<BlockView>, StoreError> {
        self.store.blocks((schedule, at_least), after, limit).await
    }
}
