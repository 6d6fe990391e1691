//! Warnings about misspelt variables, with a suggestion if a similar name exists.

use std::collections::BTreeMap;

use super::reader::{Variable, file_name};
use super::service_link::is_service_link;

/// Prefixes that few other programs use; an unknown variable with one of them gets a warning.
const PREFIXES: [&str; 5] = ["DB_", "HOLD_", "QUEUE_", "REDIS_", "SEAT_"];

/// The largest edit distance between an unknown name and the suggested one.
const DISTANCE_MAX: usize = 3;

/// A warning for each unknown variable with one of the prefixes. Values are not shown: a misspelt password is still a
/// password.
pub(super) fn warnings(vars: &BTreeMap<String, String>, declared: &[Variable]) -> Vec<String> {
    let files = declared.iter().filter(|variable| variable.secret).map(|v| file_name(v.name));
    let known: Vec<String> = declared.iter().map(|v| v.name.to_owned()).chain(files).collect();
    vars.iter()
        .filter(|(name, value)| {
            PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                && !known.contains(name)
                && !is_service_link(name, value)
        })
        .map(|(name, _)| {
            let nearest = known.iter().map(|other| (strsim::levenshtein(name, other), other)).min();
            match nearest.filter(|(distance, _)| *distance <= DISTANCE_MAX) {
                Some((_, suggested)) => {
                    format!("{name} is no variable of seatlock: did you mean {suggested}?")
                }
                None => format!("{name} is no variable of seatlock and is ignored"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::variables;

    fn warned(name: &str, value: &str) -> Vec<String> {
        warnings(&BTreeMap::from([(name.to_owned(), value.to_owned())]), &variables())
    }

    #[test]
    fn a_misspelt_variable_is_named_with_the_right_one() {
        assert_eq!(
            warned("REDIS_PASSWROD", "hunter2"),
            ["REDIS_PASSWROD is no variable of seatlock: did you mean REDIS_PASSWORD?"]
        );
        assert_eq!(
            warned("HOLD_FOR_MY_AUNT", "x"),
            ["HOLD_FOR_MY_AUNT is no variable of seatlock and is ignored"]
        );
    }

    #[test]
    fn variables_of_other_programs_are_ignored() {
        for name in [
            "HOLD_TTL",
            "REDIS_PASSWORD_FILE",
            "REDIS_SERVICE_HOST",
            "PATH",
            "POSTGRES_DB",
            "BINDD",
        ] {
            assert_eq!(warned(name, "x"), Vec::<String>::new());
        }
    }
}
