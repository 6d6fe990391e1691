//! The effects of commands, in the terms of the API, before they are rendered.

use super::catalogue::PlanVersion;
use super::claims::{BlockRow, BookingRow, HoldRow};
use super::clock::EpochMs;
use super::ids::{BlockId, BookingId, EventId, HoldId, ScheduleId, SeatNumber};
use super::rejection::Rejection;

/// A seat as answers show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricedSeat {
    /// Its index in the plan.
    pub number: SeatNumber,
    /// Its public name.
    pub label: String,
    /// Minor units of the schedule's currency.
    pub price: i64,
}

/// A hold as answers show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldView {
    /// Its row after the command.
    pub row: HoldRow,
    /// Its seats, in plan order.
    pub seats: Vec<PricedSeat>,
    /// ISO 4217 code.
    pub currency: String,
    /// When it ends, outages considered.
    pub ends_at: EpochMs,
    /// The database's time of this answer.
    pub now: EpochMs,
}

/// A booking as answers show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookingView {
    /// Its row after the command.
    pub row: BookingRow,
    /// The seats that the booking still owns, in plan order.
    pub seats: Vec<PricedSeat>,
    /// The seats that were cancelled, in plan order.
    pub cancelled_seats: Vec<PricedSeat>,
    /// ISO 4217 code.
    pub currency: String,
}

/// A block as answers show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockView {
    /// Its row after the command.
    pub row: BlockRow,
    /// Its seats' labels, in plan order.
    pub labels: Vec<String>,
}

/// The effect of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Seats are held.
    Held(HoldView),
    /// The hold expires later, or at the same time as before.
    Extended(HoldView),
    /// The hold has the seats that the change leads to; also if it had them before.
    Changed(HoldView),
    /// The hold is released and its seats are free; also if it was released before.
    Released(HoldRow),
    /// Seats are sold.
    Booked(BookingView),
    /// The hold is a booking; also if it was one before.
    Confirmed(BookingView),
    /// The given seats do not belong to the booking any more; also if they were cancelled before.
    Cancelled(BookingView),
    /// The answer to the sweep: the hold was marked as expired, or did not have to be marked.
    Expired,
    /// Seats are out of sale.
    Blocked(BlockView),
    /// The block is lifted; also if it was before.
    Unblocked,
}

/// The resource that an answer describes.
#[derive(Debug, Clone, PartialEq, Eq, strum::AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub enum Resource {
    /// A hold.
    Hold(HoldId),
    /// A booking.
    Booking(BookingId),
    /// A block.
    Block(BlockId),
    /// An event.
    Event(EventId),
    /// A schedule.
    Schedule(ScheduleId),
    /// A version of a seat plan.
    SeatPlan(PlanVersion),
    /// Nothing: the answer to the end of a hold or block, or a refusal.
    Nothing,
}

impl Resource {
    /// Its id in answers and paths; empty for [`Resource::Nothing`].
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Hold(id) => id.to_string(),
            Self::Booking(id) => id.to_string(),
            Self::Block(id) => id.to_string(),
            Self::Event(id) => id.to_string(),
            Self::Schedule(id) => id.to_string(),
            Self::SeatPlan(plan) => plan.id.clone(),
            Self::Nothing => String::new(),
        }
    }

    /// The schedule that it belongs to.
    #[must_use]
    pub fn schedule(&self) -> Option<ScheduleId> {
        match self {
            Self::Hold(id) => Some(id.schedule),
            Self::Booking(id) => Some(id.schedule),
            Self::Block(id) => Some(id.schedule),
            Self::Schedule(id) => Some(*id),
            Self::Event(_) | Self::SeatPlan(_) | Self::Nothing => None,
        }
    }
}

/// An answer as it was sent and recorded under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedAnswer {
    /// HTTP status: 2xx, or that of a refusal for a request that came through the queue.
    pub status: u16,
    /// The body as it was sent; empty for 204.
    pub body: String,
    /// What the answer describes; `None` if an older release recorded the answer, which did not store this.
    pub resource: Option<Resource>,
}

/// The answer to record under a key, before it is rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The effect.
    Effect(Effect),
    /// The refusal. It is recorded only for requests that came through the queue, since their clients read the answer
    /// later.
    Rejection(Rejection),
    /// The answer that was recorded under another key of the same request.
    Recorded(RecordedAnswer),
}

/// A command's outcome and the answer that its batch recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutedCommand {
    /// The outcome.
    pub outcome: Outcome,
    /// The rendered answer to the effect; `None` if the command had no key or no effect in this batch.
    pub answer: Option<RecordedAnswer>,
}

/// The outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The effect of the command.
    Done(Effect),
    /// The effect that the same key had earlier in the same batch.
    Repeated(Effect),
    /// The answer that an earlier batch recorded under the same key.
    Replayed(RecordedAnswer),
    /// A lookup found nothing under the key.
    NotRecorded,
    /// The command was refused and had no effect.
    Refused(Rejection),
}

impl Outcome {
    /// Whether the command has had its effect, now or before.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Repeated(_) | Self::Replayed(_))
    }
}

/// The result of work that is done once per key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once<T> {
    /// The work was done now.
    Done(T),
    /// The work was done before: the answer that was recorded then.
    Replayed(RecordedAnswer),
    /// The work was refused.
    Refused(Rejection),
}
