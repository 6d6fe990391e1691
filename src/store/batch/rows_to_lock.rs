//! The rows that a batch must lock and read, derived from its commands alone.

use std::collections::BTreeSet;

use crate::domain::claims::{BlockRow, BookingRow, HoldRow};
use crate::domain::command::{Action, Command, Queued, RequestKey};
use crate::domain::ids::{BlockId, BookingId, CustomerId, HoldId, ScheduleId, SeatNumber};
use crate::domain::rows::SeatKey;

/// The rows by key, each set in the order in which all replicas lock.
#[derive(Debug, Default)]
pub(crate) struct RowsToLock {
    pub(crate) schedules: BTreeSet<ScheduleId>,
    pub(crate) holds: BTreeSet<HoldId>,
    pub(crate) bookings: BTreeSet<BookingId>,
    pub(crate) blocks: BTreeSet<BlockId>,
    pub(crate) seats: BTreeSet<SeatKey>,
    pub(crate) keys: BTreeSet<RequestKey>,
    pub(crate) customers: BTreeSet<(ScheduleId, CustomerId)>,
}

impl RowsToLock {
    pub(crate) fn of(commands: &[Command]) -> Self {
        let mut rows = Self::default();
        for command in commands {
            rows.add(command);
        }
        rows
    }

    fn add(&mut self, command: &Command) {
        self.keys.extend(command.keyed.as_ref().map(|keyed| keyed.request.clone()));
        self.keys.extend(command.queued.map(|queued| Queued::key(queued.id)));
        let schedule = command.schedule;
        match &command.action {
            Action::Lookup => return,
            Action::Hold { seats, customer, .. } | Action::Book { seats, customer, .. } => {
                self.add_seats(schedule, seats);
                self.customers.insert((schedule, customer.clone()));
            }
            Action::Block { seats, .. } => self.add_seats(schedule, seats),
            Action::Confirm { hold, customer, .. } => {
                self.holds.insert(*hold);
                self.customers.extend(customer.clone().map(|customer| (schedule, customer)));
            }
            Action::Extend { hold, .. } | Action::Release { hold } | Action::Expire { hold } => {
                self.holds.insert(*hold);
            }
            Action::Change { hold, add, remove, .. } => {
                self.holds.insert(*hold);
                self.add_seats(schedule, add);
                self.add_seats(schedule, remove);
            }
            Action::Cancel { booking, seats } => {
                self.bookings.insert(*booking);
                self.add_seats(schedule, seats.as_deref().unwrap_or_default());
            }
            Action::Unblock { block } => {
                self.blocks.insert(*block);
            }
        }
        self.schedules.insert(schedule);
    }

    fn add_seats(&mut self, schedule: ScheduleId, seats: &[SeatNumber]) {
        self.seats.extend(seats.iter().map(|number| (schedule, *number)));
    }

    /// Adds the seats of a hold, its customer (a late confirm is checked like a new booking) and the booking that it
    /// became.
    pub(crate) fn add_hold(&mut self, hold: &HoldRow) {
        self.add_seats(hold.id.schedule, &hold.seats);
        self.customers.insert((hold.id.schedule, hold.customer.clone()));
        self.bookings.extend(hold.booking);
    }

    pub(crate) fn add_booking(&mut self, booking: &BookingRow) {
        self.add_seats(booking.id.schedule, &booking.seats);
    }

    pub(crate) fn add_block(&mut self, block: &BlockRow) {
        self.add_seats(block.id.schedule, &block.seats);
    }
}
