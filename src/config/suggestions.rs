//! Tells a misspelt variable of ours from the many variables of others in the same environment.

use std::collections::BTreeMap;

use super::reader::{Variable, file_name};
use super::service_link::is_service_link;

/// Beginnings that hardly anybody else uses; an unknown variable with one of them deserves a
/// warning.
const PREFIXES: [&str; 5] = ["DB_", "HOLD_", "QUEUE_", "REDIS_", "SEAT_"];

/// How many letters may differ for a name to be suggested.
const NEAR: usize = 3;

/// A warning for each variable that looks like ours and is not. Values are not shown: a misspelt
/// password is still a password.
pub(super) fn warnings(vars: &BTreeMap<String, String>, ours: &[Variable]) -> Vec<String> {
    let files = ours.iter().filter(|variable| variable.secret).map(|v| file_name(v.name));
    let known: Vec<String> = ours.iter().map(|v| v.name.to_owned()).chain(files).collect();
    vars.iter()
        .filter(|(name, value)| {
            PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                && !known.contains(name)
                && !is_service_link(name, value)
        })
        .map(|(name, _)| {
            let near = known.iter().map(|ours| (distance(name, ours), ours)).min();
            match near.filter(|(letters, _)| *letters <= NEAR) {
                Some((_, ours)) => {
                    format!("{name} is no variable of seatlock: did you mean {ours}?")
                }
                None => format!("{name} is no variable of seatlock and is ignored"),
            }
        })
        .collect()
}

/// Levenshtein's distance: how many letters to insert, drop or replace (one row of the usual
/// table).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (1..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (to, cell) in b.bytes().zip(&mut row) {
            let replaced = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(a.len())
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
    fn other_peoples_variables_are_left_alone() {
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

    #[test]
    fn the_distance_counts_letters() {
        for (a, b, letters) in
            [("a", "a", 0), ("abc", "abd", 1), ("abc", "bc", 1), ("ab", "ba", 2), ("", "ab", 2)]
        {
            assert_eq!(distance(a, b), letters, "{a} {b}");
        }
    }
}
