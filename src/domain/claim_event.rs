//! Changes of claims, as the journal records them: which claim took or freed which seats, and who sent the request.

use std::sync::Arc;

use uuid::Uuid;

use super::command::{Action, Sender};
use super::effect::Effect;
use super::ids::SeatNumber;

/// What happened to a claim. The numbers are stored in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::FromRepr, strum::AsRefStr)]
#[repr(u8)]
pub enum ClaimEventKind {
    /// Seats are held.
    #[strum(serialize = "hold.created")]
    HoldCreated = 1,
    /// A hold has other seats.
    #[strum(serialize = "hold.changed")]
    HoldChanged = 2,
    /// A hold ends later.
    #[strum(serialize = "hold.extended")]
    HoldExtended = 3,
    /// A hold was given up.
    #[strum(serialize = "hold.released")]
    HoldReleased = 4,
    /// A hold ended by time.
    #[strum(serialize = "hold.expired")]
    HoldExpired = 5,
    /// Seats are sold, or a hold was confirmed.
    #[strum(serialize = "booking.confirmed")]
    BookingConfirmed = 6,
    /// Seats of a booking were cancelled.
    #[strum(serialize = "booking.cancelled")]
    BookingCancelled = 7,
    /// Seats are out of sale.
    #[strum(serialize = "block.created")]
    BlockCreated = 8,
    /// A block was lifted.
    #[strum(serialize = "block.lifted")]
    BlockLifted = 9,
}

/// The change of one claim by one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimEvent {
    /// What happened.
    pub kind: ClaimEventKind,
    /// The hold, booking or block.
    pub claim: Uuid,
    /// Seats that the claim took, or whose end it moved, ascending.
    pub taken: Vec<SeatNumber>,
    /// Seats that the claim freed, ascending.
    pub freed: Vec<SeatNumber>,
    /// Who sent the request; `None` if that is not known.
    pub sender: Option<Arc<Sender>>,
}

/// What a command with this effect did to which claim; `None` for a command that changes no claim.
#[must_use]
pub fn event_of(action: &Action, effect: &Effect) -> Option<(ClaimEventKind, Uuid)> {
    Some(match action {
        Action::Hold { id, .. } => (ClaimEventKind::HoldCreated, id.uuid),
        Action::Change { hold, .. } if matches!(effect, Effect::Released(_)) => {
            (ClaimEventKind::HoldReleased, hold.uuid)
        }
        Action::Change { hold, .. } => (ClaimEventKind::HoldChanged, hold.uuid),
        Action::Extend { hold, .. } => (ClaimEventKind::HoldExtended, hold.uuid),
        Action::Release { hold } => (ClaimEventKind::HoldReleased, hold.uuid),
        Action::Expire { hold } => (ClaimEventKind::HoldExpired, hold.uuid),
        Action::Book { id, .. } => (ClaimEventKind::BookingConfirmed, id.uuid),
        Action::Confirm { booking, .. } => (ClaimEventKind::BookingConfirmed, booking.uuid),
        Action::Cancel { booking, .. } => (ClaimEventKind::BookingCancelled, booking.uuid),
        Action::Block { id, .. } => (ClaimEventKind::BlockCreated, id.uuid),
        Action::Unblock { block } => (ClaimEventKind::BlockLifted, block.uuid),
        Action::Lookup => return None,
    })
}
