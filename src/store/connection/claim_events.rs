//! The column `journal.events`: the changes of claims that wrote the seats of an entry.
//!
//! It is a JSON array. Each item is `[kind, claim, taken, freed]`, and `[…, actor, request]` or `[…, actor, request,
//! address]` if the sender is known.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DbResult;
use super::rows::corrupt;
use crate::domain::claim_event::{ClaimEvent, ClaimEventKind};
use crate::domain::command::Sender;
use crate::domain::ids::SeatNumber;

/// One event: kind, claim, taken, freed, and what is known of the sender.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Item<'a> {
    Anonymous(u8, Cow<'a, str>, Vec<u32>, Vec<u32>),
    Sent(u8, Cow<'a, str>, Vec<u32>, Vec<u32>, Cow<'a, str>, Cow<'a, str>),
    Located(u8, Cow<'a, str>, Vec<u32>, Vec<u32>, Cow<'a, str>, Cow<'a, str>, Cow<'a, str>),
}

/// The column value of events.
#[expect(clippy::expect_used, reason = "a journal without its events would be a wrong record")]
pub(crate) fn column(events: &[ClaimEvent]) -> String {
    let mut text = String::from("[");
    for event in events {
        if text.len() > 1 {
            text.push(',');
        }
        let mut claim = Uuid::encode_buffer();
        let claim = Cow::Borrowed(&*event.claim.simple().encode_lower(&mut claim));
        let numbers = |seats: &[SeatNumber]| seats.iter().map(|seat| seat.0).collect();
        let (kind, taken, freed) = (event.kind as u8, numbers(&event.taken), numbers(&event.freed));
        let item = match event.sender.as_deref() {
            None => Item::Anonymous(kind, claim, taken, freed),
            Some(Sender { actor, request, address }) => {
                let (actor, request) = (actor.into(), request.into());
                match address {
                    None => Item::Sent(kind, claim, taken, freed, actor, request),
                    Some(address) => {
                        Item::Located(kind, claim, taken, freed, actor, request, address.into())
                    }
                }
            }
        };
        text.push_str(&serde_json::to_string(&item).expect("an event is JSON"));
    }
    text.push(']');
    text
}

/// The events of a column value.
pub(crate) fn parse(text: &str) -> DbResult<Vec<ClaimEvent>> {
    let items: Vec<Item<'static>> =
        serde_json::from_str(text).map_err(|_| corrupt("list of events"))?;
    items.into_iter().map(event).collect()
}

fn event(item: Item<'_>) -> DbResult<ClaimEvent> {
    let (kind, claim, taken, freed, sender) = match item {
        Item::Anonymous(kind, claim, taken, freed) => (kind, claim, taken, freed, None),
        Item::Sent(kind, claim, taken, freed, actor, request) => {
            (kind, claim, taken, freed, Some((actor, request, None)))
        }
        Item::Located(kind, claim, taken, freed, actor, request, address) => {
            (kind, claim, taken, freed, Some((actor, request, Some(address))))
        }
    };
    let sender = sender.map(|(actor, request, address)| Sender {
        actor: actor.into_owned(),
        request: request.into_owned(),
        address: address.map(Cow::into_owned),
    });
    let numbers = |seats: Vec<u32>| seats.into_iter().map(SeatNumber).collect();
    Ok(ClaimEvent {
        kind: ClaimEventKind::from_repr(kind).ok_or_else(|| corrupt("kind of event"))?,
        claim: claim.parse().map_err(|_| corrupt("claim of an event"))?,
        taken: numbers(taken),
        freed: numbers(freed),
        sender: sender.map(Arc::new),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_they_were_written() {
        let sender = |address: Option<&str>| Sender {
            actor: "box \"office\"".to_owned(),
            request: "0955c90abefa2a054764b15fa1a63c8d".to_owned(),
            address: address.map(str::to_owned),
        };
        let event = |kind, taken: &[u32], freed: &[u32], sender: Option<Sender>| ClaimEvent {
            kind,
            claim: Uuid::from_u128(7),
            taken: taken.iter().copied().map(SeatNumber).collect(),
            freed: freed.iter().copied().map(SeatNumber).collect(),
            sender: sender.map(Arc::new),
        };
        let events = vec![
            event(ClaimEventKind::HoldCreated, &[1, 2], &[], Some(sender(None))),
            event(ClaimEventKind::HoldChanged, &[3], &[2], Some(sender(Some("::1")))),
            event(ClaimEventKind::HoldExpired, &[], &[1, 3], None),
        ];
        assert_eq!(parse(&column(&events)).unwrap(), events);
        assert_eq!(column(&events[2..]), r#"[[5,"00000000000000000000000000000007",[],[1,3]]]"#);
        assert_eq!(parse(&column(&[])).unwrap(), []);
        for wrong in ["", "{}", r#"[[0,"00000000000000000000000000000007",[],[]]]"#, "[[1]]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
