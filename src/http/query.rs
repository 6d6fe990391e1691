//! Query parameters. The parameters of a route are those that its query type reads. An unknown parameter, and one that
//! is given twice, is refused before the handler runs.

use std::str::FromStr;

use actix_web::http::header::HeaderMap;

use super::percent;
use super::problem::Problem;

/// The most items of a page.
pub(super) const PAGE_MAX: usize = 200;

/// The most items of a page if the request sets no limit.
pub(super) const PAGE_DEFAULT: usize = 50;

/// The most characters of an unknown parameter's name that an answer repeats.
const NAME_SHOWN_MAX: usize = 64;

/// The parameters of a route.
pub trait Parameters: Sized {
    /// Reads the parameters of the route and removes them from `raw`. The remaining parameters are unknown.
    fn read(raw: &mut RawQuery<'_>) -> Result<Self, Problem>;
}

/// Reads a query; some parameters may be in a header instead.
pub(super) fn read<T: Parameters>(query: &str, headers: &HeaderMap) -> Result<T, Problem> {
    let pieces = query.split('&').filter(|piece| !piece.is_empty());
    let pairs = pieces.map(pair).collect::<Result<_, _>>()?;
    let mut raw = RawQuery { pairs, known: Vec::new(), headers };
    let parameters = T::read(&mut raw)?;
    raw.finish()?;
    Ok(parameters)
}

/// The parameters of a request that have not been read yet.
#[derive(Debug)]
pub struct RawQuery<'a> {
    pairs: Vec<(String, String)>,
    /// The names read so far, for the error about an unknown parameter; empty if the query is empty.
    known: Vec<&'static str>,
    pub(super) headers: &'a HeaderMap,
}

impl RawQuery<'_> {
    /// All values of a parameter that may be repeated, in their order.
    pub fn every(&mut self, name: &'static str) -> Vec<String> {
        if self.pairs.is_empty() && self.known.is_empty() {
            return Vec::new();
        }
        self.known.push(name);
        self.pairs.extract_if(.., |(other, _)| other == name).map(|(_, value)| value).collect()
    }

    /// The value of a parameter.
    pub fn one(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let mut values = self.every(name).into_iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => {
                Err(Problem::parameter(name, format!("{name} is given twice; give it once")))
            }
        }
    }

    /// The parsed value of a parameter; `expected` describes it for the error.
    pub fn parsed<T: FromStr>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        let wrong = |_| Problem::parameter(name, format!("{name} must be {expected}"));
        text.parse().map(Some).map_err(wrong)
    }

    /// The parameter `limit`, the most items of a page, if the request sets it.
    pub fn limit(&mut self, max: usize) -> Result<Option<usize>, Problem> {
        let expected = format!("a whole number from 1 to {max}");
        let limit: Option<usize> = self.parsed("limit", &expected)?;
        match limit {
            Some(limit) if !(1..=max).contains(&limit) => {
                Err(Problem::parameter("limit", format!("limit must be {expected}")))
            }
            limit => Ok(limit),
        }
    }

    /// The cursor of a page.
    pub fn cursor<T: FromStr>(&mut self) -> Result<Option<T>, Problem> {
        self.parsed("cursor", "the next_cursor of the page before")
    }

    /// Refuses parameters that have not been read.
    fn finish(self) -> Result<(), Problem> {
        let Some((unknown, _)) = self.pairs.first() else { return Ok(()) };
        let shown: String =
            unknown.chars().filter(|c| !c.is_control()).take(NAME_SHOWN_MAX).collect();
        let supported = match self.known.as_slice() {
            [] => "it takes no query parameters".to_owned(),
            names => format!("it takes {}", names.join(", ")),
        };
        let message = format!("{shown} is not a query parameter of this request: {supported}");
        Err(Problem::parameter(&shown, message))
    }
}

/// Decodes a `name=value` of a query in the encoding of HTML forms, where `+` is a space.
fn pair(piece: &str) -> Result<(String, String), Problem> {
    let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
    let text = |encoded: &str| {
        let encoded = encoded.replace('+', "%20");
        percent::decode(&encoded).map(std::borrow::Cow::into_owned)
    };
    text(name).zip(text(value)).ok_or_else(|| {
        let message = "the query is not percent-encoded UTF-8; write each % as %25, and other \
                       characters as the bytes of their UTF-8 form";
        Problem::parameter("query", message)
    })
}

/// The query of a request that takes no parameters.
#[derive(Debug)]
pub struct NoParameters;

