//! The bodies of responses, as far as they are used. Texts are not copied from the response.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;

use crate::sale::label;

/// A booking in a response, as far as it is compared.
#[derive(Debug, Deserialize)]
pub(crate) struct BookingBody<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) hold_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    seats: Vec<SeatBody<'a>>,
}

#[derive(Debug, Deserialize)]
struct SeatBody<'a> {
    #[serde(borrow)]
    label: Cow<'a, str>,
}

impl BookingBody<'_> {
    /// Whether this is a confirmed booking of these seats.
    pub(crate) fn has(&self, seats: &Range<usize>) -> bool {
        self.status == "confirmed"
            && self.seats.len() == seats.len()
            && self.seats.iter().zip(seats.clone()).all(|(found, seat)| found.label == label(seat))
    }
}

/// A hold in a response.
#[derive(Debug, Deserialize)]
pub(crate) struct HoldBody<'a> {
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
}

/// A refusal in a response.
#[derive(Debug, Deserialize)]
pub(crate) struct ProblemBody<'a> {
    pub(crate) code: &'a str,
}
