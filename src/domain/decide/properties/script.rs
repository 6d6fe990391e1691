//! Random scripts: rounds of command drafts. A draft becomes a command when the existing claims are known.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use super::database::ModelDatabase;
use crate::domain::claims::{BookingStatus, HoldStatus};
use crate::domain::command::{Action, Command, Keyed, RequestKey};
use crate::domain::ids::{BlockId, BookingId, CustomerId, HoldId, ScheduleId, SeatNumber};

/// Seats of each schedule: few, so that customers often request the same seats.
pub(super) const SEATS: u32 = 4;

/// The smallest `back` with which a draft names a claim that does not exist.
const BACK_MAX: usize = 8;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Hold,
    Extend,
    Change,
    Release,
    Book,
    Confirm,
    Cancel,
    Expire,
    Block,
    Unblock,
    Lookup,
}

/// A command before its identifiers are known.
#[derive(Debug, Clone)]
pub(super) struct ScriptDraft {
    schedule: i64,
    kind: Kind,
    seats: Vec<SeatNumber>,
    customer: CustomerId,
    seconds: Option<u64>,
    /// The claim that the draft names, counted back from the last claim, modulo their number. From [`BACK_MAX`] on, the
    /// draft names a claim that does not exist.
    back: usize,
    key: Option<u8>,
    /// Whether the draft repeats the first request of its key, if there was one.
    repeats: bool,
    /// Whether the optional part of the command is given.
    in_full: bool,
    locked: bool,
    /// The customer whose token sends the command.
    owner: Option<CustomerId>,
}

/// A batch and what happens before it.
#[derive(Debug, Clone)]
pub(super) struct Round {
    /// Seconds since the round before.
    pub(super) seconds: u64,
    /// Whether the database was read-only in those seconds.
    pub(super) outage: bool,
    pub(super) drafts: Vec<ScriptDraft>,
}

pub(super) fn script() -> impl Strategy<Value = Vec<Round>> {
    let seconds = prop_oneof![2 => Just(0), 5 => 1..=3u64, 2 => 4..=15u64];
    let round = (seconds, prop::bool::weighted(0.2), vec(draft(), 1..=8));
    let round = round.prop_map(|(seconds, outage, drafts)| Round { seconds, outage, drafts });
    vec(round, 1..=24)
}

fn draft() -> impl Strategy<Value = ScriptDraft> {
    let kind = prop_oneof![
        6 => Just(Kind::Hold),
        4 => Just(Kind::Book),
        6 => Just(Kind::Confirm),
        2 => Just(Kind::Extend),
        9 => Just(Kind::Change),
        2 => Just(Kind::Release),
        2 => Just(Kind::Expire),
        4 => Just(Kind::Cancel),
        1 => Just(Kind::Block),
        1 => Just(Kind::Unblock),
        1 => Just(Kind::Lookup),
    ];
    let schedule = prop_oneof![30 => Just(1), 20 => Just(2), 1 => Just(9)];
    let seats = prop_oneof![5 => btree_set(0..SEATS, 1..=2), 1 => btree_set(0..SEATS, 3..=4)];
    let customer = prop_oneof![
        3 => prop_oneof!["ada", "ben", "cleo"],
        1 => "browser-session-000000000000000000000000000000a[12]",
    ];
    let what = (schedule, kind, seats, customer);
    let back = prop_oneof![4 => Just(0), 3 => 1..=2usize, 1 => 3..=BACK_MAX];
    let how = (option::of(1..=15u64), back, option::weighted(0.4, 0..4u8));
    let flags = (prop::bool::weighted(0.7), any::<bool>(), any::<bool>());
    let owner = option::weighted(0.15, prop_oneof!["ada", "ben", "cleo"]);
    (what, how, flags, owner).prop_map(|(what, how, flags, owner)| {
        let (schedule, kind, seats, customer) = what;
        let (seconds, back, key) = how;
        let (repeats, in_full, locked) = flags;
        let seats = seats.into_iter().map(SeatNumber).collect();
        let customer = CustomerId::parse(customer).unwrap();
        ScriptDraft {
            schedule,
            kind,
            seats,
            customer,
            seconds,
            back,
            key,
            repeats,
            in_full,
            locked,
            owner: owner.map(|owner| CustomerId::parse(owner).unwrap()),
        }
    })
}

/// Turns drafts into commands, with new identifiers in ascending order.
#[derive(Default)]
pub(super) struct Author {
    issued: u64,
    /// The first request of each key: its action and its fingerprint.
    requests: BTreeMap<RequestKey, (Action, String)>,
}

/// The claims that a draft may name: those that have ended first, then the others, oldest first.
struct Known {
    holds: Vec<HoldId>,
    bookings: Vec<BookingId>,
    blocks: Vec<BlockId>,
}

impl Known {
    fn of(database: &ModelDatabase) -> Self {
        let mut holds: Vec<_> = database.holds.values().collect();
        holds.sort_by_key(|row| row.status == HoldStatus::Held);
        let mut bookings: Vec<_> = database.bookings.values().collect();
        bookings.sort_by_key(|row| row.status == BookingStatus::Confirmed);
        let mut blocks: Vec<_> = database.blocks.values().collect();
        blocks.sort_by_key(|row| !row.lifted);
        Self {
            holds: holds.iter().map(|row| row.id).collect(),
            bookings: bookings.iter().map(|row| row.id).collect(),
            blocks: blocks.iter().map(|row| row.id).collect(),
        }
    }
}

