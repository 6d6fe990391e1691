//! The refusal of seats, for the customer who asked for them.
//!
//! Most refusals need no database. The futures of the others are boxed, because a future is moved as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::domain::command::{Action, Command};
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::domain::rejection::{Conflict, ConflictReason};
use crate::seat_map::LoadedSchedule;
use crate::store::Holder;
use crate::telemetry::metrics::reservation::EarlyRejection;

use super::{BookingError, BookingService};

impl BookingService {
    /// Removes from the seats that the map refuses those that the hold has already that the command changes. If the
    /// holders cannot be read, the rows decide.
    pub(super) async fn without_seats_of_changed_hold(
        &self,
        command: &Command,
        taken: Vec<(SeatNumber, ConflictReason)>,
    ) -> Vec<(SeatNumber, ConflictReason)> {
        let Action::Change { hold, .. } = command.action else { return taken };
        let held = taken.iter().filter(|(_, reason)| *reason == ConflictReason::Held);
        let held: Vec<SeatNumber> = held.map(|(seat, _)| *seat).collect();
        if held.is_empty() {
            return taken;
        }
        let is_owner = |of: &Holder| command.owner.as_ref().is_none_or(|own| *own == of.customer);
        let is_own = |holder: &Holder| holder.hold == hold && is_owner(holder);
        match Box::pin(self.holders.holds(hold.schedule, &held, is_own)).await {
            Some(own) => taken.into_iter().filter(|(seat, _)| !own.contains_key(seat)).collect(),
            None => Vec::new(),
        }
    }

    /// Builds and counts the refusal of seats, with their labels and the holds of the same customer.
    pub(super) async fn seats_unavailable(
        &self,
        command: &Command,
        taken: &[(SeatNumber, ConflictReason)],
        by_locks_alone: bool,
        deadline: Instant,
    ) -> BookingError {
        let maps = &self.deps.seat_maps;
        let metrics = &self.deps.metrics.reservation;
        if by_locks_alone {
            let seats: Vec<SeatNumber> = taken.iter().map(|(seat, _)| *seat).collect();
            if maps.are_free(command.schedule, &seats) {
                metrics.free_seat_conflicts_total.inc();
            }
            metrics.refused_early(EarlyRejection::Locked);
        } else {
            metrics.refused_early(EarlyRejection::Known);
        }
        let schedule = match maps.loaded(command.schedule) {
            Some(loaded) => loaded,
            None => match Box::pin(self.load_schedule(command.schedule, deadline)).await {
                Ok(loaded) => loaded,
                Err(error) => return error,
            },
        };
        let held = taken.iter().filter(|(_, reason)| *reason == ConflictReason::Held);
        let held: Vec<SeatNumber> = held.map(|(seat, _)| *seat).collect();
        let own_holds = match command.action.customer() {
            Some(customer) if !held.is_empty() => {
                let is_own = |holder: &Holder| holder.customer == *customer;
                Box::pin(self.holders.holds(command.schedule, &held, is_own)).await
            }
            _ => Some(BTreeMap::new()),
        };
        let conflict = |(number, reason): &(SeatNumber, ConflictReason)| Conflict {
            label: schedule.layout.seat(*number).map_or_else(String::new, |seat| seat.label.into()),
            reason: *reason,
            hold: own_holds.as_ref().and_then(|own| own.get(number)).copied(),
        };
        let conflicts = taken.iter().map(conflict).collect();
        let owners_known = own_holds.is_some();
        BookingError::SeatsUnavailable { conflicts, by_locks_alone, owners_known }
    }

    async fn load_schedule(
        &self,
        id: ScheduleId,
        deadline: Instant,
    ) -> Result<Arc<LoadedSchedule>, BookingError> {
        let schedule = self.deps.seat_maps.schedule(id);
        match tokio::time::timeout_at(deadline.into(), schedule).await {
            Ok(Ok(Some(schedule))) => Ok(schedule),
            Ok(Ok(None)) => Err(BookingError::NoSchedule),
            Ok(Err(error)) => Err(BookingError::NotRead(error)),
            Err(_) => {
                let reason = "the layout of the schedule was not read in time".to_owned();
                Err(BookingError::NotRead(StoreError::Unavailable(reason)))
            }
        }
    }
}
