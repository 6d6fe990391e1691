//! Request bodies: read within limits of size and time, checked for their type, and parsed.

use std::io::Read as _;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use super::json::{self, JsonError};
use super::problem::{Code, Problem};

/// The supported encodings of bodies (RFC 9110 §8.4.1).
const ENCODINGS: &str = "gzip, identity";

/// Reads a body of at most `limit` bytes that arrives within `time`. A body in gzip is decompressed, and the limit
/// applies before and after that.
pub async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Problem> {
    let is_gzip = is_gzip(request)?;
    let body = receive(request, payload, limit, time).await?;
    if !is_gzip || body.is_empty() {
        return Ok(body);
    }
    // On another thread: a small body may decompress to as many bytes as the limit allows.
    let decompressed = actix_web::web::block(move || decompress(&body, limit)).await;
    decompressed.map_err(|error| {
        Problem::new(Code::Overloaded, "the body was not decompressed").because(error)
    })?
}

/// Whether a body is in gzip; an encoding other than gzip and identity is refused.
fn is_gzip(request: &HttpRequest) -> Result<bool, Problem> {
    let values = request.headers().get_all(header::CONTENT_ENCODING);
    let text: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let encodings = text.join(",").to_ascii_lowercase();
    let encodings = encodings.split(',').map(str::trim);
    let mut encodings = encodings.filter(|name| !name.is_empty() && *name != "identity");
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(false),
        (Some("gzip" | "x-gzip"), None) => Ok(true),
        _ => {
            let detail = format!(
                "the body has the Content-Encoding {}; send it as it is, or once as gzip",
                text.join(", ")
            );
            let supported = Some(Box::new((header::ACCEPT_ENCODING, ENCODINGS.to_owned())));
            Err(Problem { supported, ..Problem::new(Code::UnsupportedMediaType, detail) })
        }
    }
}

/// Decompresses at most `limit` bytes of a body in gzip.
fn decompress(body: &[u8], limit: usize) -> Result<Bytes, Problem> {
    let mut decompressed = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(body).take(one_more).read_to_end(&mut decompressed);
    read.map_err(|error| {
        Problem::new(Code::BadRequest, format!("the body is not gzip (RFC 1952): {error}"))
    })?;
    if decompressed.len() > limit {
        return Err(too_large(limit));
    }
    Ok(decompressed.into())
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::PayloadTooLarge, format!("at most {limit} bytes"))
}

/// Receives the bytes of a body, still encoded.
async fn receive(
    request: &HttpRequest,
    payload: &mut Payload,
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

/// Refuses a body whose Content-Type is not JSON.
pub fn expect_json(request: &HttpRequest) -> Result<(), Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let essence = essence.to_ascii_lowercase();
    if essence.starts_with("application/") && essence.ends_with("+json") {
        return Ok(());
    }
    let got =
        if essence.is_empty() { "none was sent".to_owned() } else { format!("got {essence}") };
    let detail = format!("Content-Type must be application/json; {got}");
    Err(Problem::new(Code::UnsupportedMediaType, detail))
}

/// Parses JSON: 400 if it is not JSON; 422 with the field if it is JSON of another shape.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    json::read(body).map_err(|error| match error {
        JsonError::Malformed(message) => Problem::new(Code::MalformedJson, message),
        JsonError::Shape { pointer, message } => Problem::field(&pointer, "invalid", message),
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
        assert_eq!(decompress(&zeros, 1_000_000).unwrap().len(), 1_000_000);
        assert_eq!(decompress(&zeros, 999_999).unwrap_err().code, Code::PayloadTooLarge);
        let twice = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(decompress(&twice, 7).unwrap(), "one two");
        let cut = zeros.split_at(zeros.len() / 2).0;
        for wrong in [&b"{}"[..], b"\x1f\x8b", cut] {
            assert_eq!(decompress(wrong, 1_000_000).unwrap_err().code, Code::BadRequest);
        }
    }

    #[test]
    fn an_unsupported_encoding_is_named_with_the_supported_ones() {
        let of = |encodings: &[&str]| {
            let mut request = actix_web::test::TestRequest::default();
            for encoding in encodings {
                request = request.append_header((header::CONTENT_ENCODING, *encoding));
            }
            is_gzip(&request.to_http_request())
        };
        for plain in [&[][..], &[""], &["identity"]] {
            assert_eq!(of(plain), Ok(false), "{plain:?}");
        }
        for compressed in [&["gzip"][..], &["GZip"], &["x-gzip"], &["identity", "gzip"]] {
            assert_eq!(of(compressed), Ok(true), "{compressed:?}");
        }
        for wrong in [&["br"][..], &["gzip, gzip"], &["gzip", "br"], &["deflate"], &["*"]] {
            let problem = of(wrong).unwrap_err();
            assert_eq!(problem.code, Code::UnsupportedMediaType);
            assert!(problem.detail.contains(&wrong.join(", ")), "{}", problem.detail);
            let supported = (header::ACCEPT_ENCODING, "gzip, identity".to_owned());
            assert_eq!(problem.supported, Some(Box::new(supported)));
        }
    }

    fn problem(body: &str) -> Problem {
        parse::<Request>(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn an_error_has_its_pointer() {
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
    fn a_list_of_values_is_no_body() {
        let problem = problem(r#" [["A-1-1"]]"#);
        assert_eq!(
            (problem.code, problem.errors[0].pointer.as_str()),
            (Code::ValidationFailed, "")
        );
    }
}
