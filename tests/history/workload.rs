//! Seeded clients: what each asks for, when it loses patience, and what it asks again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use crate::client::{PATIENCE, perform};
use crate::history::{Action, Answer, End, Phase, What};
use crate::recorder::Recorder;
use crate::world::{PODS, SEATS, World};

/// Everything that takes part in a run.
pub(crate) struct Fixture {
    pub(crate) world: World,
    pub(crate) recorder: Recorder,
    pub(crate) stop: AtomicBool,
    /// Requests of unknown end: key and action.
    pub(crate) unknown: Mutex<Vec<(String, Action)>>,
}

/// Customers of the schedule with a limit; elsewhere every request has a customer of its own.
const REGULARS: usize = 6;

/// A client that books.
pub(crate) struct Buyer {
    fixture: Arc<Fixture>,
    number: usize,
    /// Another one after each unknown end.
    life: u32,
    requests: u32,
    rng: Rng,
    holds: Vec<String>,
    bookings: Vec<(String, Vec<u32>)>,
    /// A key and its action that had their effect.
    answered: Option<(String, Action)>,
    seen: i64,
}

impl Fixture {
    pub(crate) fn phase(&self, name: Phase) {
        self.recorder.note("run", What::Phase { name });
    }

    /// Performs and records one operation.
    pub(crate) async fn perform(
        &self,
        process: &str,
        place: usize,
        (key, action): (Option<String>, Action),
        patience: Duration,
    ) -> (End, Option<i64>) {
        let op = self.recorder.next_op();
        let (pod, service) = self.world.pod(place);
        let invoke = What::Invoke { op, pod, key: key.clone(), action: action.clone() };
        // Written before a byte leaves.
        self.recorder.note(process, invoke);
        let asked = (key.as_deref(), &action);
        let (end, version) = perform(service.client(), asked, patience).await;
        self.recorder.note(process, What::Return { op, end: end.clone() });
        if let (End::Info { .. }, Some(key)) = (&end, key) {
            self.unknown.lock().unwrap().push((key, action));
        }
        (end, version)
    }
}

impl Buyer {
    pub(crate) fn new(fixture: &Arc<Fixture>, number: usize, seed: u64) -> Self {
        let rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        Self {
            fixture: Arc::clone(fixture),
            number,
            life: 0,
            requests: 0,
            rng,
            holds: Vec::new(),
            bookings: Vec::new(),
            answered: None,
            seen: 0,
        }
    }

    /// Buys until the run says stop.
    pub(crate) async fn run(mut self) {
        while !self.fixture.stop.load(Ordering::SeqCst) {
            let (key, action) = self.choose();
            self.ask(key, action).await;
            let pause = Duration::from_micros(self.rng.u64(1_000..25_000));
            tokio::time::sleep(pause).await;
        }
    }

    fn key(&mut self) -> String {
        self.requests += 1;
        format!("k-{}-{}", self.number, self.requests)
    }

    fn choose(&mut self) -> (Option<String>, Action) {
        let schedule = self.schedule();
        let many = self.bookings.len() > 2;
        match self.rng.u32(0..100) {
            0..20 if !many => self.book(schedule),
            20..40 => self.hold(schedule),
            40..46 if !self.holds.is_empty() => {
                let hold = self.holds[self.rng.usize(..self.holds.len())].clone();
                (Some(self.key()), Action::Confirm { hold })
            }
            46..50 if !self.holds.is_empty() => {
                let hold = self.holds[self.rng.usize(..self.holds.len())].clone();
                (Some(self.key()), Action::Extend { hold, ttl_s: self.rng.u64(1..4) })
            }
            50..54 if !self.holds.is_empty() => {
                let hold = self.holds.swap_remove(self.rng.usize(..self.holds.len()));
                (None, Action::Release { hold })
            }
            54..57 if self.answered.is_some() => {
                let (key, action) = self.answered.clone().expect("it is");
                (Some(key), action)
            }
            57..61 if !self.bookings.is_empty() => {
                let (booking, _) = self.bookings[self.rng.usize(..self.bookings.len())].clone();
                (None, Action::Find { booking })
            }
            61..76 => {
                let min_version = if self.rng.bool() { 0 } else { self.seen };
                let schedule =
                    if min_version == 0 { schedule } else { self.fixture.world.schedules[0] };
                (None, Action::Map { schedule, min_version })
            }
            _ if !self.bookings.is_empty() => self.cancel(),
            _ => (None, Action::Map { schedule, min_version: 0 }),
        }
    }

