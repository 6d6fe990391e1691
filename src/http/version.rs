//! The version of a schedule's seats that a caller has seen: what is answered must not be older, and nothing older
//! may refuse.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName};

use super::problem::Problem;
use super::query::{self, Given, Parameters};

/// The parameter of the query that says it.
const PARAMETER: &str = "min_version";

/// The header that says it, for callers that would rather not touch the query.
const HEADER: HeaderName = HeaderName::from_static("x-seatlock-min-version");

/// The parameter in the query of a request; for a request that takes no other.
#[derive(Debug)]
pub struct AtLeast;

impl Parameters for AtLeast {
    fn read(given: &mut Given) -> Result<Self, Problem> {
        given.parsed::<i64>(PARAMETER, "a version, a whole number").map(|_| Self)
    }
}

/// The version that a request says its caller has seen, in its query or in its header; the newer of the two, and 0
/// if it says neither.
pub(super) fn version_seen(request: &HttpRequest) -> Result<i64, Problem> {
    let asked = query::parameter(request.query_string(), PARAMETER)?;
    at_least(request, asked.as_deref())
}

fn at_least(request: &HttpRequest, query: Option<&str>) -> Result<i64, Problem> {
    let parse = |name, text: &str| {
        let wrong = |_| Problem::parameter(name, "must be a version, a whole number");
        text.trim().parse::<i64>().map_err(wrong)
    };
    let asked = query.map_or(Ok(0), |text| parse(PARAMETER, text))?;
    let told = match in_header(request.headers()) {
        Some(text) => parse("X-Seatlock-Min-Version", text)?,
        None => 0,
    };
    Ok(asked.max(told))
}

/// The value of the header; one that is not text is no version either.
fn in_header(headers: &HeaderMap) -> Option<&str> {
    headers.get(&HEADER).map(|value| value.to_str().unwrap_or("not text"))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_version_comes_in_the_query_or_the_header_and_the_newer_one_counts() {
        let none = TestRequest::default().to_http_request();
        let told = TestRequest::default().insert_header((HEADER, "7")).to_http_request();
        assert_eq!(at_least(&none, None).map_err(|problem| problem.detail), Ok(0));
        assert_eq!(at_least(&none, Some("5")).map_err(|problem| problem.detail), Ok(5));
        assert_eq!(at_least(&told, None).map_err(|problem| problem.detail), Ok(7));
        assert_eq!(at_least(&told, Some("9")).map_err(|problem| problem.detail), Ok(9));
        assert_eq!(at_least(&told, Some("5")).map_err(|problem| problem.detail), Ok(7));
    }

    #[test]
    fn what_is_no_version_is_refused_by_its_name() {
        let strange = TestRequest::default().insert_header((HEADER, "soon")).to_http_request();
        let told = at_least(&strange, None).unwrap_err();
        let asked = at_least(&TestRequest::default().to_http_request(), Some("1.5")).unwrap_err();
        for (problem, name) in [(told, "X-Seatlock-Min-Version"), (asked, "min_version")] {
            let body = serde_json::to_string(&problem.body("r")).unwrap();
            assert!(body.contains(name) && body.contains("whole number"), "{body}");
        }
    }
}
