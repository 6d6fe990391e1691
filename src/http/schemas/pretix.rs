//! The schema of a pretix seating plan: what is read of it. Other fields are ignored.

#![expect(dead_code, reason = "forms in the OpenAPI document")]

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::{SeatRank, seat_attributes};

/// A seating plan of pretix.
#[derive(Debug, ToSchema)]
#[schema(example = json!({
    "zones": [{"name": "A", "rows": [{"row_number": "1", "seats": [
        {"seat_number": "1", "seat_guid": "A-1-1"},
        {"seat_number": "2", "seat_guid": "A-1-2"},
    ]}]}],
}))]
pub struct PretixPlanBody {
    /// The categories; without any, those of the seats are not checked.
    #[schema(required = false, max_items = 100_000)]
    categories: Vec<PretixCategoryBody>,
    /// The zones, which become sections.
    #[schema(min_items = 1)]
    zones: Vec<PretixZoneBody>,
    /// The point near which seats without a rank are better. Not in plans of pretix.
    focal_point: Option<FocalPoint>,
}

/// A point of the plan.
#[derive(Debug, ToSchema)]
pub(super) struct FocalPoint {
    /// The distance from the left edge.
    #[schema(minimum = -1_000_000_000, maximum = 1_000_000_000)]
    x: f64,
    /// The distance from the upper edge.
    #[schema(minimum = -1_000_000_000, maximum = 1_000_000_000)]
    y: f64,
}

/// A category of seats.
#[derive(Debug, ToSchema)]
pub(super) struct PretixCategoryBody {
    /// Its name.
    name: PretixText,
}

/// A zone of a plan.
#[derive(Debug, ToSchema)]
pub(super) struct PretixZoneBody {
    /// Its name; its ordinal if absent.
    name: Option<PretixText>,
    /// Its place in the plan.
    position: Option<PretixPosition>,
    /// Its rows; none in a zone that is decoration.
    #[schema(required = false)]
    rows: Vec<PretixRowBody>,
}

/// A row of a zone.
#[derive(Debug, ToSchema)]
pub(super) struct PretixRowBody {
    /// Its name; its ordinal if absent.
    row_number: Option<PretixText>,
    /// Its place in the zone.
    position: Option<PretixPosition>,
    /// Its seats.
    #[schema(required = false)]
    seats: Vec<PretixSeatBody>,
}

/// A seat of a row.
#[derive(Debug, ToSchema)]
pub(super) struct PretixSeatBody {
    /// Its label with `id_from=guid`.
    seat_guid: Option<PretixText>,
    /// Its label with `id_from=uuid`.
    uuid: Option<PretixText>,
    /// Its number; its ordinal if absent.
    seat_number: Option<PretixText>,
    /// Its category.
    category: Option<PretixText>,
    /// Its place in the row.
    position: Option<PretixPosition>,
    /// What distinguishes it, each once. Not in plans of pretix, like the following.
    #[schema(required = false, schema_with = seat_attributes)]
    attributes: Vec<String>,
    /// Whether there is a gap, such as an aisle, between it and the seat before it in its row.
    #[schema(required = false)]
    gap: bool,
    /// Its rank.
    rank: Option<SeatRank>,
    /// The name of its group of linked seats, such as a table, which are only taken and given back together.
    linked: Option<PretixText>,
}

/// A place, relative to that of the part around it.
#[derive(Debug, ToSchema)]
pub(super) struct PretixPosition {
    /// The distance from the left edge; 0 if absent.
    #[schema(required = false, minimum = -1_000_000_000, maximum = 1_000_000_000)]
    x: f64,
    /// The distance from the upper edge; 0 if absent.
    #[schema(required = false, minimum = -1_000_000_000, maximum = 1_000_000_000)]
    y: f64,
}

/// A text, or a number for it.
#[derive(Debug)]
pub(super) enum PretixText {}

impl PartialSchema for PretixText {
    fn schema() -> RefOr<Schema> {
        let types = SchemaType::from_iter([Type::String, Type::Number]);
        let text = ObjectBuilder::new().schema_type(types);
        text.description(Some("A text, or a number for it.")).into()
    }
}

impl ToSchema for PretixText {}