    /// Most requests are for few schedules.
    fn schedule(&mut self) -> i64 {
        let schedules = &self.fixture.world.schedules;
        schedules[self.rng.usize(..schedules.len()).min(self.rng.usize(..schedules.len()))]
    }

    /// One to four seats in no order, the first ones most often.
    fn seats(&mut self) -> Vec<u32> {
        let mut seats: Vec<u32> = Vec::new();
        for _ in 0..self.rng.u32(1..5) {
            let seat = self.rng.u32(..SEATS).min(self.rng.u32(..SEATS));
            if !seats.contains(&seat) {
                seats.push(seat);
            }
        }
        seats
    }

    fn customer(&mut self, schedule: i64, key: &str) -> String {
        match schedule == self.fixture.world.schedules[0] {
            true => format!("regular-{}", self.rng.usize(..REGULARS)),
            false => key.to_owned(),
        }
    }

    fn book(&mut self, schedule: i64) -> (Option<String>, Action) {
        let (key, seats) = (self.key(), self.seats());
        let customer = self.customer(schedule, &key);
        (Some(key), Action::Book { schedule, seats, customer })
    }

    fn hold(&mut self, schedule: i64) -> (Option<String>, Action) {
        let (key, seats) = (self.key(), self.seats());
        let customer = self.customer(schedule, &key);
        let ttl_s = self.rng.u64(1..3);
        (Some(key), Action::Hold { schedule, seats, customer, ttl_s })
    }

    fn cancel(&mut self) -> (Option<String>, Action) {
        let (booking, seats) = self.bookings.swap_remove(self.rng.usize(..self.bookings.len()));
        let some = self.rng.u32(..4) == 0 && seats.len() > 1;
        let seats = some.then(|| vec![seats[self.rng.usize(..seats.len())]]);
        (Some(self.key()), Action::Cancel { booking, seats })
    }

    async fn ask(&mut self, key: Option<String>, action: Action) {
        let writes = key.is_some();
        let hasty = writes && self.rng.u32(..100) < 15;
        let patience = match hasty {
            true => Duration::from_micros(self.rng.u64(500..60_000)),
            false => PATIENCE,
        };
        let mut place = self.rng.usize(..PODS);
        for _ in 0..3 {
            let process = format!("client-{}.{}", self.number, self.life);
            let asked = (key.clone(), action.clone());
            let (end, version) = self.fixture.perform(&process, place, asked, patience).await;
            self.learn(key.as_ref(), &action, &end, version);
            if let End::Info { .. } = end {
                self.life += 1;
            }
            let again = matches!(&end, End::Info { .. }) && self.rng.bool()
                || matches!(&end, End::Fail { status, .. } if *status >= 500)
                || writes && end_is_ok(&end) && self.rng.u32(..100) < 8;
            if !writes || !again {
                return;
            }
            place = (place + 1) % PODS;
            // The service asks for more patience than that.
            let pause = if end_is_ok(&end) { 1..20 } else { 50..200 };
            tokio::time::sleep(Duration::from_millis(self.rng.u64(pause))).await;
        }
    }

    fn learn(&mut self, key: Option<&String>, action: &Action, end: &End, version: Option<i64>) {
        let End::Ok { answer, .. } = end else { return };
        match (action, answer) {
            (Action::Hold { .. }, Answer::Hold { id, .. }) => {
                // Many leave their seats to time.
                if self.rng.bool() && !self.holds.contains(id) {
                    self.holds.push(id.clone());
                }
                // The others ended long ago; a few requests for such holds are part of the load.
                if self.holds.len() > 4 {
                    self.holds.remove(0);
                }
            }
            (Action::Book { .. } | Action::Confirm { .. }, Answer::Booking { id, seats, hold }) => {
                // Sometimes a client confirms again, or releases what is sold.
                if self.rng.u32(..10) > 0 {
                    self.holds.retain(|known| Some(known) != hold.as_ref());
                }
                if !seats.is_empty() && !self.bookings.iter().any(|(known, _)| known == id) {
                    self.bookings.push((id.clone(), seats.clone()));
                }
            }
            _ => {}
        }
        if let (Some(key), Action::Book { schedule, .. } | Action::Hold { schedule, .. }) =
            (key, action)
        {
            self.answered = Some((key.clone(), action.clone()));
            if *schedule == self.fixture.world.schedules[0] {
                self.seen = self.seen.max(version.unwrap_or(0));
            }
        }
    }
}

fn end_is_ok(end: &End) -> bool {
    matches!(end, End::Ok { .. })
}
