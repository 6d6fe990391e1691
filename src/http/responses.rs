//! The bodies of responses: effects and rows as JSON.

mod api_key;
mod plan;
mod recorded;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::catalogue::{Counts, Event, PlanVersion, Schedule};
use crate::domain::claims::{BookingStatus, HoldStatus};
use crate::domain::effect::{BlockView, BookingView, HoldView, PricedSeat};

use super::schemas::{
    BookingStatusName, CurrencyCode, HoldStatusName, HoldVersion, KnownCustomer, NumberId,
    PlanVersionNumber, Price, ScopedId, SeatLabel, SeatsVersion, Timestamp,
};
use super::time;

pub use api_key::{ApiKeyBody, IssuedKeyBody};
pub use plan::{EnteredPlanBody, render_plan};
pub use recorded::{render, render_event, render_schedule};

/// An amount of money.
#[derive(Debug, Serialize, ToSchema)]
pub struct MoneyBody {
    /// Minor units of the currency.
    #[schema(example = 19800)]
    pub amount: i64,
    /// ISO 4217 code.
    #[schema(value_type = CurrencyCode)]
    pub currency: String,
}

/// A seat of a hold or booking.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeatBody {
    /// The public name.
    #[schema(value_type = SeatLabel)]
    pub label: String,
    /// Minor units.
    #[schema(value_type = Price)]
    pub price: i64,
}

/// A hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct HoldBody {
    /// Its identifier.
    #[schema(value_type = ScopedId)]
    pub id: String,
    /// Its schedule.
    #[schema(value_type = NumberId)]
    pub schedule_id: String,
    /// The customer who has the hold.
    #[schema(value_type = KnownCustomer)]
    pub customer_id: String,
    /// `held`, `confirmed`, `released` or `expired`.
    #[schema(value_type = HoldStatusName)]
    pub status: &'static str,
    /// Begins with 1 and grows by one with each change of the seats.
    #[schema(value_type = HoldVersion)]
    pub version: u32,
    /// The seats, in plan order.
    pub seats: Vec<SeatBody>,
    /// The sum of the prices of `seats`.
    pub total: MoneyBody,
    /// When it was created.
    #[schema(value_type = Timestamp)]
    pub created_at: String,
    /// When the hold ends, unless it is extended, confirmed or released before.
    #[schema(value_type = Timestamp)]
    pub expires_at: String,
    /// The seconds from this answer to `expires_at`, for clients whose clock is wrong.
    pub expires_in_s: u64,
    /// The booking that the hold became.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ScopedId>)]
    pub booking_id: Option<String>,
}

/// A booking.
#[derive(Debug, Serialize, ToSchema)]
pub struct BookingBody {
    /// Its identifier.
    #[schema(value_type = ScopedId)]
    pub id: String,
    /// `confirmed` or `cancelled`.
    #[schema(value_type = BookingStatusName)]
    pub status: &'static str,
    /// Its schedule.
    #[schema(value_type = NumberId)]
    pub schedule_id: String,
    /// The customer who has the booking.
    #[schema(value_type = KnownCustomer)]
    pub customer_id: String,
    /// The hold that was confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ScopedId>)]
    pub hold_id: Option<String>,
    /// The seats that are not cancelled, in plan order.
    pub seats: Vec<SeatBody>,
    /// The seats that were cancelled, in plan order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cancelled_seats: Vec<SeatBody>,
    /// The sum of the prices of `seats`.
    pub total: MoneyBody,
    /// When it was created.
    #[schema(value_type = Timestamp)]
    pub created_at: String,
    /// When the last seat was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>)]
    pub cancelled_at: Option<String>,
}

/// A block of house seats.
#[derive(Debug, Serialize, ToSchema)]
pub struct BlockBody {
    /// Its identifier.
    #[schema(value_type = ScopedId)]
    pub id: String,
    /// Its schedule.
    #[schema(value_type = NumberId)]
    pub schedule_id: String,
    /// Labels, in plan order.
    #[schema(value_type = Vec<SeatLabel>)]
    pub seats: Vec<String>,
    /// The reason for the block.
    pub reason: String,
    /// When it was created.
    #[schema(value_type = Timestamp)]
    pub created_at: String,
}

/// An event.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventBody {
    /// Its identifier.
    #[schema(value_type = NumberId)]
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was created.
    #[schema(value_type = Timestamp)]
    pub created_at: String,
}

/// Seats by state.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountsBody {
    /// Seats that can be sold.
    pub available: u32,
    /// Seats in holds.
    pub held: u32,
    /// Seats in bookings.
    pub booked: u32,
    /// Seats in blocks.
    pub blocked: u32,
}

