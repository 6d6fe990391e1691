//! What distinguishes a seat from others: a closed list of attributes, by the names of the API and of CSV.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

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
