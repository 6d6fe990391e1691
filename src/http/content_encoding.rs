//! Which content coding and which version a reader wants.

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::domain::ids::InHistory;
use crate::seat_map::ContentEncoding;

/// The codings there are, the smallest answer first.
const CODINGS: [ContentEncoding; 4] = [
    ContentEncoding::Brotli,
    ContentEncoding::Zstd,
    ContentEncoding::Gzip,
    ContentEncoding::Identity,
];

/// The coding that the reader likes best; among equals the smallest (RFC 9110 §12.5.3).
pub(super) fn coding(request: &HttpRequest) -> ContentEncoding {
    let header = request.headers().get(header::ACCEPT_ENCODING);
    let Some(text) = header.and_then(|value| value.to_str().ok()) else {
        return ContentEncoding::Identity;
    };
    let quality = |name: &str| {
        let mut any = None;
        for item in text.split(',') {
            let mut parts = item.split(';');
            let coding = parts.next().unwrap_or_default().trim();
            let weight = parts.find_map(|part| part.trim().strip_prefix("q=")?.trim().parse().ok());
            let weight = weight.filter(|weight| (0.0..=1.0).contains(weight));
            let weight: f32 = weight.unwrap_or(1.0);
            if coding.eq_ignore_ascii_case(name) {
                return Some(weight);
            }
            if coding == "*" {
                any = Some(weight);
            }
        }
        any
    };
    let mut best = (ContentEncoding::Identity, quality("identity").unwrap_or(f32::MIN_POSITIVE));
    for coding in CODINGS {
        if let Some(weight) = quality(coding.name())
            && (weight > best.1 || (weight == best.1 && best.0 == ContentEncoding::Identity))
        {
            best = (coding, weight);
        }
    }
    best.0
}

/// The version that a tag of ours begins with, after the history that it counts in; a reader who has it must not
/// get an older one. Of a history that this process has not heard of yet, too: such a version is far higher.
pub(super) fn tagged_version(request: &HttpRequest) -> i64 {
    let values = request.headers().get_all(header::IF_NONE_MATCH);
    let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let version = |tag: &str| {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
        let place: InHistory<i64> = tag.split('-').next()?.parse().ok()?;
        Some(place.at)
    };
    tags.filter_map(version).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_header_makes_the_readers_panic(value in "[ -~]{0,60}", tag in "[ -~]{0,40}") {
            let request = TestRequest::default()
                .insert_header((header::ACCEPT_ENCODING, value))
                .insert_header((header::IF_NONE_MATCH, tag));
            let request = request.to_http_request();
            coding(&request);
            tagged_version(&request);
        }

        #[test]
        fn the_heaviest_coding_is_chosen(weights in prop::collection::vec(1..=1_000_u32, 4)) {
            let names = CODINGS.map(ContentEncoding::name);
            let weight = |weight: &u32| f64::from(*weight) / 1_000.0;
            let listed: Vec<String> = names
                .iter()
                .zip(&weights)
                .map(|(name, given)| format!("{name};q={}", weight(given)))
                .collect();
            let best = weights.iter().max();
            let place = CODINGS.iter().position(|coding| *coding == chosen(&listed.join(", ")));
            prop_assert_eq!(place.and_then(|place| weights.get(place)), best);
        }
    }

    fn chosen(accept: &str) -> ContentEncoding {
        let request = TestRequest::default().insert_header((header::ACCEPT_ENCODING, accept));
        coding(&request.to_http_request())
    }

    #[test]
    fn the_best_coding_that_the_reader_takes_is_chosen() {
        assert_eq!(coding(&TestRequest::default().to_http_request()), ContentEncoding::Identity);
        assert_eq!(chosen("gzip"), ContentEncoding::Gzip);
        assert_eq!(chosen("gzip, deflate, br, zstd"), ContentEncoding::Brotli);
        assert_eq!(chosen("gzip, zstd;q=0.5"), ContentEncoding::Gzip);
        assert_eq!(chosen("br;q=0, *"), ContentEncoding::Zstd);
        assert_eq!(chosen("identity, gzip;q=0.5"), ContentEncoding::Identity);
        assert_eq!(chosen("deflate"), ContentEncoding::Identity);
        assert_eq!(chosen("gzip;q=0"), ContentEncoding::Identity);
        assert_eq!(
            chosen("gzip;q=inf, br;q=0.5, zstd;q=NaN"),
            ContentEncoding::Zstd,
            "no weights at all"
        );
    }

    #[test]
    fn a_tag_tells_its_version() {
        let asks = |tag: &str| {
            let request = TestRequest::default().insert_header((header::IF_NONE_MATCH, tag));
            tagged_version(&request.to_http_request())
        };
        assert_eq!(asks("\"5ea71ock.17-seats-gzip\""), 17);
        assert_eq!(asks("W/\"5ea71ock.3-seats-br\", \"00000000.9-availability-identity\""), 9);
        assert_eq!(asks("\"17-seats-gzip\""), 0, "without a history");
        assert_eq!(asks("*"), 0);
        assert_eq!(asks("\"somebody else's\""), 0);
    }
}
