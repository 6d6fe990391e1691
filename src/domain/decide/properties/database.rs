//! A model of the database in memory. It returns exactly the rows that a batch names, and refuses the changes that the
//! real tables refuse. So a test finds decisions that only the database would prevent.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestCaseResult};
use uuid::Uuid;

use crate::domain::claims::{BlockRow, BookingRow, HoldRow, HoldStatus};
use crate::domain::clock::{EpochMs, Outage, hold_end};
use crate::domain::command::{Action, Command, Queued, RequestKey};
use crate::domain::decide::{Decision, decide};
use crate::domain::effect::{Answer, Effect, RecordedAnswer, Resource};
use crate::domain::ids::BlockId;
use crate::domain::ids::{BookingId, CustomerId, HoldId, ScheduleId, SeatNumber};
use crate::domain::rows::{CustomerSeats, KnownAnswer, Rows, ScheduleRow, SeatKey};
use crate::domain::rules::{Policy, ScheduleRules};
use crate::domain::seat::{SeatRow, SeatState};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredAnswer {
    pub(crate) fingerprint: String,
    pub(crate) answer: RecordedAnswer,
    pub(crate) expires_at: EpochMs,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelDatabase {
    pub(crate) policy: Policy,
    pub(crate) schedules: BTreeMap<ScheduleId, ScheduleRow>,
    pub(crate) seats: BTreeMap<SeatKey, SeatRow>,
    pub(crate) holds: BTreeMap<HoldId, HoldRow>,
    pub(crate) bookings: BTreeMap<BookingId, BookingRow>,
    pub(crate) blocks: BTreeMap<BlockId, BlockRow>,
    /// When each seat of each booking was released; `None` while the booking owns the seat.
    pub(crate) booked_seats: BTreeMap<(SeatKey, Uuid), Option<EpochMs>>,
    pub(crate) answers: BTreeMap<RequestKey, StoredAnswer>,
    pub(crate) journal: BTreeMap<(ScheduleId, i64), Vec<(SeatNumber, SeatState)>>,
    pub(crate) outages: Vec<Outage>,
}

/// The recorded answer of an effect.
pub(crate) fn render(effect: &Effect) -> RecordedAnswer {
    RecordedAnswer { status: 200, body: format!("{effect:?}"), resource: None }
}

fn render_answer(answer: &Answer) -> RecordedAnswer {
    match answer {
        Answer::Effect(effect) => render(effect),
        Answer::Recorded(answer) => answer.clone(),
        Answer::Rejection(rejection) => RecordedAnswer {
            status: 409,
            body: format!("{rejection:?}"),
            resource: Some(Resource::Nothing),
        },
    }
}

impl ModelDatabase {
    /// Schedules 1, 2 and so on, one for each set of rules, with seats `A-1-1`, `A-1-2` and so on.
    pub(crate) fn new(policy: Policy, rules: Vec<ScheduleRules>, seats: u32) -> Self {
        let rows =
            (1..).zip(rules).map(|(id, rules)| (ScheduleId(id), ScheduleRow { version: 0, rules }));
        let schedules: BTreeMap<_, _> = rows.collect();
        let seat = |number: u32| SeatRow {
            label: format!("A-1-{}", number + 1),
            price: 1000 + 10 * i64::from(number),
            state: SeatState::Available,
        };
        let keys = schedules.keys().flat_map(|id| (0..seats).map(|n| (*id, SeatNumber(n))));
        Self {
            policy,
            seats: keys.map(|key| (key, seat(key.1.0))).collect(),
            schedules,
            holds: BTreeMap::new(),
            bookings: BTreeMap::new(),
            blocks: BTreeMap::new(),
            booked_seats: BTreeMap::new(),
            answers: BTreeMap::new(),
            journal: BTreeMap::new(),
            outages: Vec::new(),
        }
    }

    /// Whether a hold claims its seats at `now`.
    pub(crate) fn is_alive(&self, hold: &HoldRow, now: EpochMs) -> bool {
        let end = hold_end(hold.until, &self.outages, self.policy.outage_grace);
        hold.status == HoldStatus::Held && now < end
    }

    /// The seats that a booking owns, ascending.
    pub(crate) fn live_seats(&self, booking: BookingId) -> Vec<SeatNumber> {
        let rows = self.booked_seats.iter();
        let own = rows.filter(|((_, id), released)| *id == booking.uuid && released.is_none());
        own.map(|(((_, number), _), _)| *number).collect()
    }

    /// Decides a batch and writes its changes.
    pub(crate) fn run(
        &mut self,
        now: EpochMs,
        commands: &[Command],
    ) -> Result<Decision, TestCaseError> {
        let decision = decide(now, &self.policy, self.rows(now, commands), commands);
        self.commit(now, &decision)?;
        Ok(decision)
    }

    /// Exactly the rows that the commands name.
    pub(crate) fn rows(&self, now: EpochMs, commands: &[Command]) -> Rows {
        let mut rows = Rows { outages: self.outages.clone(), ..Rows::default() };
        for command in commands {
            if let Some(row) = self.schedules.get(&command.schedule) {
                rows.schedules.insert(command.schedule, row.clone());
            }
            self.load_seats(&mut rows, command.schedule, command.action.taken_seats());
            self.load_claims(&mut rows, command);
            let request = command.keyed.as_ref().map(|keyed| keyed.request.clone());
            let queued = command.queued.map(|queued| Queued::key(queued.id));
            for request in request.into_iter().chain(queued) {
                let stored = self.answers.get(&request).filter(|stored| now < stored.expires_at);
                if let Some(stored) = stored {
                    let known = KnownAnswer::Recorded(stored.answer.clone());
                    rows.answers.insert(request, (stored.fingerprint.clone(), known));
                }
            }
        }
        self.load_owners(&mut rows);
        rows
    }

    /// The customers of the holds that have seats of the batch, without the holds that are loaded.
    fn load_owners(&self, rows: &mut Rows) {
        for ((schedule, _), row) in &rows.seats {
            let SeatState::Held { hold, .. } = row.state else { continue };
            let id = HoldId { schedule: *schedule, uuid: hold };
            if !rows.holds.contains_key(&id) {
                rows.owners.insert(id, self.holds[&id].customer.clone());
            }
        }
    }

    fn load_claims(&self, rows: &mut Rows, command: &Command) {
        match &command.action {
            Action::Hold { customer, .. } | Action::Book { customer, .. } => {
                self.load_customer(rows, command.schedule, customer);
            }
            Action::Change { hold, remove, .. } => {
                self.load_hold(rows, *hold);
                self.load_seats(rows, hold.schedule, remove);
            }
            Action::Extend { hold, .. } | Action::Release { hold } | Action::Expire { hold } => {
                self.load_hold(rows, *hold)
            }
            Action::Confirm { hold, customer, .. } => {
                self.load_hold(rows, *hold);
                if let Some(customer) = customer {
                    self.load_customer(rows, hold.schedule, customer);
                }
            }
            Action::Cancel { booking, seats } => {
                self.load_booking(rows, *booking);
                self.load_seats(rows, booking.schedule, seats.as_deref().unwrap_or_default());
            }
            Action::Unblock { block } => {
                if let Some(row) = self.blocks.get(block) {
                    self.load_seats(rows, block.schedule, &row.seats);
                    rows.blocks.insert(*block, row.clone());
                }
            }
            Action::Block { .. } | Action::Lookup => {}
        }
    }

    fn load_seats(&self, rows: &mut Rows, schedule: ScheduleId, seats: &[SeatNumber]) {
        let keys = seats.iter().map(|number| (schedule, *number));
        let found = keys.filter_map(|key| Some((key, self.seats.get(&key)?.clone())));
        rows.seats.extend(found);
    }

    fn load_hold(&self, rows: &mut Rows, id: HoldId) {
        let Some(hold) = self.holds.get(&id) else { return };
        self.load_seats(rows, id.schedule, &hold.seats);
        self.load_customer(rows, id.schedule, &hold.customer);
        if let Some(booking) = hold.booking {
            self.load_booking(rows, booking);
        }
        rows.holds.insert(id, hold.clone());
    }

    fn load_booking(&self, rows: &mut Rows, id: BookingId) {
        let Some(booking) = self.bookings.get(&id) else { return };
        self.load_seats(rows, id.schedule, &booking.seats);
        self.load_customer(rows, id.schedule, &booking.customer);
        rows.bookings.insert(id, booking.clone());
    }

    fn load_customer(&self, rows: &mut Rows, schedule: ScheduleId, customer: &CustomerId) {
        let row = self.schedules.get(&schedule);
        if row.is_none_or(|row| row.rules.max_seats_per_customer.is_none()) {
            return;
        }
        let bookings = self.bookings.values();
        let own = bookings.filter(|row| row.id.schedule == schedule && row.customer == *customer);
        let booked = own.map(|row| self.live_seats(row.id).len()).sum::<usize>();
        let holds = self.holds.values().filter(|row| {
            row.id.schedule == schedule
                && row.customer == *customer
                && row.status == HoldStatus::Held
        });
        let count = |seats: usize| u32::try_from(seats).unwrap();
        let holds = holds.map(|row| (row.id.uuid, row.until, count(row.seats.len()))).collect();
        let seats = CustomerSeats { booked: count(booked), holds };
        rows.customers.insert((schedule, customer.clone()), seats);
    }

    /// Writes in the order of the real transaction: old claims end before new ones begin.
    fn commit(&mut self, now: EpochMs, decision: &Decision) -> TestCaseResult {
        let changes = &decision.changes;
        for (key, new) in &changes.answers {
            let stored = StoredAnswer {
                fingerprint: new.keyed.fingerprint.clone(),
                answer: render_answer(&new.answer),
                expires_at: new.expires_at,
            };
            prop_assert_eq!(key, &new.keyed.request);
            let before = self.answers.insert(key.clone(), stored);
            prop_assert!(before.is_none_or(|old| old.expires_at <= now), "{key:?} answered twice");
        }
        for (seat, ended) in &changes.released_seats {
            let row = self.booked_seats.get_mut(&(*seat, ended.booking));
            let live = row.filter(|released| released.is_none());
            prop_assert!(live.is_some() && ended.seat == *seat && ended.released_at == Some(now));
            live.into_iter().for_each(|released| *released = ended.released_at);
        }
        for ((seat, booking), begun) in &changes.new_booked_seats {
            prop_assert_eq!((*seat, *booking), (begun.seat, begun.booking));
            let of_seat = || self.booked_seats.iter().filter(|((one, _), _)| one == seat);
            let is_free = of_seat().all(|(_, released)| released.is_some());
            prop_assert!(begun.released_at.is_some() || is_free, "{seat:?} sold twice");
            let before = self.booked_seats.insert((*seat, *booking), begun.released_at);
            prop_assert!(before.is_none(), "{seat:?} sold twice to one booking");
        }
        let grant = |row: &HoldRow| (row.id, row.customer.clone(), row.created_at);
        update(&mut self.holds, &changes.holds, grant)?;
        let sale = |row: &BookingRow| {
            (row.id, row.customer.clone(), row.seats.clone(), row.created_at, row.hold)
        };
        update(&mut self.bookings, &changes.bookings, sale)?;
        let block =
            |row: &BlockRow| (row.id, row.reason.clone(), row.seats.clone(), row.created_at);
        update(&mut self.blocks, &changes.blocks, block)?;
        insert(&mut self.holds, &changes.new_holds)?;
        insert(&mut self.bookings, &changes.new_bookings)?;
        insert(&mut self.blocks, &changes.new_blocks)?;
        self.commit_seats(decision)
    }

    fn commit_seats(&mut self, decision: &Decision) -> TestCaseResult {
        for (key, state) in &decision.changes.seats {
            let row = self.seats.get_mut(key);
            prop_assert!(row.is_some(), "no such seat: {key:?}");
            row.into_iter().for_each(|row| row.state = *state);
        }
        for entry in &decision.journal {
            let row = self.schedules.get_mut(&entry.schedule);
            prop_assert!(row.is_some(), "no such schedule: {:?}", entry.schedule);
            row.into_iter().for_each(|row| row.version = entry.version);
            let key = (entry.schedule, entry.version);
            let before = self.journal.insert(key, entry.changes.clone());
            prop_assert!(before.is_none(), "{key:?} written twice");
        }
        Ok(())
    }
}

fn insert<K, V>(table: &mut BTreeMap<K, V>, rows: &BTreeMap<K, V>) -> TestCaseResult
where
    K: Ord + Copy + Debug,
    V: Clone,
{
    for (key, row) in rows {
        prop_assert!(table.insert(*key, row.clone()).is_none(), "{key:?} created twice");
    }
    Ok(())
}

/// Updates existing rows. `fixed` returns the columns that are written once.
fn update<K, V, F: PartialEq + Debug>(
    table: &mut BTreeMap<K, V>,
    rows: &BTreeMap<K, V>,
    fixed: impl Fn(&V) -> F,
) -> TestCaseResult
where
    K: Ord + Copy + Debug,
    V: Clone,
{
    for (key, row) in rows {
        let before = table.insert(*key, row.clone());
        prop_assert_eq!(before.map(|row| fixed(&row)), Some(fixed(row)), "{:?}", key);
    }
    Ok(())
}
