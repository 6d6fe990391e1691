//! Whole numbers in documents. `3.0` is the same number as `3`, as in JSON Schema.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, Visitor};

use super::bounded::AtMost;

/// The greatest number below which every whole number is exact as a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A whole number that is read.
struct Whole<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor(std::marker::PhantomData)).map(Self)
    }
}

struct WholeVisitor<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for WholeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::deserialize(number.into_deserializer())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        T::deserialize(number.into_deserializer())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        match exact(number) {
            Some(number) => self.visit_i64(number),
            None => T::deserialize(number.into_deserializer()),
        }
    }
}

/// The whole number that a double is, if it is one and is exact.
#[must_use]
pub fn exact(number: f64) -> Option<i64> {
    let is_whole = number.fract() == 0.0 && number.abs() < EXACT_MAX;
    is_whole.then_some(number as i64)
}

/// Reads a list of at most `MAX` whole numbers.
///
/// # Errors
/// If a value is not a whole number, or none that `T` can have, or there are more values.
pub fn whole_list<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MAX: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let AtMost(numbers) = AtMost::<Whole<T>, MAX>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|Whole(number)| number).collect())
}

/// Reads a whole number.
///
/// # Errors
/// If the value is not a whole number, or none that `T` can have.
pub fn whole<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Whole::deserialize(deserializer).map(|Whole(number)| number)
}

/// Reads a whole number or null.
///
/// # Errors
/// Those of [`whole`].
pub fn optional_whole<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let read = Option::<Whole<T>>::deserialize(deserializer)?;
    Ok(read.map(|Whole(number)| number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Document {
        #[serde(deserialize_with = "whole")]
        count: u32,
        #[serde(default, deserialize_with = "optional_whole")]
        price: Option<i64>,
    }

    fn read(text: &str) -> Result<(u32, Option<i64>), String> {
        let read = serde_json::from_str::<Document>(text);
        read.map(|read| (read.count, read.price)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_fraction_of_zero_is_no_fraction() {
        assert_eq!(read(r#"{"count":3}"#), Ok((3, None)));
        assert_eq!(read(r#"{"count":3.0,"price":-5e1}"#), Ok((3, Some(-50))));
        assert_eq!(read(r#"{"count":0,"price":null}"#), Ok((0, None)));
        for wrong in ["-1", "-1.0", "1.5", "4294967296.0", "1e300", "\"3\"", "null", "[]"] {
            assert!(read(&format!(r#"{{"count":{wrong}}}"#)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_error_names_the_value_and_the_expected_type() {
        assert!(
            read(r#"{"count":1.5}"#)
                .unwrap_err()
                .starts_with("invalid type: floating point `1.5`, expected u32")
        );
        assert!(
            read(r#"{"count":-1}"#)
                .unwrap_err()
                .starts_with("invalid value: integer `-1`, expected u32")
        );
    }

    proptest! {
        #[test]
        fn every_exact_number_is_itself(number in -9_007_199_254_740_991_i64..=9_007_199_254_740_991) {
            prop_assert_eq!(exact(number as f64), Some(number));
        }

        #[test]
        fn no_double_makes_the_reader_panic(number in any::<f64>()) {
            if let Some(whole) = exact(number) {
                prop_assert_eq!(whole as f64, number);
            }
        }
    }
}
