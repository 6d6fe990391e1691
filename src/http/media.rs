//! The media types of a seat plan: the type of a request body, and the type that a client prefers.

use actix_web::http::header::{self, Accept, Header as _, Quality};
use actix_web::{HttpMessage as _, HttpRequest, mime};

use super::body;
use super::problem::{Code, Problem};

/// The media type of CSV in answers, with the parameters of RFC 4180 §3.
pub(super) const CSV: &str = "text/csv; charset=utf-8; header=present";

/// A media type of a seat plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlanMedia {
    /// `application/json`.
    Json,
    /// `text/csv` in UTF-8.
    Csv,
}

impl PlanMedia {
    /// The media type of a body.
    pub(super) fn of_body(request: &HttpRequest) -> Result<Self, Problem> {
        let sent = request.mime_type().ok().flatten();
        if sent.is_some_and(|sent| is_csv(&sent)) {
            return Ok(Self::Csv);
        }
        body::expect_json(request).map(|()| Self::Json).map_err(|_| {
            let sent = request.headers().get(header::CONTENT_TYPE);
            let sent = sent.and_then(|value| value.to_str().ok()).unwrap_or_default();
            let got =
                if sent.is_empty() { "none was sent".to_owned() } else { format!("got {sent}") };
            let detail =
                format!("Content-Type must be application/json, or text/csv in UTF-8; {got}");
            Problem::new(Code::UnsupportedMediaType, detail)
        })
    }

    /// The media type that the client prefers: CSV if its weight is greater than that of JSON (RFC 9110 §12.5.1).
    pub(super) fn preferred(request: &HttpRequest) -> Self {
        let accept = Accept::parse(request).unwrap_or_else(|_| Accept::star());
        let json = quality(&accept, (mime::APPLICATION, mime::JSON));
        if quality(&accept, (mime::TEXT, mime::CSV)) > json { Self::Csv } else { Self::Json }
    }
}

fn is_csv(sent: &mime::Mime) -> bool {
    let charset = sent.get_param(mime::CHARSET).map(|charset| charset.as_str());
    let is_utf8 = charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"));
    sent.essence_str() == "text/csv" && is_utf8
}

/// The weight of a media type: the weight of the most specific media range that includes it.
fn quality(accept: &Accept, (kind, subtype): (mime::Name<'_>, mime::Name<'_>)) -> Quality {
    let specificity = |range: &mime::Mime| match (range.type_(), range.subtype()) {
        (one, other) if (one, other) == (kind, subtype) => Some(2),
        (one, mime::STAR) if one == kind => Some(1),
        (mime::STAR, mime::STAR) => Some(0),
        _ => None,
    };
    let matching =
        accept.iter().filter_map(|range| Some((specificity(&range.item)?, range.quality)));
    matching
        .max_by_key(|(specificity, _)| *specificity)
        .map_or(Quality::ZERO, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_header_makes_the_readers_panic(accept in "[ -~]{0,60}", sent in "[ -~]{0,60}") {
            let request = TestRequest::default()
                .insert_header((header::ACCEPT, accept))
                .insert_header((header::CONTENT_TYPE, sent));
            let request = request.to_http_request();
            PlanMedia::preferred(&request);
            drop(PlanMedia::of_body(&request));
        }

        #[test]
        fn the_preferred_media_type_is_answered(json in 0..=1_000_u32, csv in 0..=1_000_u32) {
            let weight = |weight| f64::from(weight) / 1_000.0;
            let json = weight(json);
            let csv = weight(csv);
            let accept = format!("application/json;q={json}, text/csv;q={csv}");
            let request = TestRequest::default().insert_header((header::ACCEPT, accept));
            let expected = if csv > json { PlanMedia::Csv } else { PlanMedia::Json };
            prop_assert_eq!(PlanMedia::preferred(&request.to_http_request()), expected);
        }
    }

    #[test]
    fn csv_is_answered_if_it_is_preferred_to_json() {
        let preferred = |accept: &str| {
            let request = TestRequest::default().insert_header((header::ACCEPT, accept));
            PlanMedia::preferred(&request.to_http_request())
        };
        for accept in [
            "text/csv",
            "Text/CSV;q=0.5",
            "text/*",
            "text/csv, */*;q=0.1",
            "text/csv;header=present",
        ] {
            assert_eq!(preferred(accept), PlanMedia::Csv, "{accept}");
        }
        for accept in [
            "*/*",
            "application/json, text/csv",
            "application/json, text/csv;q=0.9",
            "application/*, text/csv;q=0.9",
            "text/csv;q=0, */*",
            "text/html",
            "nonsense",
            "",
        ] {
            assert_eq!(preferred(accept), PlanMedia::Json, "{accept}");
        }
        let silent = TestRequest::default().to_http_request();
        assert_eq!(PlanMedia::preferred(&silent), PlanMedia::Json);
    }

    #[test]
    fn a_plan_is_json_or_csv_in_utf8_and_nothing_else() {
        let sent = |sent: &str| {
            let request = TestRequest::default().insert_header((header::CONTENT_TYPE, sent));
            PlanMedia::of_body(&request.to_http_request()).map_err(|problem| problem.detail)
        };
        for csv in
            ["text/csv", "Text/CSV; Charset=UTF-8", "text/csv; charset=\"utf-8\"; header=present"]
        {
            assert_eq!(sent(csv), Ok(PlanMedia::Csv), "{csv}");
        }
        for json in ["application/json", "application/json; charset=utf-8", "application/x+json"] {
            assert_eq!(sent(json), Ok(PlanMedia::Json), "{json}");
        }
        for other in ["text/csv; charset=iso-8859-1", "text/plain", "application/csv", "csv", ""] {
            let detail = sent(other).unwrap_err();
            for named in ["application/json", "text/csv", other] {
                assert!(detail.contains(named), "{other}: {detail}");
            }
        }
    }
}
