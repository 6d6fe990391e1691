//! What a command did, in the words of the API but without its form.

use super::claims::{BlockRow, BookingRow, HoldRow};
use super::clock::EpochMs;
use super::ids::SeatNumber;
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
    /// The seats that are still its own, in plan order.
    pub seats: Vec<PricedSeat>,
    /// The seats that were given back, in plan order.
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

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Seats are held.
    Held(HoldView),
    /// The hold lives longer, or as long as before.
    Extended(HoldView),
    /// The hold is over and its seats are free; also if that was so before.
    Released(HoldRow),
    /// Seats are sold.
    Booked(BookingView),
    /// The hold is a booking; also if it was one before.
    Confirmed(BookingView),
    /// The seats asked for are not the booking's any more; also if they were not before.
    Cancelled(BookingView),
    /// The sweeper's word on a hold: ended by time, or not in need of ending.
    Expired,
    /// Seats are out of sale.
    Blocked(BlockView),
    /// The block is lifted; also if it was before.
    Unblocked,
}

/// An answer as it was given and recorded under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedAnswer {
    /// HTTP status: 2xx, or that of a refusal for a request that came through the queue.
    pub status: u16,
    /// The body as it was sent; empty for 204.
    pub body: String,
}

/// What is recorded under a key, before it has a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What was done.
    Effect(Effect),
    /// Why nothing was done; of requests that came through the queue, whose answer is asked for later.
    Rejection(Rejection),
    /// What was recorded under another key of the same request.
    Recorded(RecordedAnswer),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did this.
    Done(Effect),
    /// The same key did this earlier in the same batch.
    Repeated(Effect),
    /// The same key did this before; here is its answer.
    Replayed(RecordedAnswer),
    /// A lookup found nothing under the key.
    NotRecorded,
    /// The answer is no, and nothing was done.
    Refused(Rejection),
}

impl Outcome {
    /// Whether the command has had its effect, now or before.
    #[must_use]
    pub fn has_effect(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Repeated(_) | Self::Replayed(_))
    }
}

/// What came of work that is done once per key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once<T> {
    /// It was done now.
    Done(T),
    /// It was done before; here is the answer given then.
    Replayed(RecordedAnswer),
    /// The answer is no.
    Refused(Rejection),
}
