//! The encoding of queued requests: JSON, so that a person can read dead letters. A message contains requests of one
//! partition that arrived at the same time, one per line, in order.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::clock::EpochMs;
use crate::domain::command::{Action, Command, Keyed, Queued, RequestKey};
use crate::domain::ids::{BookingId, CustomerId, HoldId, RequestId, SeatNumber};

use super::Message;

/// A request to hold, book or confirm that goes through the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedRequest {
    /// Its id and deadline.
    pub queued: Queued,
    /// Its Idempotency-Key, if any.
    pub keyed: Option<Keyed>,
    /// Hold, book or confirm.
    pub action: Action,
}

/// The version of the encoding. A request of another version is not executed.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: u8,
    id: String,
    not_after: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<WireKey>,
    #[serde(rename = "do")]
    action: Option<WireAction>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireKey {
    caller: String,
    key: String,
    fingerprint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WireAction {
    Hold { hold: Uuid, seats: Vec<u32>, customer: String, ttl_ms: Option<u64> },
    Book { booking: Uuid, seats: Vec<u32>, customer: String },
    Confirm { hold: Uuid, booking: Uuid, customer: Option<String> },
}

impl QueuedRequest {
    /// The queued form of an action. `None` for actions that do not go through the queue.
    #[must_use]
    pub fn of(queued: Queued, action: Action, keyed: Option<Keyed>) -> Option<Self> {
        action.can_be_queued().then_some(Self { queued, keyed, action })
    }

    /// The customer of the request. For a confirmation without a customer, the id of the hold.
    #[must_use]
    pub fn customer(&self) -> String {
        match &self.action {
            Action::Hold { customer, .. } | Action::Book { customer, .. } => {
                customer.as_str().to_owned()
            }
            Action::Confirm { customer: Some(customer), .. } => customer.as_str().to_owned(),
            Action::Confirm { hold, .. } => hold.to_string(),
            _ => String::new(),
        }
    }

    /// The command that executes the request.
    #[must_use]
    pub fn command(&self) -> Command {
        let command = Command::new(self.queued.id.schedule, self.action.clone());
        Command { keyed: self.keyed.clone(), queued: Some(self.queued), ..command }
    }

    /// The line that represents the request in a message: JSON without line breaks.
    #[expect(clippy::expect_used, reason = "an empty message would lose an accepted request")]
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let key = self.keyed.as_ref().map(|keyed| WireKey {
            caller: keyed.request.caller.clone(),
            key: keyed.request.key.clone(),
            fingerprint: keyed.fingerprint.clone(),
        });
        let id = self.queued.id.to_string();
        let not_after = self.queued.not_after.0;
        let action = WireAction::of(&self.action);
        serde_json::to_vec(&Wire { v: VERSION, id, not_after, key, action })
            .expect("a request of the queue is JSON")
    }

    /// The requests of a message, in order, each with a message that contains only this request. For a line that cannot
    /// be decoded, the reason is returned: another program wrote it, or a later version of this one. The result is
    /// never empty.
    #[must_use]
    pub fn decode_all(message: Message) -> Vec<(Message, Result<Self, String>)> {
        let Message { id, body } = message;
        let lines = body.split(|byte| *byte == b'\n').enumerate();
        let decode_line = |(index, line): (usize, &[u8])| {
            let request = Self::decode(line);
            let id = match &request {
                Ok(request) => request.queued.id.to_string(),
                Err(_) if index == 0 => id.clone(),
                Err(_) => format!("{id}.{index}"),
            };
            (Message { id, body: line.to_vec() }, request)
        };
        lines.map(decode_line).collect()
    }

    fn decode(line: &[u8]) -> Result<Self, String> {
        let wire: Wire = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if wire.v != VERSION {
            return Err(format!("it is of version {}, this program supports {VERSION}", wire.v));
        }
        let id: RequestId = wire.id.parse().map_err(|_| "its id is not a request id".to_owned())?;
        let queued = Queued { id, not_after: EpochMs(wire.not_after) };
        let keyed = wire.key.map(|key| Keyed {
            request: RequestKey { caller: key.caller, key: key.key },
            fingerprint: key.fingerprint,
        });
        let wire = wire.action.ok_or_else(|| "it has no action".to_owned())?;
        Ok(Self { queued, keyed, action: action(id, wire)? })
    }
}

impl WireAction {
    /// `None` for actions that do not go through the queue.
    fn of(action: &Action) -> Option<Self> {
        let numbers = |seats: &[SeatNumber]| seats.iter().map(|seat| seat.0).collect();
        let name = |customer: &CustomerId| customer.as_str().to_owned();
        Some(match action {
            Action::Hold { id, seats, customer, ttl } => Self::Hold {
                hold: id.uuid,
                seats: numbers(seats),
                customer: name(customer),
                ttl_ms: ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            },
            Action::Book { id, seats, customer } => {
                Self::Book { booking: id.uuid, seats: numbers(seats), customer: name(customer) }
            }
            Action::Confirm { hold, booking, customer } => Self::Confirm {
                hold: hold.uuid,
                booking: booking.uuid,
                customer: customer.as_ref().map(name),
            },
            _ => return None,
        })
    }
}

