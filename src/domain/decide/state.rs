//! The rows of a batch while it is being decided. Every change goes through [`DecisionState`], so that the rows
//! that later commands see and the changes that are written cannot differ.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::domain::claim_event::{ClaimEvent, event_of};
use crate::domain::claims::{BlockRow, BookingRow, HoldRow};
use crate::domain::clock::{EpochMs, hold_end};
use crate::domain::command::Command;
use crate::domain::effect::{BlockView, BookingView, Effect, HoldView, Outcome, PricedSeat};
use crate::domain::ids::{BlockId, BookingId, CustomerId, HoldId, ScheduleId, SeatNumber};
use crate::domain::rejection::{Conflict, ConflictReason, Rejection};
use crate::domain::rows::{BookedSeat, Changes, JournalEntry, Rows, SeatKey};
use crate::domain::rules::{Policy, ScheduleRules};
use crate::domain::seat::SeatState;

use super::Decision;

/// The rows of a batch, its changes so far, and the clock and limits of its decisions.
pub(super) struct DecisionState {
    pub(super) now: EpochMs,
    pub(super) policy: Policy,
    pub(super) rows: Rows,
    pub(super) changes: Changes,
    row_lock_saves: u64,
    events: BTreeMap<ScheduleId, Vec<ClaimEvent>>,
    /// The seats that the present command has written, and whether it freed them.
    written: BTreeMap<SeatNumber, bool>,
}

