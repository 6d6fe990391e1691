//! The schemas of values that several requests and responses share: ids, names, prices, times. Their limits are the
//! constants by which the code checks these values.

mod pretix;

pub use pretix::PretixPlanBody;

use std::time::Duration;

use serde_json::json;
use strum::VariantNames;
use utoipa::openapi::schema::{
    AdditionalProperties, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, SchemaType,
    Type,
};
use utoipa::openapi::{ArrayBuilder, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::api_key::origin::{ORIGIN_MAX, ORIGIN_PATTERN};
use crate::domain::api_key::text::{KEY_PATTERN, PREFIX_PATTERN};
use crate::domain::api_key::{KEY_NAME_MAX, OVERLAP, OVERLAP_MAX};
use crate::domain::currency;
use crate::domain::ids::{CUSTOMER_ID_MAX, NUMBER_ID_MAX, NUMBER_ID_PATTERN, SCOPED_ID_PATTERN};
use crate::domain::plan::{
    LABEL_MAX, PRICE_MAX, RANK_MAX, ROWS_PER_SECTION_MAX, SEATS_MAX, SEATS_PER_ROW_MAX,
    SeatAttribute,
};
use crate::domain::rejection::ConflictReason;
use crate::domain::rules::{
    CURRENCY, EVENT_NAME_MAX, PLAN_ID_MAX, PLAN_ID_PATTERN, REASON_MAX, SEATS_PER_BOOKING,
    SEATS_PER_BOOKING_MAX,
};
use crate::domain::seat::STATUS_NAMES;

/// The part of the rule for names that a pattern can state: no control character, and no white space but single
/// blanks inside. The format `name` is the whole rule (docs/errors.md).
const NAME_PATTERN: &str =
    "^[^\\s\\u0000-\\u001f\\u007f-\\u009f]+( [^\\s\\u0000-\\u001f\\u007f-\\u009f]+)*$";

/// The rule for names that are looked up: no control character.
const STORED_NAME_PATTERN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";

/// A time of a request in RFC 3339, from 1970 to 9999.
const TIME_PATTERN: &str = "^(19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}\
                            (\\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$";

/// A time of a response: UTC with milliseconds.
const TIMESTAMP_PATTERN: &str =
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$";

/// The form of a cursor over items whose id has a pattern.
pub(super) fn cursor(id_pattern: &str) -> ObjectBuilder {
    let id = id_pattern.trim_start_matches('^');
    text().pattern(Some(format!("^[0-9A-Za-z]{{8}}\\.{id}")))
}

/// A text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A whole number from `min` to `max`.
pub(super) fn whole_number(min: i64, max: i64) -> ObjectBuilder {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let format = SchemaFormat::KnownFormat(KnownFormat::Int64);
    number.format(Some(format)).minimum(Some(min)).maximum(Some(max))
}

/// One of these texts.
pub(super) fn one_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    text().enum_values(Some(texts.into_iter().map(str::to_owned)))
}

fn custom(format: &str) -> Option<SchemaFormat> {
    Some(SchemaFormat::Custom(format.to_owned()))
}

fn stored_name(max: usize) -> ObjectBuilder {
    text().min_length(Some(1)).max_length(Some(max)).pattern(Some(STORED_NAME_PATTERN))
}

