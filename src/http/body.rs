//! Request bodies: read within a size and a time, of the right type, parsed with the place of each fault.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt as _;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::Segment;

use super::problem::{Code, FieldError, Problem};

/// Reads a body of at most `limit` bytes that arrives within `time`.
pub async fn read(
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::PayloadTooLarge, format!("at most {limit} bytes"));
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let all = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Problem::new(Code::BadRequest, error.to_string()))?;
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    match tokio::time::timeout(time, all).await {
        Ok(body) => body,
        Err(_) => {
            let detail = format!("the body must arrive within {} s", time.as_secs());
            Err(Problem::new(Code::RequestTimeout, detail))
        }
    }
}

/// Refuses a body that does not call itself JSON.
pub fn expect_json(request: &HttpRequest) -> Result<(), Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if json {
        return Ok(());
    }
    let got =
        if essence.is_empty() { "none was sent".to_owned() } else { format!("got {essence}") };
    let detail = format!("Content-Type must be application/json; {got}");
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

/// Parses JSON. What is not JSON is 400; what is JSON of another shape is 422 and names the field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    refuse_array(body)?;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path().iter());
        let inner = error.into_inner();
        if inner.is_data() {
            let message = inner.to_string();
            // serde_json ends its message with the position, which the pointer says better.
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            Problem::fields(vec![FieldError { pointer, code: "invalid".to_owned(), message }])
        } else {
            Problem::new(Code::MalformedJson, inner.to_string())
        }
    })?;
    deserializer.end().map_err(|error| Problem::new(Code::MalformedJson, error.to_string()))?;
    Ok(parsed)
}

/// serde fills a struct from an array as well, field by field, which no client should come to rely on.
fn refuse_array(body: &[u8]) -> Result<(), Problem> {
    if body.trim_ascii_start().first() != Some(&b'[') {
        return Ok(());
    }
    let malformed = |error: serde_json::Error| Problem::new(Code::MalformedJson, error.to_string());
    serde_json::from_slice::<IgnoredAny>(body).map_err(malformed)?;
    Err(Problem::field("", "invalid", "the body must be an object, not an array"))
}

/// A serde path as a JSON pointer (RFC 6901).
fn pointer<'a>(path: impl Iterator<Item = &'a Segment>) -> String {
    let segment = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.map(segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        #[expect(dead_code, reason = "only its type matters")]
        seats: Vec<String>,
    }

    fn problem(body: &str) -> Problem {
        parse::<Request>(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_fault_is_named_by_its_pointer() {
        let problem = problem(r#"{"seats":["A-1-1",7]}"#);
        assert_eq!(problem.code, Code::ValidationFailed);
        assert_eq!(problem.errors[0].pointer, "/seats/1");
    }

    #[test]
    fn an_unknown_field_is_named() {
        let problem = problem(r#"{"seats":[],"seat":1}"#);
        assert!(problem.errors[0].message.contains("unknown field `seat`"), "{problem}");
    }

    #[test]
    fn fields_in_their_order_are_no_body() {
        let problem = problem(r#" [["A-1-1"]]"#);
        assert_eq!(
            (problem.code, problem.errors[0].pointer.as_str()),
            (Code::ValidationFailed, "")
        );
    }

    #[test]
    fn what_is_not_json_is_malformed_however_deep() {
        for body in ["", "{", "{}{}", "\u{0}", &"[".repeat(100_000)] {
            let code = parse::<serde_json::Value>(body.as_bytes()).unwrap_err().code;
            assert_eq!(code, Code::MalformedJson);
        }
    }
}
