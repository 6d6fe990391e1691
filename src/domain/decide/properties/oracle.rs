//! The oracle computes the expected outcome of a command from the claims alone. It does not read the states of seats,
//! which `decide` uses.

use super::database::ModelDatabase;
use crate::domain::claims::{HoldRow, HoldStatus};
use crate::domain::clock::EpochMs;
use crate::domain::command::{Action, Command};
use crate::domain::ids::{BookingId, CustomerId, HoldId, ScheduleId, SeatNumber};
use crate::domain::rejection::{Conflict, ConflictReason, Rejection};
use crate::domain::rows::SeatKey;

/// The rejection of a command that is alone in its batch and whose key has no answer yet.
pub(super) fn expected_outcome(
    database: &ModelDatabase,
    now: EpochMs,
    command: &Command,
) -> Option<Rejection> {
    Oracle { database, now }.check(command).err()
}

struct Oracle<'a> {
    database: &'a ModelDatabase,
    now: EpochMs,
}

impl Oracle<'_> {
    fn check(&self, command: &Command) -> Result<(), Rejection> {
        let schedule = command.schedule;
        if command.action == Action::Lookup {
            return Ok(());
        }
        if !self.database.schedules.contains_key(&schedule) {
            return Err(Rejection::NotFound("schedule"));
        }
        if let Some(owner) = &command.owner {
            self.owned_by(owner, &command.action)?;
        }
        match &command.action {
            Action::Hold { seats, customer, .. } | Action::Book { seats, customer, .. } => {
                self.sale(schedule, seats, customer)?;
                self.all_free(schedule, seats, Some(customer)).map_err(Rejection::SeatsUnavailable)
            }
            Action::Block { seats, .. } => {
                self.all_free(schedule, seats, None).map_err(Rejection::SeatsUnavailable)
            }
            Action::Confirm { hold, customer, .. } => self.confirm(*hold, customer.as_ref()),
            Action::Extend { hold, .. } => self.extend(self.find(*hold)?),
            Action::Change { hold, add, remove, version } => {
                self.change(self.find(*hold)?, add, remove, *version)
            }
            Action::Release { hold } => match self.find(*hold)?.status {
                HoldStatus::Confirmed => Err(Rejection::HoldConfirmed),
                _ => Ok(()),
            },
            Action::Expire { hold } => self.find(*hold).map(|_| ()),
            Action::Cancel { booking, seats } => {
                self.cancel(*booking, seats.as_deref().unwrap_or_default())
            }
            Action::Unblock { block } => {
                let found = self.database.blocks.contains_key(block);
                if found { Ok(()) } else { Err(Rejection::NotFound("block")) }
            }
            Action::Lookup => Ok(()),
        }
    }

    /// Whether the claim that a command names is this customer's.
    fn owned_by(&self, owner: &CustomerId, action: &Action) -> Result<(), Rejection> {
        let is_own = |of: Option<&CustomerId>| of == Some(owner);
        let (is_own, what) = match action {
            Action::Hold { customer, .. } | Action::Book { customer, .. } => {
                (is_own(Some(customer)), "customer")
            }
            Action::Cancel { booking, .. } => {
                (is_own(self.database.bookings.get(booking).map(|row| &row.customer)), "booking")
            }
            Action::Block { .. } | Action::Unblock { .. } => (false, "block"),
            Action::Confirm { hold, .. }
            | Action::Extend { hold, .. }
            | Action::Change { hold, .. }
            | Action::Release { hold }
            | Action::Expire { hold } => {
                (is_own(self.database.holds.get(hold).map(|row| &row.customer)), "hold")
            }
            Action::Lookup => (true, "key"),
        };
        if is_own { Ok(()) } else { Err(Rejection::NotFound(what)) }
    }

    fn find(&self, hold: HoldId) -> Result<&HoldRow, Rejection> {
        self.database.holds.get(&hold).ok_or(Rejection::NotFound("hold"))
    }

    fn confirm(&self, hold: HoldId, customer: Option<&CustomerId>) -> Result<(), Rejection> {
        let hold = self.find(hold)?;
        let bought =
            hold.booking.map_or(&hold.customer, |id| &self.database.bookings[&id].customer);
        let is_session = hold.customer.as_str().starts_with("browser-session-");
        let may_bind = is_session && hold.booking.is_none();
        let is_own = |customer: &CustomerId| *customer == hold.customer || customer == bought;
        if customer.is_some_and(|customer| !may_bind && !is_own(customer)) {
            return Err(Rejection::NotFound("hold"));
        }
        let buyer = customer.unwrap_or(&hold.customer);
        if hold.status == HoldStatus::Released {
            return Err(Rejection::HoldReleased);
        }
        if let Some(booking) = hold.booking {
            let is_cancelled = self.database.live_seats(booking).is_empty();
            return if is_cancelled { Err(Rejection::BookingCancelled(booking)) } else { Ok(()) };
        }
        if self.database.is_alive(hold, self.now) {
            let is_other = *buyer != hold.customer;
            return if is_other {
                self.limit(hold.id.schedule, &hold.seats, buyer)
            } else {
                Ok(())
            };
        }
        self.sale(hold.id.schedule, &hold.seats, buyer)?;
        let lost = self.all_free(hold.id.schedule, &hold.seats, Some(&hold.customer));
        lost.map_err(Rejection::HoldExpired)
    }

    fn extend(&self, hold: &HoldRow) -> Result<(), Rejection> {
        match hold.status {
            HoldStatus::Confirmed => Err(Rejection::HoldConfirmed),
            HoldStatus::Released => Err(Rejection::HoldReleased),
            _ if self.database.is_alive(hold, self.now) => Ok(()),
            _ => Err(Rejection::HoldExpired(Vec::new())),
        }
    }

    fn change(
        &self,
        hold: &HoldRow,
        add: &[SeatNumber],
        remove: &[SeatNumber],
        version: Option<u32>,
    ) -> Result<(), Rejection> {
        self.extend(hold)?;
        if version.is_some_and(|version| version != hold.version) {
            return Err(Rejection::HoldChanged { version: hold.version });
        }
        let schedule = hold.id.schedule;
        let foreign = remove.iter().filter(|number| !hold.seats.contains(number));
        let labels: Vec<_> = foreign.map(|number| self.label((schedule, *number))).collect();
        if !labels.is_empty() {
            return Err(Rejection::NotInHold(labels));
        }
        let new: Vec<_> =
            add.iter().filter(|number| !hold.seats.contains(number)).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        // The seats that are removed count neither for the size nor for the limit.
        let removed = u32::try_from(remove.len()).unwrap();
        let size = u32::try_from(hold.seats.len() + new.len()).unwrap() - removed;
        let rules = &self.database.schedules[&schedule].rules;
        self.window(schedule)?;
        if size > rules.max_seats_per_booking {
            return Err(Rejection::HoldTooLarge { max: rules.max_seats_per_booking });
        }
        let owned = owned(self.database, self.now, schedule, &hold.customer);
        let after = owned - removed + u32::try_from(new.len()).unwrap();
        match rules.max_seats_per_customer {
            Some(max) if after > max && after > owned => {
                return Err(Rejection::SeatLimitReached { max, owned });
            }
            _ => {}
        }
        self.all_free(schedule, &new, Some(&hold.customer)).map_err(Rejection::SeatsUnavailable)
    }

    fn cancel(&self, booking: BookingId, seats: &[SeatNumber]) -> Result<(), Rejection> {
        let row = self.database.bookings.get(&booking).ok_or(Rejection::NotFound("booking"))?;
        let foreign = seats.iter().filter(|number| !row.seats.contains(number));
        let labels: Vec<_> =
            foreign.map(|number| self.label((booking.schedule, *number))).collect();
        if labels.is_empty() { Ok(()) } else { Err(Rejection::NotInBooking(labels)) }
    }

    fn label(&self, seat: SeatKey) -> String {
        self.database.seats[&seat].label.clone()
    }

    /// The schedule's rules for a sale, in the order in which they are checked.
    fn sale(
        &self,
        schedule: ScheduleId,
        seats: &[SeatNumber],
        customer: &CustomerId,
    ) -> Result<(), Rejection> {
        self.window(schedule)?;
        let rules = &self.database.schedules[&schedule].rules;
        let count = u32::try_from(seats.len()).unwrap();
        if count > rules.max_seats_per_booking {
            return Err(Rejection::TooManySeats { max: rules.max_seats_per_booking });
        }
        self.limit(schedule, seats, customer)
    }

    fn limit(
        &self,
        schedule: ScheduleId,
        seats: &[SeatNumber],
        customer: &CustomerId,
    ) -> Result<(), Rejection> {
        let count = u32::try_from(seats.len()).unwrap();
        let owned = owned(self.database, self.now, schedule, customer);
        match self.database.schedules[&schedule].rules.max_seats_per_customer {
            Some(max) if owned + count > max => Err(Rejection::SeatLimitReached { max, owned }),
            _ => Ok(()),
        }
    }

    fn window(&self, schedule: ScheduleId) -> Result<(), Rejection> {
        let rules = &self.database.schedules[&schedule].rules;
        let opened = rules.sales_open_at.is_none_or(|open| self.now >= open);
        let closed = rules.sales_close_at.is_some_and(|close| self.now >= close);
        if !opened || closed { Err(Rejection::SalesClosed) } else { Ok(()) }
    }

    fn all_free(
        &self,
        schedule: ScheduleId,
        seats: &[SeatNumber],
        customer: Option<&CustomerId>,
    ) -> Result<(), Vec<Conflict>> {
        let keys = seats.iter().map(|number| (schedule, *number));
        let taken = keys.filter_map(|seat| {
            let (reason, holder) = self.claim_on(seat)?;
            let own = holder.filter(|holder| Some(&holder.customer) == customer);
            Some(Conflict { label: self.label(seat), reason, hold: own.map(|hold| hold.id) })
        });
        let taken: Vec<_> = taken.collect();
        if taken.is_empty() { Ok(()) } else { Err(taken) }
    }

    /// The claim that has a seat: the reason of the conflict, and the hold if the claim is a hold.
    fn claim_on(&self, seat: SeatKey) -> Option<(ConflictReason, Option<&HoldRow>)> {
        let database = self.database;
        let mut sales = database.booked_seats.iter();
        if sales.any(|((sold, _), released)| *sold == seat && released.is_none()) {
            return Some((ConflictReason::Booked, None));
        }
        let holds = |hold: &&HoldRow| hold.id.schedule == seat.0 && hold.seats.contains(&seat.1);
        let mut alive = database.holds.values().filter(|hold| database.is_alive(hold, self.now));
        if let Some(holder) = alive.find(holds) {
            return Some((ConflictReason::Held, Some(holder)));
        }
        let mut blocks = database.blocks.values().filter(|block| !block.lifted);
        blocks
            .any(|block| block.id.schedule == seat.0 && block.seats.contains(&seat.1))
            .then_some((ConflictReason::Blocked, None))
    }
}

/// How many seats of a schedule a customer owns at `now`.
pub(super) fn owned(
    database: &ModelDatabase,
    now: EpochMs,
    schedule: ScheduleId,
    customer: &CustomerId,
) -> u32 {
    let bookings = database.bookings.values();
    let bookings = bookings.filter(|row| row.id.schedule == schedule && row.customer == *customer);
    let booked: usize = bookings.map(|row| database.live_seats(row.id).len()).sum();
    let holds = database.holds.values();
    let holds = holds.filter(|row| row.id.schedule == schedule && row.customer == *customer);
    let alive = holds.filter(|row| database.is_alive(row, now));
    let held: usize = alive.map(|row| row.seats.len()).sum();
    u32::try_from(booked + held).unwrap()
}
