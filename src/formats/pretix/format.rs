//! The parts of pretix's format that are read, as types to deserialise.

use std::fmt;
use std::ops::Add;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::domain::bounded::{AtMost, Weighed};
use crate::domain::plan::{Point, SEATS_MAX, SeatAttribute, attributes};
use crate::domain::whole::optional_whole;

/// A seating plan of pretix. Deserialise it from JSON, then convert it with
/// [`to_plan`](crate::formats::pretix::to_plan).
#[derive(Debug, Clone, serde::Deserialize)]
pub struct PretixPlan {
    #[serde(default)]
    categories: AtMost<PretixCategory, SEATS_MAX>,
    #[serde(deserialize_with = "zones")]
    pub(crate) zones: Vec<PretixZone>,
    /// Not in pretix's own format.
    pub(crate) focal_point: Option<Point>,
}

#[derive(Debug, Clone, serde::Deserialize)]
struct PretixCategory {
    name: Text,
}

#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct PretixZone {
    pub(crate) name: Option<Text>,
    pub(crate) position: Option<Coordinates>,
    /// Empty in a zone that is decoration.
    #[serde(default, deserialize_with = "rows")]
    pub(crate) rows: Vec<PretixRow>,
}

#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct PretixRow {
    pub(crate) row_number: Option<Text>,
    /// Relative to the zone.
    pub(crate) position: Option<Coordinates>,
    #[serde(default, deserialize_with = "seats")]
    pub(crate) seats: Vec<PretixSeat>,
}

/// The most seats, empty rows and empty zones that are read. Zones without seats are common, as decoration.
const PARTS_MAX: usize = 2 * SEATS_MAX;

fn zones<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PretixZone>, D::Error> {
    let weight = |zone: &PretixZone| zone.rows.iter().map(PretixRow::weight).sum::<usize>().max(1);
    deserializer.deserialize_seq(Weighed { weight, max: PARTS_MAX })
}

fn rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PretixRow>, D::Error> {
    deserializer.deserialize_seq(Weighed { weight: PretixRow::weight, max: PARTS_MAX })
}

fn seats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PretixSeat>, D::Error> {
    deserializer.deserialize_seq(Weighed { weight: |_: &PretixSeat| 1, max: PARTS_MAX })
}

#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct PretixSeat {
    pub(crate) seat_guid: Option<Text>,
    pub(crate) uuid: Option<Text>,
    pub(crate) seat_number: Option<Text>,
    category: Option<Text>,
    /// Relative to the row.
    pub(crate) position: Option<Coordinates>,
    // The following are not in pretix's own format.
    #[serde(default, deserialize_with = "attributes")]
    pub(crate) attributes: Vec<SeatAttribute>,
    #[serde(default)]
    pub(crate) gap: bool,
    #[serde(default, deserialize_with = "optional_whole")]
    pub(crate) rank: Option<u32>,
    linked: Option<Text>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Deserialize)]
pub(crate) struct Coordinates {
    #[serde(default)]
    pub(crate) x: f64,
    #[serde(default)]
    pub(crate) y: f64,
}

/// A text or a number: some editors write `"row_number": 7`.
#[derive(Debug, Clone)]
pub(crate) struct Text(String);

impl PretixPlan {
    /// The names of the declared categories, used or not.
    pub(crate) fn categories(&self) -> impl Iterator<Item = &str> {
        self.categories.0.iter().map(|category| category.name.0.as_str())
    }
}

impl PretixRow {
    /// How much the row counts towards [`PARTS_MAX`].
    fn weight(&self) -> usize {
        self.seats.len().max(1)
    }
}

impl PretixSeat {
    /// The name of its category, if that is not empty.
    pub(crate) fn category(&self) -> Option<&str> {
        self.category.as_ref().map(|text| text.0.as_str()).filter(|name| !name.is_empty())
    }

    /// The name of its group of linked seats, if that is not empty.
    pub(crate) fn linked(&self) -> Option<String> {
        self.linked.as_ref().map(|text| text.0.clone()).filter(|name| !name.is_empty())
    }
}

impl Add for Coordinates {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y }
    }
}

impl Coordinates {
    /// Rounded to hundredths: precise enough for a screen, and stored without loss.
    pub(crate) fn rounded(self) -> Self {
        let rounded = |coordinate: f64| (coordinate * 100.0).round() / 100.0;
        Self { x: rounded(self.x), y: rounded(self.y) }
    }
}

impl Text {
    pub(crate) fn or_empty(text: Option<&Self>) -> String {
        text.map(|text| text.0.clone()).unwrap_or_default()
    }

    /// The text, or the ordinal if it is missing or blank.
    pub(crate) fn or_ordinal(text: Option<&Self>, ordinal: usize) -> String {
        let visible = text.filter(|text| !text.0.trim().is_empty());
        visible.map_or_else(|| ordinal.to_string(), |text| text.0.clone())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Text, E> {
        Ok(Text(text))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }
}