impl Author {
    /// The commands of one batch. A draft may name a claim of the tables, or one that an earlier command of this
    /// batch would create.
    pub(super) fn batch(
        &mut self,
        database: &ModelDatabase,
        drafts: &[ScriptDraft],
    ) -> Vec<Command> {
        let mut known = Known::of(database);
        let mut commands = Vec::new();
        for draft in drafts {
            let command = self.command(database, &known, draft);
            match command.action {
                Action::Hold { id, .. } => known.holds.push(id),
                Action::Book { id, .. } => known.bookings.push(id),
                Action::Confirm { booking, .. } => known.bookings.push(booking),
                Action::Block { id, .. } => known.blocks.push(id),
                _ => {}
            }
            commands.push(command);
        }
        commands
    }

    fn command(&mut self, database: &ModelDatabase, known: &Known, draft: &ScriptDraft) -> Command {
        self.issued += 1;
        let schedule = ScheduleId(draft.schedule);
        let uuid = Uuid::from_u128(u128::from(self.issued));
        let mut action = draft.action(database, known, uuid);
        // A key belongs to one schedule: a request and its repetition go to the lane of the same schedule.
        let keyed = draft.key.map(|key| {
            let key = format!("{schedule}-{key}");
            let request = RequestKey { caller: "shop".to_owned(), key };
            let fingerprint = format!("request {}", self.issued);
            let first = self.requests.entry(request.clone());
            let first = first.or_insert_with(|| (action.clone(), fingerprint.clone()));
            if draft.repeats {
                action = again(&first.0, uuid);
                return Keyed { request, fingerprint: first.1.clone() };
            }
            Keyed { request, fingerprint }
        });
        let owner = draft.owner.clone();
        Command { keyed, locked: draft.locked, owner, ..Command::new(schedule, action) }
    }
}

/// The same request again, with a new identifier for the claim that it would create.
fn again(action: &Action, uuid: Uuid) -> Action {
    let mut action = action.clone();
    match &mut action {
        Action::Hold { id, .. } => id.uuid = uuid,
        Action::Book { id, .. } => id.uuid = uuid,
        Action::Confirm { booking, .. } => booking.uuid = uuid,
        Action::Block { id, .. } => id.uuid = uuid,
        _ => {}
    }
    action
}

impl ScriptDraft {
    fn action(&self, database: &ModelDatabase, known: &Known, uuid: Uuid) -> Action {
        let schedule = ScheduleId(self.schedule);
        let unknown = Uuid::max();
        let hold = self.pick(known.holds.iter().filter(|id| id.schedule == schedule));
        let hold = hold.unwrap_or(HoldId { schedule, uuid: unknown });
        let booking = self.pick(known.bookings.iter().filter(|id| id.schedule == schedule));
        let booking = booking.unwrap_or(BookingId { schedule, uuid: unknown });
        let block = self.pick(known.blocks.iter().filter(|id| id.schedule == schedule));
        let block = block.unwrap_or(BlockId { schedule, uuid: unknown });
        let seats = self.seats.clone();
        let customer = self.customer.clone();
        let ttl = self.seconds.map(Duration::from_secs);
        match self.kind {
            Kind::Hold => Action::Hold { id: HoldId { schedule, uuid }, seats, customer, ttl },
            Kind::Book => Action::Book { id: BookingId { schedule, uuid }, seats, customer },
            Kind::Block => {
                let reason = "camera".to_owned();
                Action::Block { id: BlockId { schedule, uuid }, seats, reason }
            }
            Kind::Confirm => {
                let customer = self.in_full.then_some(customer);
                Action::Confirm { hold, booking: BookingId { schedule, uuid }, customer }
            }
            Kind::Cancel => {
                let seats = self.in_full.then(|| self.some_seats(database, booking));
                Action::Cancel { booking, seats }
            }
            Kind::Extend => Action::Extend { hold, ttl },
            Kind::Change => self.change(database, hold),
            Kind::Release => Action::Release { hold },
            Kind::Expire => Action::Expire { hold },
            Kind::Unblock => Action::Unblock { block },
            Kind::Lookup => Action::Lookup,
        }
    }

    /// A change of a hold: it adds the seats of the draft, except some of them that the hold has, which it removes. The
    /// locked drafts name a version.
    fn change(&self, database: &ModelDatabase, hold: HoldId) -> Action {
        let row = database.holds.get(&hold);
        let has = |seat: &SeatNumber| row.is_some_and(|row| row.seats.contains(seat));
        let removes = |seat: &SeatNumber| self.in_full && (has(seat) || self.back % 3 == 2);
        let (remove, add) = self.seats.iter().partition(|seat| removes(seat));
        let version = row.map_or(1, |row| row.version)
            + u32::from(self.seconds.is_some_and(|seconds| seconds < 6));
        Action::Change { hold, add, remove, version: self.locked.then_some(version) }
    }

    /// One of the claims; `None` if there are no claims, or if `back` is [`BACK_MAX`] or more.
    fn pick<'a, T: Copy + 'a>(&self, known: impl Iterator<Item = &'a T>) -> Option<T> {
        let known: Vec<_> = known.copied().collect();
        let is_possible = self.back < BACK_MAX && !known.is_empty();
        is_possible.then(|| known[known.len() - 1 - self.back % known.len()])
    }

    /// The seats of the draft that belong to the booking, or all seats of the draft if none of them does.
    fn some_seats(&self, database: &ModelDatabase, booking: BookingId) -> Vec<SeatNumber> {
        let sold = database.bookings.get(&booking).map_or(&[] as &[SeatNumber], |row| &row.seats);
        let both: Vec<_> = self.seats.iter().filter(|seat| sold.contains(seat)).copied().collect();
        if both.is_empty() { self.seats.clone() } else { both }
    }
}