fn action(id: RequestId, wire: WireAction) -> Result<Action, String> {
    let schedule = id.schedule;
    let customer =
        |text: String| CustomerId::parse(text).map_err(|_| "its customer is not valid".to_owned());
    Ok(match wire {
        WireAction::Hold { hold, seats, customer: text, ttl_ms } => Action::Hold {
            id: HoldId { schedule, uuid: hold },
            seats: numbers(seats)?,
            customer: customer(text)?,
            ttl: ttl_ms.map(Duration::from_millis),
        },
        WireAction::Book { booking, seats, customer: text } => Action::Book {
            id: BookingId { schedule, uuid: booking },
            seats: numbers(seats)?,
            customer: customer(text)?,
        },
        WireAction::Confirm { hold, booking, customer: text } => Action::Confirm {
            hold: HoldId { schedule, uuid: hold },
            booking: BookingId { schedule, uuid: booking },
            customer: text.map(customer).transpose()?,
        },
    })
}

/// Checks the numbers as the booking engine requires them: at least one seat, ascending, without duplicates.
fn numbers(seats: Vec<u32>) -> Result<Vec<SeatNumber>, String> {
    let ascending = seats.is_sorted_by(|one, next| one < next);
    if seats.is_empty() || !ascending {
        return Err("its seats are not ascending".to_owned());
    }
    Ok(seats.into_iter().map(SeatNumber).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::ScheduleId;

    fn request(action: Action, keyed: Option<Keyed>) -> QueuedRequest {
        let id = RequestId { schedule: ScheduleId(7), uuid: Uuid::from_u128(1) };
        let queued = Queued { id, not_after: EpochMs(1_763_812_496_789) };
        QueuedRequest::of(queued, action, keyed).unwrap()
    }

    fn ada() -> CustomerId {
        CustomerId::parse("ada ä\"").unwrap()
    }

    #[test]
    fn a_request_is_decoded_as_it_was_encoded() {
        let schedule = ScheduleId(7);
        let (hold, booking) = (
            HoldId { schedule, uuid: Uuid::from_u128(2) },
            BookingId { schedule, uuid: Uuid::from_u128(3) },
        );
        let seats = vec![SeatNumber(0), SeatNumber(99_999)];
        let request_key = RequestKey { caller: "shop".to_owned(), key: "k".to_owned() };
        let keyed = Keyed { request: request_key, fingerprint: "f".to_owned() };
        let ttl = Some(Duration::from_millis(1_500));
        for action in [
            Action::Hold { id: hold, seats: seats.clone(), customer: ada(), ttl },
            Action::Hold { id: hold, seats: seats.clone(), customer: ada(), ttl: None },
            Action::Book { id: booking, seats: seats.clone(), customer: ada() },
            Action::Confirm { hold, booking, customer: Some(ada()) },
            Action::Confirm { hold, booking, customer: None },
        ] {
            for keyed in [None, Some(keyed.clone())] {
                let request = request(action.clone(), keyed);
                let id = request.queued.id.to_string();
                assert_eq!(id, "7-00000000000000000000000000000001");
                assert_eq!(QueuedRequest::decode(&request.encode()), Ok(request));
            }
        }
    }

    #[test]
    fn a_message_carries_several_requests_and_each_is_decoded_alone() {
        let id = BookingId { schedule: ScheduleId(7), uuid: Uuid::nil() };
        let book = |seat| Action::Book { id, seats: vec![SeatNumber(seat)], customer: ada() };
        let one = request(book(1), None);
        let other = request(book(2), None);
        let body = [&one.encode()[..], b"{}", b"", &other.encode()[..]].join(&b'\n');
        let found = QueuedRequest::decode_all(Message { id: "first".to_owned(), body });
        let ids: Vec<&str> = found.iter().map(|(message, _)| message.id.as_str()).collect();
        let own = one.queued.id.to_string();
        assert_eq!(ids, [own.as_str(), "first.1", "first.2", own.as_str()]);
        assert_eq!(found[0].1.as_ref(), Ok(&one));
        assert!(found[1].1.is_err() && found[2].1.is_err());
        assert_eq!(
            (found[3].0.body.as_slice(), found[3].1.as_ref()),
            (&other.encode()[..], Ok(&other))
        );
        let nothing = QueuedRequest::decode_all(Message { id: "x".to_owned(), body: Vec::new() });
        assert_eq!((nothing.len(), nothing[0].0.id.as_str()), (1, "x"));
    }

    #[test]
    fn a_command_that_takes_no_seats_does_not_go_through_the_queue() {
        let id = RequestId { schedule: ScheduleId(7), uuid: Uuid::from_u128(1) };
        let queued = Queued { id, not_after: EpochMs(0) };
        assert_eq!(QueuedRequest::of(queued, Action::Lookup, None), None);
    }

    #[test]
    fn a_foreign_message_is_refused_with_the_reason() {
        let id = BookingId { schedule: ScheduleId(7), uuid: Uuid::nil() };
        let good = request(Action::Book { id, seats: vec![SeatNumber(3)], customer: ada() }, None);
        let good = String::from_utf8(good.encode()).unwrap();
        assert!(QueuedRequest::decode(good.as_bytes()).is_ok());
        for (old, new, reason) in [
            ("{", "", "expected"),
            ("\"v\":1", "\"v\":2", "version 2"),
            ("\"7-", "\"x-", "id"),
            ("\"book\"", "\"steal\"", "steal"),
            ("[3]", "[]", "ascending"),
            ("[3]", "[3,3]", "ascending"),
            ("ada", "a\\u0000", "customer"),
            ("\"v\"", "\"more\":1,\"v\"", "more"),
        ] {
            let bad = good.replacen(old, new, 1);
            let error = QueuedRequest::decode(bad.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }
}
