//! Fields of bodies: each is parsed into the value the domain wants, and all faults are told at once.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::bounded::AtMost;
use crate::domain::clock::EpochMs;
use crate::domain::currency::{self, is_currency};
use crate::domain::ids::{CustomerId, SeatNumber};
use crate::domain::name;
use crate::domain::plan::{LABEL_MAX, SEATS_MAX};
use crate::seat_map::Layout;

use super::problem::{ERRORS_MAX, FieldError, Problem};
use super::time;

/// An identifier in a body: a string, and for the box office's ids a number, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(value_type = String, example = "42")]
pub struct IdText(pub String);

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
        }
        deserializer.deserialize_any(Id)
    }
}

/// The labels of seats in a body, no more than a schedule can have. Their order has no meaning: two lists of the
/// same labels are one request.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = Vec<String>, example = json!(["A-1-1", "A-1-2"]))]
pub struct Labels(pub AtMost<String, SEATS_MAX>);

impl Serialize for Labels {
    /// Writes what is meant, for the fingerprint of the request.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut labels: Vec<&str> = self.0.0.iter().map(String::as_str).collect();
        labels.sort_unstable();
        labels.serialize(serializer)
    }
}

/// A time in a body. The same moment with another offset is the same time.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "2026-12-24T20:00:00Z")]
pub struct TimeText(pub String);

impl Serialize for TimeText {
    /// Writes what is meant, for the fingerprint of the request.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match time::read(&self.0) {
            Ok(moment) => time::write(moment).serialize(serializer),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl FieldError {
    /// What is wrong with the field at `pointer`.
    #[must_use]
    pub fn new(pointer: &str, code: &str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), code: code.to_owned(), message: message.into() }
    }
}

/// Collects the faults of a body while its fields are read.
#[derive(Debug, Default)]
pub struct Fields {
    errors: Vec<FieldError>,
}

impl Fields {
    /// Notes a fault. One more than [`ERRORS_MAX`] is kept: it shows that there are more.
    pub fn fault(&mut self, pointer: &str, code: &str, message: impl Into<String>) {
        if self.is_full() {
            return;
        }
        self.errors.push(FieldError::new(pointer, code, message));
    }

    /// Whether there are so many faults that looking for more is of no use.
    fn is_full(&self) -> bool {
        self.errors.len() > ERRORS_MAX
    }

