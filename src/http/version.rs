//! The version of a schedule's seats that a caller has seen. No answer may be older, and no older map may be the reason
//! for a refusal.

use actix_web::http::header::HeaderName;

use super::problem::Problem;
use super::query::{Parameters, RawQuery};

/// The header that can be sent instead of the parameter.
const HEADER: HeaderName = HeaderName::from_static("x-seatlock-min-version");

/// The newer of the versions in the query (`min_version`) and in the header; 0 without either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinVersion(pub i64);

impl Parameters for MinVersion {
    fn read(raw: &mut RawQuery<'_>) -> Result<Self, Problem> {
        let expected = "a version, a whole number";
        let wrong = |name| Problem::parameter(name, format!("{name} must be {expected}"));
        let in_query = match raw.one("min_version")? {
            Some(text) => parse(&text).ok_or_else(|| wrong("min_version"))?,
            None => 0,
        };
        let Some(value) = raw.headers.get(&HEADER) else { return Ok(Self(in_query)) };
        let in_header = value.to_str().ok().and_then(|text| parse(text.trim()));
        Ok(Self(in_query.max(in_header.ok_or_else(|| wrong("X-Seatlock-Min-Version"))?)))
    }
}

/// A version in digits alone: versions are not negative.
pub(super) fn parse(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderMap, HeaderValue};

    use super::*;
    use crate::http::query::read;

    fn version(query: &str, header: Option<&'static str>) -> Result<i64, Problem> {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(HEADER, HeaderValue::from_static(value));
        }
        read::<MinVersion>(query, &headers).map(|version| version.0)
    }

    #[test]
    fn a_version_comes_in_the_query_or_the_header_and_the_newer_one_counts() {
        assert_eq!(version("", None), Ok(0));
        assert_eq!(version("min_version=5", None), Ok(5));
        assert_eq!(version("", Some("7")), Ok(7));
        assert_eq!(version("min_version=9", Some("7")), Ok(9));
        assert_eq!(version("min_version=5", Some("7")), Ok(7));
    }

    #[test]
    fn a_value_that_is_no_version_is_refused_by_its_name() {
        let in_header = version("", Some("soon")).unwrap_err();
        let in_query = version("min_version=1.5", None).unwrap_err();
        assert!(version("min_version=-1", None).is_err() && version("", Some("+1")).is_err());
        for (problem, name) in [(in_header, "X-Seatlock-Min-Version"), (in_query, "min_version")] {
            let body = serde_json::to_string(&problem.body("r")).unwrap();
            assert!(body.contains(name) && body.contains("whole number"), "{body}");
        }
    }
}
