//! An answer of the service, with the checks that every test of an answer makes.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer, read whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer that must have this status.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The id in the body of an answer that must have this status.
    pub fn id(&self, status: u16) -> String {
        self.expect(status)["id"].as_str().unwrap().to_owned()
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The value of a series, if this is the text of `/metrics` and has it.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        self.body.lines().find_map(value)
    }

    /// The body of a refusal or failure, which must be a problem with this code and be complete.
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["code"], code, "{self:?}");
        self.check_problem();
        problem
    }

    /// Checks the fields that every problem has.
    pub fn check_problem(&self) {
        let problem = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert_eq!(problem["type"], format!("/problems/{}", problem["code"].as_str().unwrap()));
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        assert!(problem["retryable"].is_boolean(), "{self:?}");
        assert!(["none", "unknown"].contains(&problem["effect"].as_str().unwrap()), "{self:?}");
        for text in ["title", "detail"] {
            assert!(!problem[text].as_str().unwrap().is_empty(), "{self:?}");
        }
        if self.status == 503 || self.status == 429 && problem["code"] == "rate_limited" {
            let wait = self.header("retry-after").and_then(|wait| wait.parse::<u32>().ok());
            assert!(wait.is_some_and(|wait| wait > 0), "{self:?}");
        }
    }

    /// The lost seats that a problem lists, as `label reason`.
    pub fn conflicts(&self) -> Vec<String> {
        let conflicts = self.json()["conflicts"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        conflicts.iter().map(|c| format!("{} {}", text(&c["label"]), text(&c["reason"]))).collect()
    }
}

/// The labels of a hold's or a booking's seats.
pub fn labels(claim: &Value) -> Vec<String> {
    let seats = claim["seats"].as_array().unwrap();
    seats.iter().map(|seat| seat["label"].as_str().unwrap().to_owned()).collect()
}
