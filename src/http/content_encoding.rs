//! Content negotiation: the content encoding that a client prefers, and the version in its entity tags.
//!
//! actix's `AcceptEncoding::negotiate` is not used: it answers `br;q=0, *` without compression, although zstd is
//! acceptable, and it drops an encoding whose weight is not valid, which counts as acceptable here.

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::domain::ids::InHistory;
use crate::seat_map::ContentEncoding;

/// The encodings in order of the size of the answer, smallest first.
const ENCODINGS: [ContentEncoding; 4] = [
    ContentEncoding::Brotli,
    ContentEncoding::Zstd,
    ContentEncoding::Gzip,
    ContentEncoding::Identity,
];

/// The encoding that the client prefers (RFC 9110 §12.5.3); of several with equal weights, the one with the smallest
/// answer.
pub(super) fn negotiate(request: &HttpRequest) -> ContentEncoding {
    let header = request.headers().get(header::ACCEPT_ENCODING);
    let Some(text) = header.and_then(|value| value.to_str().ok()) else {
        return ContentEncoding::Identity;
    };
    let items: Vec<(&str, f32)> = text.split(',').map(weighted).collect();
    let weight = |name: &str| {
        let named = items.iter().find(|(item, _)| item.eq_ignore_ascii_case(name));
        let any = || items.iter().rfind(|(item, _)| *item == "*");
        named.or_else(any).map(|(_, weight)| *weight)
    };
    let mut best = (ContentEncoding::Identity, weight("identity").unwrap_or(f32::MIN_POSITIVE));
    for encoding in ENCODINGS {
        if let Some(weight) = weight(encoding.name())
            && (weight > best.1 || (weight == best.1 && best.0 == ContentEncoding::Identity))
        {
            best = (encoding, weight);
        }
    }
    best.0
}

/// Splits an item of the header into an encoding and its weight; the weight is 1 if it is absent or not valid.
fn weighted(item: &str) -> (&str, f32) {
    let mut parts = item.split(';');
    let encoding = parts.next().unwrap_or_default().trim();
    let weight = parts.find_map(|part| part.trim().strip_prefix("q=")?.trim().parse().ok());
    (encoding, weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0))
}

/// The newest version in the entity tags that the client sends, of any history. The client must not get an older
/// version.
pub(super) fn tagged_version(request: &HttpRequest) -> i64 {
    let version =
        |tag: &str| tag.trim_matches('"').split('-').next()?.parse::<InHistory<i64>>().ok();
    known_tags(request).filter_map(version).map(|version| version.at).max().unwrap_or(0)
}

/// The entity tags of `If-None-Match`, or `*` (RFC 9110 §13.1.2), for the weak comparison. Each conditional read of a
/// map looks at them twice, so they are not copied as actix's `IfNoneMatch` does.
pub(super) fn known_tags(request: &HttpRequest) -> impl Iterator<Item = &str> {
    let values = request.headers().get_all(header::IF_NONE_MATCH);
    let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tags.map(|tag| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag)
    })
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
            negotiate(&request);
            tagged_version(&request);
        }

        #[test]
        fn the_encoding_of_the_greatest_weight_is_chosen(weights in prop::collection::vec(1..=1_000_u32, 4)) {
            let names = ENCODINGS.map(ContentEncoding::name);
            let weight = |weight: &u32| f64::from(*weight) / 1_000.0;
            let listed: Vec<String> = names
                .iter()
                .zip(&weights)
                .map(|(name, given)| format!("{name};q={}", weight(given)))
                .collect();
            let best = weights.iter().max();
            let index = ENCODINGS.iter().position(|encoding| *encoding == chosen(&listed.join(", ")));
            prop_assert_eq!(index.and_then(|index| weights.get(index)), best);
        }
    }

    fn chosen(accept: &str) -> ContentEncoding {
        let request = TestRequest::default().insert_header((header::ACCEPT_ENCODING, accept));
        negotiate(&request.to_http_request())
    }

    #[test]
    fn the_preferred_encoding_of_the_reader_is_chosen() {
        assert_eq!(negotiate(&TestRequest::default().to_http_request()), ContentEncoding::Identity);
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
    fn a_tag_contains_its_version() {
        let version = |tag: &str| {
            let request = TestRequest::default().insert_header((header::IF_NONE_MATCH, tag));
            tagged_version(&request.to_http_request())
        };
        assert_eq!(version("\"5ea71ock.17-seats-gzip\""), 17);
        assert_eq!(version("W/\"5ea71ock.3-seats-br\", \"00000000.9-availability-identity\""), 9);
        assert_eq!(version("\"17-seats-gzip\""), 0, "without a history");
        assert_eq!(version("*"), 0);
        assert_eq!(version("\"somebody else's\""), 0);
    }
}
