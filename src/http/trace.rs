//! The trace of the caller (W3C Trace Context): `traceparent` is read, `traceresponse` is answered.
//!
//! No spans are recorded. The id of the trace is in the log, and `traceresponse` has the span of this request.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::telemetry::request_context::Trace;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The response header with the span of the request. Its last two digits mean that no span was recorded.
pub(super) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// A new span in the caller's trace; `None` without a valid `traceparent` (section 4.3 of the recommendation: an
/// invalid one is ignored).
pub(super) fn of(headers: &HeaderMap, span: u64) -> Option<Trace> {
    let mut given = headers.get_all(TRACEPARENT);
    let first = given.next()?;
    let second = given.next();
    if second.is_some() {
        return None;
    }
    let trace_id = trace_id(first.to_str().ok()?)?;
    Some(Trace { trace_id: trace_id.to_owned(), span_id: format!("{:016x}", span.max(1)) })
}

/// The value of `traceresponse`.
pub(super) fn response(trace: &Trace) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("00-{}-{}-00", trace.trace_id, trace.span_id)).ok()
}

/// The `trace-id` of `version "-" trace-id "-" parent-id "-" trace-flags`; a version above 00 may have more parts.
fn trace_id(text: &str) -> Option<&str> {
    let mut parts = text.splitn(5, '-');
    let version = hex(parts.next()?, 2)?;
    let trace_id = hex(parts.next()?, 32)?;
    let parent_id = hex(parts.next()?, 16)?;
    hex(parts.next()?, 2)?;
    let more = parts.next().is_some();
    let is_zero = |id: &str| id.bytes().all(|digit| digit == b'0');
    let valid = version != "ff" && !is_zero(trace_id) && !is_zero(parent_id);
    (valid && !(more && version == "00")).then_some(trace_id)
}

/// A text of exactly this many lowercase hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<&str> {
    let valid =
        text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    valid.then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            trace_id(&text);
        }

        #[test]
        fn a_trace_that_is_answered_is_read_again(id in "[0-9a-f]{32}", span in 1..=u64::MAX) {
            prop_assume!(id.bytes().any(|digit| digit != b'0'));
            let trace = of(&headers(&[&format!("00-{id}-00f067aa0ba902b7-01")]), span).unwrap();
            let answered = response(&trace).unwrap();
            prop_assert_eq!(trace_id(answered.to_str().unwrap()), Some(id.as_str()));
        }
    }

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_trace_is_read_from_its_header_and_answered_with_a_new_span() {
        let given = format!("00-{ID}-00f067aa0ba902b7-01");
        let trace = of(&headers(&[&given]), 0xab).unwrap();
        assert_eq!((&*trace.trace_id, &*trace.span_id), (ID, "00000000000000ab"));
        let answer = response(&trace).unwrap();
        assert_eq!(answer, &format!("00-{ID}-00000000000000ab-00"));
        assert_eq!(of(&headers(&[&given]), 0).unwrap().span_id, "0000000000000001");
        assert!(of(&headers(&[]), 1).is_none());
        assert!(of(&headers(&[&given, &given]), 1).is_none(), "a repeated header is ignored");
    }

    #[test]
    fn an_invalid_header_is_ignored() {
        let zeros = "00000000000000000000000000000000";
        for wrong in [
            "",
            "00",
            &format!("00-{ID}-00f067aa0ba902b7"),
            &format!("00-{ID}-00f067aa0ba902b7-01-"),
            &format!("00-{ID}-00f067aa0ba902b7-01-more"),
            &format!("ff-{ID}-00f067aa0ba902b7-01"),
            &format!("00-{zeros}-00f067aa0ba902b7-01"),
            &format!("00-{ID}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
            &format!("00-{ID}-00f067aa0ba902b-01"),
            &format!("00-{ID}0-00f067aa0ba902b7-01"),
            &format!("0-{ID}-00f067aa0ba902b7-01"),
            &format!("00-{ID}-00f067aa0ba902b7-1"),
            &format!("00-{ID}-00f067aa0ba902b7-zz"),
            &format!(" 00-{ID}-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(trace_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_later_version_may_have_more_parts() {
        for later in ["01", "cc"] {
            let given = format!("{later}-{ID}-00f067aa0ba902b7-01");
            assert_eq!(trace_id(&given), Some(ID));
            assert_eq!(trace_id(&format!("{given}-what-else")), Some(ID));
            assert_eq!(trace_id(&format!("{given}.more")), None);
        }
    }
}