/// The layout of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanVersionBody {
    /// The plan.
    pub id: String,
    /// Its version.
    #[schema(value_type = PlanVersionNumber)]
    pub version: i32,
}

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleBody {
    /// Its identifier.
    #[schema(value_type = NumberId)]
    pub id: String,
    /// Its event.
    #[schema(value_type = NumberId)]
    pub event_id: String,
    /// When the performance begins.
    #[schema(value_type = Timestamp)]
    pub starts_at: String,
    /// ISO 4217 code of all prices.
    #[schema(value_type = CurrencyCode)]
    pub currency: String,
    /// On sale immediately if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>)]
    pub sales_open_at: Option<String>,
    /// Never closes if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>)]
    pub sales_close_at: Option<String>,
    /// The most seats of one hold or booking.
    pub max_seats_per_booking: u32,
    /// The most held and booked seats of one customer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seats_per_customer: Option<u32>,
    /// The lifetime of a hold whose request sets none, in seconds.
    pub hold_ttl_s: u64,
    /// Its layout.
    pub seat_plan: PlanVersionBody,
    /// The version of its layout, as in `seat_plan`: maps, availability and events of the stream name it, too.
    #[schema(value_type = PlanVersionNumber)]
    pub plan_version: i32,
    /// The number of its seats.
    pub seats: u32,
    /// When it was created.
    #[schema(value_type = Timestamp)]
    pub created_at: String,
    /// The version of its seats; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SeatsVersion>)]
    pub version: Option<i64>,
    /// Its seats by state; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<CountsBody>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct PageBody<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// The `cursor` of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

fn seats(seats: Vec<PricedSeat>) -> Vec<SeatBody> {
    seats.into_iter().map(|seat| SeatBody { label: seat.label, price: seat.price }).collect()
}

fn total(seats: &[PricedSeat], currency: String) -> MoneyBody {
    MoneyBody { amount: seats.iter().map(|seat| seat.price).sum(), currency }
}

impl From<HoldView> for HoldBody {
    fn from(view: HoldView) -> Self {
        let has_ended = view.ends_at <= view.now;
        let status = match view.row.status {
            HoldStatus::Confirmed => "confirmed",
            HoldStatus::Released => "released",
            HoldStatus::Held if !has_ended => "held",
            HoldStatus::Held | HoldStatus::Expired => "expired",
        };
        let expires_in_s =
            if status == "held" { view.ends_at.since(view.now).as_secs() } else { 0 };
        Self {
            id: view.row.id.to_string(),
            schedule_id: view.row.id.schedule.to_string(),
            customer_id: view.row.customer.as_str().to_owned(),
            status,
            version: view.row.version,
            total: total(&view.seats, view.currency),
            seats: seats(view.seats),
            created_at: time::write(view.row.created_at),
            expires_at: time::write(view.ends_at),
            expires_in_s,
            booking_id: view.row.booking.map(|id| id.to_string()),
        }
    }
}

impl From<BookingView> for BookingBody {
    fn from(view: BookingView) -> Self {
        Self {
            id: view.row.id.to_string(),
            status: match view.row.status {
                BookingStatus::Confirmed => "confirmed",
                BookingStatus::Cancelled => "cancelled",
            },
            schedule_id: view.row.id.schedule.to_string(),
            customer_id: view.row.customer.as_str().to_owned(),
            hold_id: view.row.hold.map(|id| id.to_string()),
            total: total(&view.seats, view.currency),
            seats: seats(view.seats),
            cancelled_seats: seats(view.cancelled_seats),
            created_at: time::write(view.row.created_at),
            cancelled_at: view.row.cancelled_at.map(time::write),
        }
    }
}

impl From<BlockView> for BlockBody {
    fn from(view: BlockView) -> Self {
        Self {
            id: view.row.id.to_string(),
            schedule_id: view.row.id.schedule.to_string(),
            seats: view.labels,
            reason: view.row.reason,
            created_at: time::write(view.row.created_at),
        }
    }
}

impl From<Event> for EventBody {
    fn from(event: Event) -> Self {
        let id = event.id.to_string();
        let created_at = time::write(event.created_at);
        Self { id, name: event.name, created_at }
    }
}

impl From<Counts> for CountsBody {
    fn from(Counts { available, held, booked, blocked }: Counts) -> Self {
        Self { available, held, booked, blocked }
    }
}

impl From<PlanVersion> for PlanVersionBody {
    fn from(PlanVersion { id, version }: PlanVersion) -> Self {
        Self { id, version }
    }
}

impl From<Schedule> for ScheduleBody {
    fn from(schedule: Schedule) -> Self {
        let rules = schedule.rules;
        Self {
            id: schedule.id.to_string(),
            event_id: schedule.event.to_string(),
            starts_at: time::write(schedule.starts_at),
            currency: rules.currency,
            sales_open_at: rules.sales_open_at.map(time::write),
            sales_close_at: rules.sales_close_at.map(time::write),
            max_seats_per_booking: rules.max_seats_per_booking,
            max_seats_per_customer: rules.max_seats_per_customer,
            hold_ttl_s: rules.hold_ttl.as_secs(),
            plan_version: schedule.plan.version,
            seat_plan: schedule.plan.into(),
            seats: schedule.seats,
            created_at: time::write(schedule.created_at),
            version: None,
            counts: None,
        }
    }
}
