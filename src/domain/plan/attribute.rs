//! What distinguishes a seat from others: a closed list of attributes, by the names of the API and of CSV.

use serde::{Deserialize, Deserializer, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use crate::domain::bounded::AtMost;

/// An attribute of a seat. Seats list theirs in this order.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SeatAttribute {
    /// A space for a wheelchair.
    Wheelchair,
    /// A seat for a companion, beside a space for a wheelchair.
    Companion,
    /// At an aisle.
    Aisle,
    /// Part of the stage cannot be seen.
    RestrictedView,
    /// In reach of a hearing loop or another aid for hearing.
    Hearing,
    /// For people who walk with difficulty: few steps or none.
    SemiAmbulatory,
    /// An armrest can be lifted, to move over from a wheelchair.
    LiftUpArmrest,
}

impl SeatAttribute {
    /// Its name in the API and in CSV.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Reads a list of attributes in any order, and sorts it. Repeats are left for the check of the plan.
///
/// # Errors
/// If an attribute is not known, or there are many more than there are attributes.
pub(crate) fn attributes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<SeatAttribute>, D::Error> {
    const READ_MAX: usize = 100;
    let AtMost(mut attributes) = AtMost::<SeatAttribute, READ_MAX>::deserialize(deserializer)?;
    attributes.sort_unstable();
    Ok(attributes)
}