impl Parameters for NoParameters {
    fn read(_: &mut RawQuery<'_>) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// The query of a list whose cursor is a `T`.
#[derive(Debug)]
pub struct PageQuery<T> {
    /// The item after which the page begins; the first page if absent.
    pub after: Option<T>,
    /// The most items of the page.
    pub limit: usize,
}

impl<T: FromStr> Parameters for PageQuery<T> {
    fn read(raw: &mut RawQuery<'_>) -> Result<Self, Problem> {
        let limit = raw.limit(PAGE_MAX)?.unwrap_or(PAGE_DEFAULT);
        Ok(Self { after: raw.cursor()?, limit })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ids::{BookingId, EventId, HistoryId, InHistory};

    fn read<T: Parameters>(query: &str) -> Result<T, Problem> {
        super::read(query, &HeaderMap::new())
    }

    proptest! {
        #[test]
        fn no_query_makes_the_reader_panic(query in any::<String>()) {
            drop(read::<PageQuery<EventId>>(&query));
            drop(read::<PageQuery<BookingId>>(&query));
        }

        #[test]
        fn no_cursor_makes_the_reader_panic(cursor in "[0-9a-z]{7,9}\\.[0-9a-f-]{0,60}|[ -~]{0,30}") {
            drop(read::<PageQuery<InHistory<EventId>>>(&format!("cursor={cursor}")));
            drop(read::<PageQuery<InHistory<BookingId>>>(&format!("cursor={cursor}")));
        }

        #[test]
        fn a_cursor_is_read_as_it_was_given(id in 1..1_000_000_000_000_000_000_i64, limit in 1..=PAGE_MAX) {
            let cursor = InHistory { history: HistoryId::TEST, at: EventId(id) };
            let page = read::<PageQuery<_>>(&format!("cursor={cursor}&limit={limit}")).unwrap();
            prop_assert_eq!((page.after, page.limit), (Some(cursor), limit));
        }
    }

    fn page(query: &str) -> Result<(Option<i64>, usize), String> {
        let page = read::<PageQuery<i64>>(query);
        page.map(|page| (page.after, page.limit)).map_err(|problem| {
            let error = &problem.errors[0];
            format!("{}: {}", error.pointer, error.message)
        })
    }

    #[test]
    fn parameters_are_read_as_forms_write_them() {
        assert_eq!(page(""), Ok((None, 50)));
        assert_eq!(page("limit=2&cursor=7"), Ok((Some(7), 2)));
        assert_eq!(page("&&cursor=%37&&"), Ok((Some(7), 50)));
        assert_eq!(page("limi%74=200"), Ok((None, 200)));
        assert_eq!(pair("a+b=%2B+%26"), Ok(("a b".to_owned(), "+ &".to_owned())));
        assert_eq!(pair("verbose"), Ok(("verbose".to_owned(), String::new())));
    }

    #[test]
    fn an_unknown_parameter_is_named_with_those_there_are() {
        let unknown = "colour: colour is not a query parameter of this request";
        assert_eq!(page("colour=red"), Err(format!("{unknown}: it takes limit, cursor")));
        assert_eq!(page("limit=2&colour"), Err(format!("{unknown}: it takes limit, cursor")));
        let problem = read::<NoParameters>("colour=red").unwrap_err();
        assert_eq!(
            problem.detail,
            "colour is not a query parameter of this request: it takes no query parameters"
        );
        let long = format!("%00{}", "x".repeat(1_000));
        assert_eq!(read::<NoParameters>(&long).unwrap_err().errors[0].pointer, "x".repeat(64));
        assert!(page("Limit=2").is_err(), "names have one spelling");
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        for twice in ["limit=2&limit=2", "limit=2&cursor=1&limi%74=3"] {
            let message = "limit: limit is given twice; give it once";
            assert_eq!(page(twice), Err(message.to_owned()), "{twice}");
        }
    }

    #[test]
    fn a_limit_out_of_range_is_refused() {
        let message = "limit: limit must be a whole number from 1 to 200";
        for wrong in ["0", "201", "-1", "x", "", "1.5", "99999999999999999999"] {
            assert_eq!(page(&format!("limit={wrong}")), Err(message.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_query_that_is_not_encoded_is_refused() {
        for wrong in ["limit=%", "%zz=1", "cursor=%FF", "a=%e2%82"] {
            assert!(page(wrong).unwrap_err().starts_with("query: "), "{wrong}");
        }
    }
}
