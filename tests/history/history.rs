//! What is recorded of a run: one event a line, paired into operations for the checkers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Microseconds since 1970: the wall clock when the run began, and a monotonic clock since.
pub(crate) type Micros = i64;

/// What a client asks for. Seats are numbers; number `n` is `A-1-(n + 1)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Action {
    Book { schedule: i64, seats: Vec<u32>, customer: String },
    Hold { schedule: i64, seats: Vec<u32>, customer: String, ttl_s: u64 },
    Confirm { hold: String },
    Extend { hold: String, ttl_s: u64 },
    Release { hold: String },
    Cancel { booking: String, seats: Option<Vec<u32>> },
    Map { schedule: i64, min_version: i64 },
    Find { booking: String },
}

/// What an answer with a 2xx said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Hold { id: String, seats: Vec<u32>, until_ms: i64 },
    Booking { id: String, seats: Vec<u32>, hold: Option<String> },
    Map { version: i64, states: Vec<u8>, counts: [usize; 4] },
    Nothing,
}

/// How an operation ended, as far as its client knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// It had its effect.
    Ok { answer: Answer, body: String },
    /// The server says that it had none.
    Fail { status: u16, code: String },
    /// Unknown.
    Info { why: String },
}

/// A process of the service: its place, and how often it has been started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Pod {
    pub(crate) place: usize,
    pub(crate) start: u32,
}

/// A line of the record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) t: Micros,
    /// `client-3`, another one after each unknown end; or `nemesis`, or `auditor`.
    pub(crate) process: String,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum What {
    Invoke {
        op: u64,
        pod: Pod,
        key: Option<String>,
        action: Action,
    },
    Return {
        op: u64,
        end: End,
    },
    Phase {
        name: Phase,
    },
    Fault {
        name: String,
        begins: bool,
    },
    /// The nemesis replaced the lock of a request by one of its own. Whether the service left that one alone.
    Stranger {
        left_alone: bool,
    },
    /// What an audit of the database in one snapshot found.
    Audit {
        violations: Vec<String>,
    },
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Phase {
    Warm,
    Chaos,
    Heal,
    Resolve,
    Quiesce,
    Final,
}

/// An operation from its beginning to its end.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) id: u64,
    pub(crate) pod: Pod,
    pub(crate) key: Option<String>,
    pub(crate) action: Action,
    pub(crate) phase: Phase,
    pub(crate) invoked: Micros,
    /// [`Micros::MAX`] if its end is not known.
    pub(crate) done: Micros,
    pub(crate) end: End,
}

impl Op {
    pub(crate) fn is_ok(&self) -> bool {
        matches!(self.end, End::Ok { .. })
    }

    /// Whether it may have had an effect.
    pub(crate) fn may_have_acted(&self) -> bool {
        !matches!(self.end, End::Fail { .. })
    }

    pub(crate) fn answer(&self) -> Option<&Answer> {
        match &self.end {
            End::Ok { answer, .. } => Some(answer),
            _ => None,
        }
    }

    pub(crate) fn refused_as(&self, codes: &[&str]) -> bool {
        matches!(&self.end, End::Fail { code, .. } if codes.contains(&code.as_str()))
    }
}

/// Everything that was recorded.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) ops: Vec<Op>,
    /// Name, beginning, end.
    pub(crate) faults: Vec<(String, Micros, Micros)>,
    /// Whether each planted lock was left alone.
    pub(crate) strangers: Vec<bool>,
    /// What each audit found.
    pub(crate) audits: Vec<Vec<String>>,
}

impl History {
    /// Pairs the events, which must be in order of time. The end of an operation without an end event is unknown.
    pub(crate) fn of(events: &[Event]) -> Self {
        let mut history = Self::default();
        let mut open: BTreeMap<u64, usize> = BTreeMap::new();
        let mut phase = Phase::Warm;
        for event in events {
            match &event.what {
                What::Invoke { op, pod, key, action } => {
                    open.insert(*op, history.ops.len());
                    history.ops.push(Op {
                        id: *op,
                        pod: *pod,
                        key: key.clone(),
                        action: action.clone(),
                        phase,
                        invoked: event.t,
                        done: Micros::MAX,
                        end: End::Info { why: "no end was recorded".to_owned() },
                    });
                }
                What::Return { op, end } => {
                    let at = open.remove(op).expect("an end follows its beginning");
                    history.ops[at].end = end.clone();
                    if !matches!(end, End::Info { .. }) {
                        history.ops[at].done = event.t;
                    }
                }
                What::Phase { name } => phase = *name,
                What::Fault { name, begins: true } => {
                    history.faults.push((name.clone(), event.t, Micros::MAX));
                }
                What::Fault { name, begins: false } => {
                    let begun = history.faults.iter_mut().rev().find(|fault| fault.0 == *name);
                    begun.expect("a fault ends after its beginning").2 = event.t;
                }
                What::Stranger { left_alone } => history.strangers.push(*left_alone),
                What::Audit { violations } => history.audits.push(violations.clone()),
            }
        }
        history
    }
}

/// What the database and Redis say when all is over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) schedules: BTreeMap<i64, ScheduleRow>,
    /// By schedule and version.
    pub(crate) journal: BTreeMap<(i64, i64), Entry>,
    pub(crate) holds: BTreeMap<String, HoldRow>,
    pub(crate) bookings: BTreeMap<String, BookingRow>,
    pub(crate) sales: Vec<Sale>,
    /// Bodies by key.
    pub(crate) answers: BTreeMap<String, String>,
    /// Begin and end, epoch milliseconds, the grace counted in.
    pub(crate) outages: Vec<(i64, i64)>,
    /// Seat locks in Redis.
    pub(crate) locks: Vec<String>,
    pub(crate) idle_in_transaction: i64,
    /// `seatlock_guard_saves_total` by guard, summed up over the processes.
    pub(crate) guard_saves: BTreeMap<String, u64>,
    /// How often the circuit breaker opened.
    pub(crate) breaker_opened: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ScheduleRow {
    pub(crate) version: i64,
    /// State and written end of each seat.
    pub(crate) seats: Vec<(u8, Option<i64>)>,
    pub(crate) customer_limit: Option<usize>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) at: i64,
    pub(crate) changes: Vec<(u32, u8, Option<i64>)>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct HoldRow {
    pub(crate) schedule: i64,
    pub(crate) customer: String,
    pub(crate) seats: Vec<u32>,
    /// 0 held, 1 confirmed, 2 released, 3 expired.
    pub(crate) status: i16,
    pub(crate) created: i64,
    pub(crate) until: i64,
    pub(crate) booking: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct BookingRow {
    pub(crate) schedule: i64,
    pub(crate) customer: String,
    pub(crate) seats: Vec<u32>,
    pub(crate) hold: Option<String>,
    pub(crate) created: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sale {
    pub(crate) schedule: i64,
    pub(crate) number: u32,
    pub(crate) booking: String,
    pub(crate) released: Option<i64>,
}

/// What a checker found: its name, what is wrong, and the operations that show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) checker: &'static str,
    pub(crate) what: String,
    pub(crate) witness: Vec<u64>,
}

impl Violation {
    pub(crate) fn new(checker: &'static str, what: impl Into<String>, witness: Vec<u64>) -> Self {
        Self { checker, what: what.into(), witness }
    }
}