impl DecisionState {
    pub(super) fn new(now: EpochMs, policy: Policy, rows: Rows) -> Self {
        Self {
            now,
            policy,
            rows,
            changes: Changes::default(),
            row_lock_saves: 0,
            events: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// Ends the batch. `freed_schedules` are the schedules in which a command freed seats, in this batch or before.
    pub(super) fn finish(
        self,
        outcomes: Vec<Outcome>,
        freed_schedules: BTreeSet<ScheduleId>,
    ) -> Decision {
        let mut by_schedule: BTreeMap<ScheduleId, Vec<(SeatNumber, SeatState)>> = BTreeMap::new();
        for ((schedule, number), state) in &self.changes.seats {
            by_schedule.entry(*schedule).or_default().push((*number, *state));
        }
        let version_after = |schedule: ScheduleId, is_written: bool| {
            Some(self.rows.schedules.get(&schedule)?.version + i64::from(is_written))
        };
        let freed = freed_schedules
            .into_iter()
            .filter_map(|schedule| {
                let is_written = by_schedule.contains_key(&schedule);
                Some((schedule, version_after(schedule, is_written)?))
            })
            .collect();
        let journal = by_schedule
            .into_iter()
            .filter_map(|(schedule, changes)| {
                let version = version_after(schedule, true)?;
                Some(JournalEntry { schedule, version, changes })
            })
            .collect();
        let row_lock_saves = self.row_lock_saves;
        let events = self.events;
        Decision { outcomes, changes: self.changes, journal, events, freed, row_lock_saves }
    }

    /// Records the change of the claim by a command that has had its effect, if the command has written seats.
    pub(super) fn record_event(&mut self, command: &Command, effect: &Effect) {
        let written = std::mem::take(&mut self.written);
        let Some((kind, claim)) = event_of(&command.action, effect) else { return };
        if written.is_empty() {
            return;
        }
        let (freed, taken): (Vec<_>, Vec<_>) = written.into_iter().partition(|(_, freed)| *freed);
        let numbers =
            |seats: Vec<(SeatNumber, bool)>| seats.into_iter().map(|seat| seat.0).collect();
        let (taken, freed) = (numbers(taken), numbers(freed));
        let event = ClaimEvent { kind, claim, taken, freed, sender: command.sender.clone() };
        self.events.entry(command.schedule).or_default().push(event);
    }

    pub(super) fn rules(&self, schedule: ScheduleId) -> Result<&ScheduleRules, Rejection> {
        let row = self.rows.schedules.get(&schedule).ok_or(Rejection::NotFound("schedule"))?;
        Ok(&row.rules)
    }

    pub(super) fn state(&self, key: SeatKey) -> Option<SeatState> {
        self.rows.seats.get(&key).map(|row| row.state)
    }

    /// Why a seat cannot be taken now. A seat whose row is missing cannot be sold.
    fn conflict_reason(&self, key: SeatKey) -> Option<ConflictReason> {
        let Some(state) = self.state(key) else { return Some(ConflictReason::Blocked) };
        state.refuses(self.now, &self.rows.outages, self.policy.outage_grace)
    }

    /// The label of a seat, or its number if it has no row.
    pub(super) fn label(&self, key: SeatKey) -> String {
        let row = self.rows.seats.get(&key);
        row.map_or_else(|| format!("#{}", key.1.0), |row| row.label.clone())
    }

    /// The conflict that prevents `customer` from taking a seat, if there is one.
    pub(super) fn conflict(&self, key: SeatKey, customer: Option<&CustomerId>) -> Option<Conflict> {
        let reason = self.conflict_reason(key)?;
        let hold = match reason {
            ConflictReason::Held => customer.and_then(|customer| self.own_hold(key, customer)),
            _ => None,
        };
        Some(Conflict { label: self.label(key), reason, hold })
    }

    pub(super) fn find_hold(&self, id: HoldId) -> Result<HoldRow, Rejection> {
        self.rows.holds.get(&id).cloned().ok_or(Rejection::NotFound("hold"))
    }

    pub(super) fn find_booking(&self, id: BookingId) -> Result<BookingRow, Rejection> {
        self.rows.bookings.get(&id).cloned().ok_or(Rejection::NotFound("booking"))
    }

    pub(super) fn find_block(&self, id: BlockId) -> Result<BlockRow, Rejection> {
        self.rows.blocks.get(&id).cloned().ok_or(Rejection::NotFound("block"))
    }

    /// The hold that has a seat, if it is this customer's.
    fn own_hold(&self, key: SeatKey, customer: &CustomerId) -> Option<HoldId> {
        let SeatState::Held { hold, .. } = self.state(key)? else { return None };
        let id = HoldId { schedule: key.0, uuid: hold };
        let locked = self.rows.holds.get(&id).map(|row| &row.customer);
        let owner = locked.or_else(|| self.rows.owners.get(&id))?;
        (owner == customer).then_some(id)
    }

    /// Counts those of the seats of a locked command that another locked command of this batch has taken.
    pub(super) fn count_failed_locks(&mut self, keys: impl Iterator<Item = SeatKey>) {
        let taken = &self.changes.taken_under_lock;
        self.row_lock_saves += keys.map(|key| u64::from(taken.contains(&key))).sum::<u64>();
    }

    pub(super) fn set_seat(&mut self, key: SeatKey, state: SeatState) {
        if let Some(row) = self.rows.seats.get_mut(&key) {
            row.state = state;
            self.changes.seats.insert(key, state);
            self.written.insert(key.1, state == SeatState::Available);
        }
    }

    /// Frees those of the seats whose state `names` the claim, and returns them.
    pub(super) fn free_seats(
        &mut self,
        schedule: ScheduleId,
        seats: &[SeatNumber],
        names: impl Fn(SeatState) -> bool,
    ) -> Vec<SeatKey> {
        let keys = seats.iter().map(|number| (schedule, *number));
        let freed: Vec<SeatKey> = keys.filter(|key| self.state(*key).is_some_and(&names)).collect();
        for key in &freed {
            self.set_seat(*key, SeatState::Available);
        }
        freed
    }

    pub(super) fn put_hold(&mut self, hold: HoldRow) {
        let customer = (hold.id.schedule, hold.customer.clone());
        self.rows.customers.entry(customer).or_default().recount_hold(&hold);
        let existed = self.rows.holds.insert(hold.id, hold.clone()).is_some();
        let is_new = !existed || self.changes.new_holds.contains_key(&hold.id);
        let target = if is_new { &mut self.changes.new_holds } else { &mut self.changes.holds };
        target.insert(hold.id, hold);
    }

    pub(super) fn put_booking(&mut self, booking: BookingRow) {
        let before = self.rows.bookings.insert(booking.id, booking.clone());
        let customer = (booking.id.schedule, booking.customer.clone());
        let seats = self.rows.customers.entry(customer).or_default();
        let live_before = before.as_ref().map_or(0, |row| row.live_seats);
        seats.booked = seats.booked.saturating_sub(live_before).saturating_add(booking.live_seats);
        let is_new = before.is_none() || self.changes.new_bookings.contains_key(&booking.id);
        let target =
            if is_new { &mut self.changes.new_bookings } else { &mut self.changes.bookings };
        target.insert(booking.id, booking);
    }

    pub(super) fn put_block(&mut self, block: BlockRow) {
        let existed = self.rows.blocks.insert(block.id, block.clone()).is_some();
        let is_new = !existed || self.changes.new_blocks.contains_key(&block.id);
        let target = if is_new { &mut self.changes.new_blocks } else { &mut self.changes.blocks };
        target.insert(block.id, block);
    }

    pub(super) fn begin_booked_seat(&mut self, seat: SeatKey, booking: Uuid) {
        let row = BookedSeat { seat, booking, released_at: None };
        self.changes.new_booked_seats.insert((seat, booking), row);
    }

    pub(super) fn end_booked_seat(&mut self, seat: SeatKey, booking: Uuid) {
        let released_at = Some(self.now);
        match self.changes.new_booked_seats.get_mut(&(seat, booking)) {
            Some(row) => row.released_at = released_at,
            None => {
                let row = BookedSeat { seat, booking, released_at };
                self.changes.released_seats.insert(seat, row);
            }
        }
    }

    /// Refuses if `more` seats would bring the customer over the schedule's limit.
    pub(super) fn check_customer_limit(
        &self,
        schedule: ScheduleId,
        customer: &CustomerId,
        more: usize,
    ) -> Result<(), Rejection> {
        let Some(max) = self.rules(schedule)?.max_seats_per_customer else { return Ok(()) };
        let owned =
            self.rows.customers.get(&(schedule, customer.clone())).map_or(0, |seats| {
                seats.owned(self.now, &self.rows.outages, self.policy.outage_grace)
            });
        let sum = owned.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        if sum > max { Err(Rejection::SeatLimitReached { max, owned }) } else { Ok(()) }
    }

    pub(super) fn expires_at(&self, hold: &HoldRow) -> EpochMs {
        hold_end(hold.until, &self.rows.outages, self.policy.outage_grace)
    }

    fn priced(&self, schedule: ScheduleId, seats: &[SeatNumber]) -> Vec<PricedSeat> {
        let row = |number: &SeatNumber| {
            let row = self.rows.seats.get(&(schedule, *number))?;
            Some(PricedSeat { number: *number, label: row.label.clone(), price: row.price })
        };
        seats.iter().filter_map(row).collect()
    }

    pub(super) fn hold_view(&self, row: HoldRow) -> Result<HoldView, Rejection> {
        let seats = self.priced(row.id.schedule, &row.seats);
        let currency = self.rules(row.id.schedule)?.currency.clone();
        Ok(HoldView { ends_at: self.expires_at(&row), now: self.now, row, seats, currency })
    }

    pub(super) fn booking_view(&self, row: BookingRow) -> Result<BookingView, Rejection> {
        let owns = |number: &SeatNumber| {
            self.state((row.id.schedule, *number)).is_some_and(|s| s.names_booking(row.id.uuid))
        };
        let (live, cancelled): (Vec<SeatNumber>, Vec<SeatNumber>) =
            row.seats.iter().copied().partition(owns);
        let currency = self.rules(row.id.schedule)?.currency.clone();
        let seats = self.priced(row.id.schedule, &live);
        let cancelled_seats = self.priced(row.id.schedule, &cancelled);
        Ok(BookingView { row, seats, cancelled_seats, currency })
    }

    pub(super) fn block_view(&self, row: BlockRow) -> BlockView {
        let seats = self.priced(row.id.schedule, &row.seats);
        BlockView { row, labels: seats.into_iter().map(|seat| seat.label).collect() }
    }
}