    /// All faults as one problem, or nothing.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(self.errors)) }
    }

    /// A customer who makes a new claim.
    pub fn customer(&mut self, pointer: &str, text: &str) -> Option<CustomerId> {
        CustomerId::new(text)
            .map_err(|fault| self.fault(pointer, "invalid_customer", fault.to_string()))
            .ok()
    }

    /// The customer of a claim that exists, who may have been stored before the rule for names.
    pub fn known_customer(&mut self, pointer: &str, text: &str) -> Option<CustomerId> {
        CustomerId::parse(text)
            .map_err(|_| self.fault(pointer, "invalid_customer", "is no customer's id"))
            .ok()
    }

    /// The currency of prices.
    pub fn currency(&mut self, pointer: &str, text: &str) -> Option<String> {
        let known = is_currency(text);
        if !known {
            self.fault(pointer, "invalid_currency", currency::REMEDY);
        }
        known.then(|| text.to_owned())
    }

    /// A time in RFC 3339.
    pub fn time(&mut self, pointer: &str, text: &TimeText) -> Option<EpochMs> {
        match time::read(&text.0) {
            Ok(time) => Some(time),
            Err(wrong) => {
                self.fault(pointer, wrong.code(), wrong.to_string());
                None
            }
        }
    }

    /// A text of 1 to `max` characters, by the rule for names.
    pub fn text(&mut self, pointer: &str, text: &str, max: usize) -> Option<String> {
        name::check(text, max)
            .map(|()| text.to_owned())
            .map_err(|fault| self.fault(pointer, "invalid_text", fault.to_string()))
            .ok()
    }

    /// A number within bounds.
    pub fn within(&mut self, pointer: &str, value: u64, least: u64, most: u64) -> Option<u32> {
        let good = (least..=most).contains(&value);
        if !good {
            self.fault(pointer, "out_of_range", format!("must be {least} to {most}"));
        }
        good.then(|| u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// A hold's life in seconds.
    pub fn ttl(&mut self, seconds: Option<u64>, longest: Duration) -> Option<Duration> {
        let seconds = self.within("/ttl_s", seconds?, 1, longest.as_secs())?;
        Some(Duration::from_secs(u64::from(seconds)))
    }

    /// An identifier; what cannot be one is nothing that could be found.
    pub fn id<T: FromStr>(text: &IdText, what: &str) -> Result<T, Problem> {
        text.0.parse().map_err(|_| Problem::not_found(what))
    }

    /// Seats by label: at least one, each known to the schedule, none twice. Ascending.
    pub fn seats(&mut self, Labels(AtMost(labels)): &Labels, layout: &Layout) -> Vec<SeatNumber> {
        if labels.is_empty() {
            self.fault("/seats", "empty", "name at least one seat");
        }
        let mut seen = HashSet::with_capacity(labels.len());
        let mut seats = Vec::with_capacity(labels.len());
        for (place, label) in labels.iter().enumerate() {
            if self.is_full() {
                break;
            }
            let pointer = format!("/seats/{place}");
            match layout.number(label) {
                Some(number) if seen.insert(number) => seats.push(number),
                Some(_) => {
                    let message = format!("seat {label} is named twice; name it once");
                    self.fault(&pointer, "duplicate_seat", message);
                }
                None => {
                    let shown = name::shown(label, LABEL_MAX);
                    let message =
                        format!("the schedule has no seat {shown}; see its seats for the labels");
                    self.fault(&pointer, "unknown_seat", message);
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
        assert_eq!(id("\"42-ab\"").unwrap(), IdText("42-ab".to_owned()));
        for wrong in ["-1", "1.5", "null", "[]", "true"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_meant_is_written_in_one_way() {
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
    fn all_faults_are_told_at_once() {
        let mut fields = Fields::default();
        assert_eq!(fields.customer("/customer_id", ""), None);
        assert_eq!(fields.time("/starts_at", &TimeText("soon".to_owned())), None);
        assert_eq!(fields.ttl(Some(0), Duration::from_secs(60)), None);
        let problem = fields.finish().unwrap_err();
        let pointers: Vec<&str> = problem.errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/customer_id", "/starts_at", "/ttl_s"]);
    }

    #[test]
    fn after_twenty_faults_nothing_is_kept_and_the_last_entry_says_so() {
        let faults = |count: usize| {
            let mut fields = Fields::default();
            (0..count).for_each(|n| fields.fault(&format!("/seats/{n}"), "unknown_seat", "no"));
            fields.finish().unwrap_err().errors
        };
        assert_eq!(faults(20).len(), 20);
        assert!(faults(20).iter().all(|error| error.code == "unknown_seat"));
        let many = faults(1_000);
        assert_eq!(many.len(), 20);
        assert_eq!((many[19].pointer.as_str(), many[19].code.as_str()), ("", "more_problems"));
    }

    #[test]
    fn names_are_judged_by_their_rule() {
        let mut fields = Fields::default();
        assert_eq!(fields.customer("/customer_id", "ada\u{200B}"), None);
        assert_eq!(fields.text("/name", "Hamlet ", 200), None);
        assert_eq!(fields.currency("/currency", "XTS"), None);
        assert!(fields.known_customer("/customer_id", "ada\u{200B}").is_some());
        let messages: Vec<String> =
            fields.finish().unwrap_err().errors.into_iter().map(|error| error.message).collect();
        assert_eq!(messages[0], "contains the character U+200B, which cannot be seen: remove it");
        assert_eq!(messages[1], "begins or ends with a blank: remove it");
    }
}
