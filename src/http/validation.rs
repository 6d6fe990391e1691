//! Validation of bodies: each field is parsed into a value of the domain, and all errors are returned together.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::domain::bounded::AtMost;
use crate::domain::clock::EpochMs;
use crate::domain::currency::{self, is_currency};
use crate::domain::ids::{CustomerId, SeatNumber};
use crate::domain::name;
use crate::domain::plan::{LABEL_MAX, SEATS_MAX, first_ten, quoted};
use crate::domain::whole::exact;
use crate::seat_map::Layout;

use super::problem::{Code, ERRORS_MAX, FieldError, Problem};
use super::schemas::{NewTime, NumberIdInput, seat_labels};
use super::time;

/// An identifier in a body: a string, or a whole number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(value_type = NumberIdInput)]
pub struct IdText(pub String);

impl IdText {
    /// Parses the identifier. A text that is not one is answered as not found.
    pub fn parse<T: FromStr>(&self, what: &str) -> Result<T, Problem> {
        self.0.parse().map_err(|_| Problem::not_found(what))
    }
}

impl<'de> Deserialize<'de> for IdText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Id;
        impl Visitor<'_> for Id {
            type Value = IdText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id, as a string or a whole number")
            }

            fn visit_str<E>(self, text: &str) -> Result<IdText, E> {
                Ok(IdText(text.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<IdText, E> {
                Ok(IdText(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<IdText, E> {
                let id = exact(number).filter(|number| *number >= 0);
                let wrong = || E::invalid_type(Unexpected::Float(number), &self);
                id.map(|id| IdText(id.to_string())).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_any(Id)
    }
}

/// The labels of seats in a body, at most as many as a schedule can have. The order of the labels has no meaning: it
/// does not change the fingerprint of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Labels(pub AtMost<String, SEATS_MAX>);

impl PartialSchema for Labels {
    fn schema() -> RefOr<Schema> {
        seat_labels()
    }
}

impl ToSchema for Labels {
    fn name() -> Cow<'static, str> {
        "SeatLabels".into()
    }
}

impl Serialize for Labels {
    /// Writes the labels sorted, so that equal requests have equal fingerprints.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut labels: Vec<&str> = self.0.0.iter().map(String::as_str).collect();
        labels.sort_unstable();
        labels.serialize(serializer)
    }
}

/// A time in a body. The same moment with another offset is the same time.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = NewTime)]
pub struct TimeText(pub String);

impl Serialize for TimeText {
    /// Writes the time in UTC, so that equal requests have equal fingerprints.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match time::read(&self.0) {
            Ok(moment) => time::write(moment).serialize(serializer),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

/// Collects the errors of a body while its fields are parsed.
#[derive(Debug, Default)]
pub struct Validator {
    errors: Vec<FieldError>,
}

impl Validator {
    /// Adds an error. At most one more than [`ERRORS_MAX`] is stored; the extra one shows that errors are missing.
    pub fn error(&mut self, pointer: &str, code: &str, message: impl Into<String>) {
        if !self.is_full() {
            self.errors.push(FieldError::new(pointer, code, message));
        }
    }

    fn is_full(&self) -> bool {
        self.errors.len() > ERRORS_MAX
    }

    /// Returns all errors as one problem, if there are any.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(self.into_problem()) }
    }

    /// All errors as one problem, for a body with a required field that has no valid value.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        let is_linked = |error: &FieldError| error.code == Code::LinkedSeats.name();
        let code = match self.errors.iter().all(is_linked) && !self.errors.is_empty() {
            true => Code::LinkedSeats,
            false => Code::ValidationFailed,
        };
        Problem { code, ..Problem::fields(self.errors) }
    }

    /// The value of a field, or `None` after its error was added.
    fn value<T, E: fmt::Display>(
        &mut self,
        pointer: &str,
        code: &str,
        parsed: Result<T, E>,
    ) -> Option<T> {
        parsed.map_err(|error| self.error(pointer, code, error.to_string())).ok()
    }

    /// The customer of a new hold or booking.
    pub fn customer(&mut self, pointer: &str, text: &str) -> Option<CustomerId> {
        self.value(pointer, "invalid_customer", CustomerId::new(text))
    }

    /// The customer of an existing hold or booking, whose name may be older than the rule for names.
    pub fn known_customer(&mut self, pointer: &str, text: &str) -> Option<CustomerId> {
        let customer = CustomerId::parse(text).map_err(|_| "is no customer's id");
        self.value(pointer, "invalid_customer", customer)
    }

    /// The currency of prices.
    pub fn currency(&mut self, pointer: &str, text: &str) -> Option<String> {
        let currency = is_currency(text).then(|| text.to_owned()).ok_or(currency::REMEDY);
        self.value(pointer, "invalid_currency", currency)
    }

    /// A time in RFC 3339.
    pub fn time(&mut self, pointer: &str, text: &TimeText) -> Option<EpochMs> {
        let time = time::read(&text.0);
        let code = time.map_or_else(|error| error.code(), |_| "");
        self.value(pointer, code, time)
    }

    /// A text of 1 to `max` characters, by the rule for names.
    pub fn text(&mut self, pointer: &str, text: &str, max: usize) -> Option<String> {
        self.value(pointer, "invalid_text", name::check(text, max).map(|()| text.to_owned()))
    }

    /// A number from 1 to `max`.
    pub fn in_range(&mut self, pointer: &str, value: u64, max: u64) -> Option<u32> {
        let number = u32::try_from(value).ok().filter(|_| (1..=max).contains(&value));
        self.value(pointer, "out_of_range", number.ok_or(format!("must be 1 to {max}")))
    }

    /// A duration of 1 second to `max`.
    pub fn seconds(&mut self, pointer: &str, seconds: u64, max: Duration) -> Option<Duration> {
        let seconds = self.in_range(pointer, seconds, max.as_secs())?;
        Some(Duration::from_secs(u64::from(seconds)))
    }

    /// The lifetime of a hold.
    pub fn ttl(&mut self, seconds: Option<u64>, max: Duration) -> Option<Duration> {
        self.seconds("/ttl_s", seconds?, max)
    }

    /// The seats of these labels, ascending: at least one, each in the layout, none twice, and linked seats together.
    pub fn seats(&mut self, labels: &Labels, layout: &Layout) -> Vec<SeatNumber> {
        self.not_empty(labels);
        self.seats_if_any("/seats", labels, layout)
    }

    /// Like [`Validator::seats`], but linked seats may be named one by one.
    pub fn seats_of_block(&mut self, labels: &Labels, layout: &Layout) -> Vec<SeatNumber> {
        self.not_empty(labels);
        self.single_seats("/seats", labels, layout)
    }

    fn not_empty(&mut self, labels: &Labels) {
        if labels.0.0.is_empty() {
            self.error("/seats", "empty", "name at least one seat");
        }
    }

    /// The seats of these labels, ascending: each in the layout, none twice, and linked seats together. Every request
    /// that takes or gives back seats by their labels passes here, so that a hold or a booking has each group of linked
    /// seats whole or not at all.
    pub fn seats_if_any(
        &mut self,
        pointer: &str,
        labels: &Labels,
        layout: &Layout,
    ) -> Vec<SeatNumber> {
        let errors = self.errors.len();
        let seats = self.single_seats(pointer, labels, layout);
        // A label with an error may be that of a missing seat.
        if self.errors.len() > errors {
            return seats;
        }
        for group in layout.partial_groups(&seats) {
            let label = layout.seat(group.named).map(|seat| seat.label);
            let index = labels.0.0.iter().position(|text| Some(text.as_str()) == label);
            let missing = first_ten(group.missing.iter().map(|label| (*label, None)));
            let message = format!(
                "the seats of the group {} are only taken and given back together: name {missing}, too, \
                 or none of the group",
                quoted(group.name)
            );
            let pointer = format!("{pointer}/{}", index.unwrap_or_default());
            self.error(&pointer, Code::LinkedSeats.name(), message);
        }
        seats
    }

    fn single_seats(
        &mut self,
        pointer: &str,
        Labels(AtMost(labels)): &Labels,
        layout: &Layout,
    ) -> Vec<SeatNumber> {
        let mut seen = HashSet::with_capacity(labels.len());
        let mut seats = Vec::with_capacity(labels.len());
        for (index, label) in labels.iter().enumerate() {
            if self.is_full() {
                break;
            }
            let pointer = format!("{pointer}/{index}");
            match layout.number(label) {
                Some(number) if seen.insert(number) => seats.push(number),
                Some(_) => {
                    let message = format!("seat {label} is named twice; name it once");
                    self.error(&pointer, "duplicate_seat", message);
                }
                None => {
                    let shown = name::shown(label, LABEL_MAX);
                    let message =
                        format!("the schedule has no seat {shown}; see its seats for the labels");
                    self.error(&pointer, "unknown_seat", message);
                }
            }
        }
        seats.sort_unstable();
        seats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_string_or_a_number() {
        let id = |text| serde_json::from_str::<IdText>(text);
        assert_eq!(id("42").unwrap(), IdText("42".to_owned()));
        assert_eq!(id("42.0").unwrap(), IdText("42".to_owned()));
        assert_eq!(id("\"42-ab\"").unwrap(), IdText("42-ab".to_owned()));
        for wrong in ["-1", "1.5", "null", "[]", "true"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_meaning_is_written_in_one_form() {
        let labels = |labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            serde_json::to_string(&Labels(AtMost(labels))).unwrap()
        };
        assert_eq!(labels(&["A-1-2", "A-1-10"]), labels(&["A-1-10", "A-1-2"]));
        assert_ne!(labels(&["A-1-2"]), labels(&["A-1-2", "A-1-2"]));
        let time = |text: &str| serde_json::to_string(&TimeText(text.to_owned())).unwrap();
        assert_eq!(time("2026-12-24T20:00:00Z"), time("2026-12-24T21:00:00.000+01:00"));
        assert_eq!(time("soon"), "\"soon\"");
    }

    #[test]
    fn all_errors_are_returned_together() {
        let mut check = Validator::default();
        assert_eq!(check.customer("/customer_id", ""), None);
        assert_eq!(check.time("/starts_at", &TimeText("soon".to_owned())), None);
        assert_eq!(check.ttl(Some(0), Duration::from_secs(60)), None);
        let problem = check.finish().unwrap_err();
        let pointers: Vec<&str> = problem.errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/customer_id", "/starts_at", "/ttl_s"]);
    }

    #[test]
    fn after_twenty_errors_the_last_entry_says_that_there_are_more() {
        let errors = |count: usize| {
            let mut check = Validator::default();
            (0..count).for_each(|n| check.error(&format!("/seats/{n}"), "unknown_seat", "no"));
            check.finish().unwrap_err().errors
        };
        assert_eq!(errors(20).len(), 20);
        assert!(errors(20).iter().all(|error| error.code == "unknown_seat"));
        let many = errors(1_000);
        assert_eq!(many.len(), 20);
        assert_eq!((many[19].pointer.as_str(), many[19].code.as_str()), ("", "more_problems"));
    }

    #[test]
    fn names_are_checked_by_their_rule() {
        let mut check = Validator::default();
        assert_eq!(check.customer("/customer_id", "ada\u{200B}"), None);
        assert_eq!(check.text("/name", "Hamlet ", 200), None);
        assert_eq!(check.currency("/currency", "XTS"), None);
        assert!(check.known_customer("/customer_id", "ada\u{200B}").is_some());
        let messages: Vec<String> =
            check.finish().unwrap_err().errors.into_iter().map(|error| error.message).collect();
        assert_eq!(messages[0], "contains the character U+200B, which cannot be seen: remove it");
        assert_eq!(messages[1], "begins or ends with a blank: remove it");
    }
}
