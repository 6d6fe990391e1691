//! Reads pretix's seating plans, leniently: many editors write them, and the format still changes.
//!
//! Source of the format: `seating-plan.schema.json` of pretix, in its present and its older form. Unknown keys are
//! ignored, numbers are accepted as texts, and positions may have fractions. The format has categories and positions;
//! this reader also accepts `attributes`, `gap`, `rank` and `linked` at a seat, and `focal_point` at the plan.

mod format;

use std::collections::{BTreeSet, HashSet};

pub use format::PretixPlan;

use crate::domain::plan::{
    FieldNames, PlanError, PlanSeat, Problems, Row, SeatPlan, Section, first_ten, quoted,
};
use crate::formats::prices::Prices;
use format::{PretixSeat, PretixZone, Text};

/// Which part of a pretix plan becomes the seats' labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::EnumString, strum::VariantNames)]
#[strum(
    serialize_all = "snake_case",
    parse_err_ty = InvalidIdFrom,
    parse_err_fn = invalid_id_from
)]
pub enum IdFrom {
    /// `seat_guid`, the name on tickets; should be unique, and in real plans often is not.
    #[default]
    Guid,
    /// `uuid`, which editors generate and not every plan has.
    Uuid,
    /// Zone, row and seat, each counted from 1: `1-17-4`. Always unique.
    Position,
}

/// The error for a text that is no [`IdFrom`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no source of labels: give guid, uuid or position")]
pub struct InvalidIdFrom(String);

fn invalid_id_from(text: &str) -> InvalidIdFrom {
    InvalidIdFrom(quoted(text))
}

impl IdFrom {
    fn field_names(self) -> FieldNames {
        let (label, label_remedy) = match self {
            Self::Guid => (
                "seat_guid",
                "take other labels with `--id-from uuid` or `--id-from position` (over HTTP `?id_from=`)",
            ),
            Self::Uuid => {
                ("uuid", "take other labels with `--id-from position` (over HTTP `?id_from=`)")
            }
            Self::Position => ("seat_number", "labels by position do not repeat"),
        };
        FieldNames {
            sections: "zones",
            section_name: "name",
            row_name: "row_number",
            number: "seat_number",
            label,
            price: "category",
            x: "position",
            label_remedy,
        }
    }
}

/// Converts a pretix plan: zones become sections, and a missing or empty name becomes the ordinal. Coordinates become
/// absolute and are rounded to hundredths. The prices are those of `prices`, since pretix plans have none.
///
/// # Errors
/// All problems, at most [`PROBLEMS_MAX`](crate::domain::plan::PROBLEMS_MAX), with pointers into the pretix
/// document.
pub fn to_plan(
    document: &PretixPlan,
    id_from: IdFrom,
    prices: &Prices,
) -> Result<SeatPlan, Vec<PlanError>> {
    let mut problems = Problems::default();
    check_categories(document, &mut problems);
    check_prices(document, prices, &mut problems);
    let section = |(ordinal, zone)| section(ordinal, zone, id_from, prices);
    let sections = (1..).zip(&document.zones).map(section).collect();
    let names = id_from.field_names();
    SeatPlan::checked(sections, document.focal_point, &names, &|pointer| pointer, problems)
}

fn section(zone_ordinal: usize, zone: &PretixZone, id_from: IdFrom, prices: &Prices) -> Section {
    let zone_position = zone.position.unwrap_or_default();
    let rows = (1usize..).zip(&zone.rows).map(|(row_ordinal, row)| {
        let row_position = zone_position + row.position.unwrap_or_default();
        let seats = (1usize..).zip(&row.seats).map(|(ordinal, seat)| {
            let position = seat.position.map(|position| (row_position + position).rounded());
            PlanSeat {
                number: Text::or_ordinal(seat.seat_number.as_ref(), ordinal),
                label: match id_from {
                    IdFrom::Guid => Text::or_empty(seat.seat_guid.as_ref()),
                    IdFrom::Uuid => Text::or_empty(seat.uuid.as_ref()),
                    IdFrom::Position => format!("{zone_ordinal}-{row_ordinal}-{ordinal}"),
                },
                // A seat without a price is reported by `check_prices`, and then no plan is returned.
                price: prices.of(seat.category()).unwrap_or_default(),
                category: seat.category().map(str::to_owned),
                x: position.map(|position| position.x),
                y: position.map(|position| position.y),
                attributes: seat.attributes.clone(),
                gap: seat.gap,
                rank: seat.rank,
                linked: seat.linked(),
            }
        });
        Row { name: Text::or_ordinal(row.row_number.as_ref(), row_ordinal), seats: seats.collect() }
    });
    Section { name: Text::or_ordinal(zone.name.as_ref(), zone_ordinal), rows: rows.collect() }
}

/// Checks that the plan declares the categories of its seats: otherwise a seat with a misspelt category would be sold
/// at the general price. A plan without declarations is accepted.
fn check_categories(document: &PretixPlan, problems: &mut Problems) {
    let declared: HashSet<_> = document.categories().collect();
    if declared.is_empty() {
        return;
    }
    for (z, zone) in document.zones.iter().enumerate() {
        for (r, row) in zone.rows.iter().enumerate() {
            for (s, seat) in row.seats.iter().enumerate() {
                let Some(category) = seat.category() else { continue };
                if problems.is_full() {
                    return;
                }
                if !declared.contains(category) {
                    let at = format!("/zones/{z}/rows/{r}/seats/{s}/category");
                    let message = format!(
                        "the plan declares no category {}: add or correct it",
                        quoted(category)
                    );
                    problems.add(at, "category_unknown", message);
                }
            }
        }
    }
}

/// Checks that every seat has a price, and that every category with a price exists.
fn check_prices(document: &PretixPlan, prices: &Prices, problems: &mut Problems) {
    let seats = || document.zones.iter().flat_map(|zone| &zone.rows).flat_map(|row| &row.seats);
    let used = seats().filter_map(PretixSeat::category);
    let known: BTreeSet<_> = document.categories().chain(used).collect();
    if let Some(message) = prices.without_category(&known) {
        problems.add("/categories", "price_without_category", message);
    }
    let mut listed = HashSet::new();
    let unpriced: Vec<_> = seats()
        .map(PretixSeat::category)
        .filter(|category| prices.of(*category).is_none() && listed.insert(*category))
        .collect();
    let mut named = unpriced.iter().copied().flatten().peekable();
    if named.peek().is_some() {
        let message = format!(
            "categories without a price: {}; give each one (`NAME=9900`), or one for all (`9900`)",
            first_ten(named.map(|name| (name, None)))
        );
        problems.add("/categories", "price_missing", message);
    }
    if unpriced.contains(&None) {
        let message = "some seats have no category: give a price for all (`9900`)";
        problems.add("/zones", "price_missing", message);
    }
}

#[cfg(test)]
mod tests;
