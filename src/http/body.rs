//! Request bodies: read within a size and a time, of the right type, parsed with the place of each fault.

use std::io::Read as _;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use super::json::{self, JsonFault};
use super::problem::{Code, Problem};

/// The codings of bodies that are taken (RFC 9110 §8.4.1).
const CODINGS: &str = "gzip, identity";

/// Reads a body of at most `limit` bytes that arrives within `time`. One in gzip is decompressed, and has
/// at most `limit` bytes before as well as after that.
pub async fn read(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Problem> {
    let is_gzip = is_gzip(request)?;
    let body = receive(request, payload, limit, time).await?;
    if !is_gzip || body.is_empty() {
        return Ok(body);
    }
    // On a thread of its own: a small body may become one as large as the limit.
    let unpacked = actix_web::web::block(move || unpack(&body, limit)).await;
    unpacked.map_err(|error| {
        Problem::new(Code::Overloaded, "the body was not decompressed").because(error)
    })?
}

/// Whether a body is in gzip; a coding that is neither that nor none is refused.
fn is_gzip(request: &HttpRequest) -> Result<bool, Problem> {
    let values = request.headers().get_all(header::CONTENT_ENCODING);
    let text: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let codings = text.join(",").to_ascii_lowercase();
    let codings = codings.split(',').map(str::trim);
    let mut codings = codings.filter(|coding| !coding.is_empty() && *coding != "identity");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some("gzip" | "x-gzip"), None) => Ok(true),
        _ => {
            let detail = format!(
                "the body has the Content-Encoding {}; send it as it is, or once as gzip",
                text.join(", ")
            );
            let problem = Problem::new(Code::UnsupportedMediaType, detail);
            Err(Problem {
                takes: Some(Box::new((header::ACCEPT_ENCODING, CODINGS.to_owned()))),
                ..problem
            })
        }
    }
}

/// Decompresses a body in gzip, but not more than `limit` bytes of it.
fn unpack(body: &[u8], limit: usize) -> Result<Bytes, Problem> {
    let mut unpacked = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(body).take(one_more).read_to_end(&mut unpacked);
    read.map_err(|error| {
        Problem::new(Code::BadRequest, format!("the body is not gzip (RFC 1952): {error}"))
    })?;
    if unpacked.len() > limit {
        return Err(too_large(limit));
    }
    Ok(unpacked.into())
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::PayloadTooLarge, format!("at most {limit} bytes"))
}

/// Receives the bytes of a body as they are sent.
async fn receive(
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Problem> {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let all = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| Problem::new(Code::BadRequest, error.to_string()))?;
            if body.len() + chunk.len() > limit {
                return Err(too_large(limit));
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
    json::read(body).map_err(|fault| match fault {
        JsonFault::Malformed(message) => Problem::new(Code::MalformedJson, message),
        JsonFault::Shape { pointer, message } => Problem::field(&pointer, "invalid", message),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        #[expect(dead_code, reason = "only its type matters")]
        seats: Vec<String>,
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_body_in_gzip_is_bounded_after_it_was_decompressed() {
        let zeros = gzip(&vec![0; 1_000_000]);
        assert!(zeros.len() < 2_000);
        assert_eq!(unpack(&zeros, 1_000_000).unwrap().len(), 1_000_000);
        assert_eq!(unpack(&zeros, 999_999).unwrap_err().code, Code::PayloadTooLarge);
        let twice = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(unpack(&twice, 7).unwrap(), "one two");
        let cut = zeros.split_at(zeros.len() / 2).0;
        for wrong in [&b"{}"[..], b"\x1f\x8b", cut] {
            assert_eq!(unpack(wrong, 1_000_000).unwrap_err().code, Code::BadRequest);
        }
    }

    #[test]
    fn a_coding_that_is_not_taken_is_named_with_those_that_are() {
        let of = |codings: &[&str]| {
            let mut request = actix_web::test::TestRequest::default();
            for coding in codings {
                request = request.append_header((header::CONTENT_ENCODING, *coding));
            }
            is_gzip(&request.to_http_request())
        };
        for plain in [&[][..], &[""], &["identity"]] {
            assert_eq!(of(plain), Ok(false), "{plain:?}");
        }
        for packed in [&["gzip"][..], &["GZip"], &["x-gzip"], &["identity", "gzip"]] {
            assert_eq!(of(packed), Ok(true), "{packed:?}");
        }
        for wrong in [&["br"][..], &["gzip, gzip"], &["gzip", "br"], &["deflate"], &["*"]] {
            let problem = of(wrong).unwrap_err();
            assert_eq!(problem.code, Code::UnsupportedMediaType);
            assert!(problem.detail.contains(&wrong.join(", ")), "{}", problem.detail);
            let takes = (header::ACCEPT_ENCODING, "gzip, identity".to_owned());
            assert_eq!(problem.takes, Some(Box::new(takes)));
        }
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
}