fn name(max: usize) -> ObjectBuilder {
    stored_name(max).pattern(Some(NAME_PATTERN)).format(custom("name"))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

macro_rules! schemas {
    ($($(#[doc = $about:literal])+ $visible:vis $name:ident = $schema:expr;)+) => {
        $(
            $(#[doc = $about])+
            #[derive(Debug)]
            $visible enum $name {}

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    let about = concat!($($about),+).trim();
                    RefOr::T(Schema::Object($schema.description(Some(about)).build()))
                }
            }

            impl ToSchema for $name {}
        )+
    };
}

schemas! {
    /// The id of an event or a schedule.
    pub NumberId = text().pattern(Some(NUMBER_ID_PATTERN)).examples([json!("1")]);
    /// The id of a hold, a booking, a block or a queued request.
    pub ScopedId = text().pattern(Some(SCOPED_ID_PATTERN))
        .examples([json!("1-019b2f00000070008000000000000001")]);
    /// The id of an event or a schedule in a request: a text or a number.
    pub NumberIdInput = text()
        .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
        .pattern(Some(NUMBER_ID_PATTERN))
        .minimum(Some(1))
        .maximum(Some(NUMBER_ID_MAX))
        .examples([json!("1")]);
    /// The shop's name for a customer, in Unicode NFKC and without invisible characters.
    pub CustomerName = name(CUSTOMER_ID_MAX).format(custom("folded-name")).examples([json!("customer-1")]);
    /// The shop's name for a customer who has a hold or a booking.
    pub KnownCustomer = stored_name(CUSTOMER_ID_MAX).examples([json!("customer-1")]);
    /// The name of an event, in Unicode NFC and without invisible characters.
    pub EventName = name(EVENT_NAME_MAX).examples([json!("The Tempest")]);
    /// The reason for a block, in Unicode NFC and without invisible characters.
    pub Reason = name(REASON_MAX).examples([json!("camera position")]);
    /// The id of a seat plan to be stored.
    pub NewPlanId = text().min_length(Some(1)).max_length(Some(PLAN_ID_MAX))
        .pattern(Some(PLAN_ID_PATTERN)).examples([json!("great-hall")]);
    /// The id of a stored seat plan.
    pub StoredPlanId = name(PLAN_ID_MAX).examples([json!("great-hall")]);
    /// The name of a section, the first part of its labels: `A` in `A-1-1`. The longest label has at most 64
    /// characters.
    pub SectionName = name(LABEL_MAX - "-1-1".len()).examples([json!("A")]);
    /// The number of rows of a section.
    pub RowCount = whole_number(1, to_i64(ROWS_PER_SECTION_MAX)).examples([json!(20)]);
    /// The number of seats in each row of a section.
    pub RowLength = whole_number(1, to_i64(SEATS_PER_ROW_MAX)).examples([json!(30)]);
    /// The number of a seat in its row that has a gap, such as an aisle, before it.
    pub GapBefore = whole_number(2, to_i64(SEATS_PER_ROW_MAX)).examples([json!(11)]);
    /// The name of a price category.
    pub CategoryName = name(LABEL_MAX).examples([json!("Category I")]);
    /// How good a seat is: 1 is best.
    pub SeatRank = whole_number(1, i64::from(RANK_MAX)).examples([json!(1)]);
    /// A price in minor units.
    pub Price = whole_number(0, PRICE_MAX).examples([json!(9900)]);
    /// The public name of a seat.
    pub SeatLabel = text().min_length(Some(1)).max_length(Some(LABEL_MAX)).examples([json!("A-1-1")]);
    /// The state of a seat.
    pub SeatStatus = one_of(STATUS_NAMES);
    /// ISO 4217 code of a currency in which prices can be.
    pub NewCurrency = one_of(currency::codes()).examples([json!(CURRENCY)]);
    /// ISO 4217 code of a currency.
    pub CurrencyCode = text().pattern(Some("^[A-Z]{3}$")).examples([json!(CURRENCY)]);
    /// A time in RFC 3339, with any offset, from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z.
    pub NewTime = text().format(custom("date-time")).pattern(Some(TIME_PATTERN))
        .examples([json!("2026-12-24T20:00:00Z")]);
    /// A time in RFC 3339, in UTC and with milliseconds.
    pub Timestamp = text().format(custom("date-time")).pattern(Some(TIMESTAMP_PATTERN))
        .examples([json!("2026-12-24T20:00:00.000Z")]);
    /// The lifetime of a hold in seconds, at most `HOLD_TTL_MAX` of the installation.
    pub HoldLifetime = whole_number(1, i64::from(u32::MAX)).examples([json!(300)]);
    /// The version of a hold: 1 at first, and one more with each change of its seats.
    pub HoldVersion = whole_number(1, i64::from(u32::MAX)).examples([json!(1)]);
    /// The secret of a hold, with which a page reads and changes it.
    pub HoldSecret = text().pattern(Some("^hs_[0-9A-Za-z_-]{32}$"))
        .examples([json!("hs_wIX4q0Jb2mT9sYk3Zr7LdPaVxE5nGc8u")]);
    /// The name of an API key.
    pub NewKeyName = name(KEY_NAME_MAX).format(custom("folded-name")).examples([json!("shop backend")]);
    /// The text of an API key.
    pub KeySecretText = text().pattern(Some(KEY_PATTERN.replacen("\\b", "^", 1).replace("\\b", "$")))
        .examples([json!("sk_live_4fT9xQ2bVn7LkZ0aRc3JwYh8sEu5Gm1pQdXo")]);
    /// The beginning of the text of an API key.
    pub KeyPrefix = text().pattern(Some(PREFIX_PATTERN)).examples([json!("sk_live_4fT9xQ2b")]);
    /// The origin of pages: `scheme://host` or `scheme://host:port`.
    pub PageOrigin = text().pattern(Some(ORIGIN_PATTERN)).max_length(Some(ORIGIN_MAX))
        .examples([json!("https://shop.example")]);
    /// The seconds for which the secret before still works after a rotation.
    pub KeyOverlap = whole_number(0, seconds(OVERLAP_MAX)).default(Some(json!(OVERLAP.as_secs())));
    /// The most seats of one hold or booking.
    pub SeatsPerBooking = whole_number(1, i64::from(SEATS_PER_BOOKING_MAX))
        .examples([json!(SEATS_PER_BOOKING)]);
    /// The most held and booked seats of one customer.
    pub SeatsPerCustomer = whole_number(1, to_i64(SEATS_MAX)).examples([json!(20)]);
    /// A version of a seat plan.
    pub PlanVersionNumber = whole_number(1, i64::from(i32::MAX)).examples([json!(1)]);
    /// A version of the seats of a schedule.
    pub SeatsVersion = whole_number(0, i64::MAX).examples([json!(1)]);
    /// `held`, `confirmed`, `released` or `expired`.
    pub HoldStatusName = one_of(["held", "confirmed", "released", "expired"]);
    /// `confirmed`, or `cancelled` if all its seats were cancelled.
    pub BookingStatusName = one_of(["confirmed", "cancelled"]);
    /// `queued`, `running`, `succeeded`, `failed` or `expired`.
    pub RequestStatusName = one_of(["queued", "running", "succeeded", "failed", "expired"]);
    /// Why a seat could not be taken.
    pub ConflictReasonName = one_of(<ConflictReason as VariantNames>::VARIANTS.iter().copied());
    /// An event of the stream of a schedule.
    pub SeatsEvent = event(["snapshot", "delta", "counts", "bye"]);
    /// An event of the stream of a queued request.
    pub RequestEvent = event(["status", "outcome", "bye"]);
    /// A field of another form of this body: absent or null.
    pub OfOtherForm = ObjectBuilder::new().schema_type(Type::Null);
}

/// An event of a stream (server-sent events): its name is one of these, and its data is a JSON document.
fn event<'a>(names: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("event", one_of(names))
        .property("id", text().pattern(Some("^[0-9A-Za-z]{8}\\.[0-9]+$")))
        .property("data", text())
        .required("event")
        .required("data")
}

/// Labels of seats, each once; either all of them are taken, or none.
pub(super) fn seat_labels() -> RefOr<Schema> {
    labels(1, "Labels of seats, each once, of which all are taken or none.")
}

/// Labels of seats, each once, or none.
pub(super) fn optional_seat_labels() -> RefOr<Schema> {
    labels(0, "Labels of seats, each once.")
}

fn labels(min: usize, about: &str) -> RefOr<Schema> {
    let label = RefOr::Ref(utoipa::openapi::Ref::from_schema_name("SeatLabel"));
    let list = ArrayBuilder::new().items(label).min_items(Some(min)).max_items(Some(SEATS_MAX));
    let list = list.unique_items(true).description(Some(about));
    RefOr::T(Schema::Array(list.examples([json!(["A-1-1", "A-1-2"])]).build()))
}

/// Attributes of a seat, each once.
pub(super) fn seat_attributes() -> RefOr<Schema> {
    let list = ArrayBuilder::new().items(one_of(SeatAttribute::VARIANTS.iter().copied()));
    let list = list.max_items(Some(SeatAttribute::VARIANTS.len())).unique_items(true);
    RefOr::T(Schema::Array(list.description(Some("What distinguishes a seat, each once.")).build()))
}

/// The schema of an object that refuses unknown fields.
pub(super) fn closed(mut schema: RefOr<Schema>) -> RefOr<Schema> {
    change(Some(&mut schema), |object| {
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    });
    schema
}

/// Changes the schema of an object in place.
pub(super) fn change(schema: Option<&mut RefOr<Schema>>, change: impl FnOnce(&mut Object)) {
    if let Some(RefOr::T(Schema::Object(object))) = schema {
        change(object);
    }
}
