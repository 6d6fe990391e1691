//! Parses the document of a plan, and lists all its problems.

use seatlock::domain::plan::{PlanError, ReadPlan};
use seatlock::formats::csv;
use seatlock::formats::pretix::{IdFrom, PretixPlan, to_plan};
use seatlock::formats::prices::Prices;
use seatlock::http::json;

/// Some editors write it at the beginning of a file; JSON does not allow it (RFC 8259 §8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The format of a plan, with its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// CSV: one line for each seat.
    Csv,
    /// A pretix seating plan in JSON.
    Pretix(IdFrom),
}

/// Reads a plan; the error has a line for each problem.
pub(super) fn parse(
    document: &[u8],
    format: Format,
    prices: &Prices,
) -> Result<ReadPlan, Vec<String>> {
    let plan = match format {
        Format::Csv => csv::parse(document, prices),
        Format::Pretix(id_from) => {
            let document = document.strip_prefix(BYTE_ORDER_MARK).unwrap_or(document);
            let pretix: PretixPlan = json::read(document).map_err(|fault| {
                vec![format!("it is not a pretix seating plan in JSON: {fault}")]
            })?;
            to_plan(&pretix, id_from, prices).map(|plan| ReadPlan { plan, notes: Vec::new() })
        }
    };
    plan.map_err(|problems| problems.iter().map(PlanError::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"{"zones":[{"name":"A","rows":[{"seats":[
        {"seat_guid":"a","category":"I"},{"seat_guid":"a","category":"II"}]}]}]}"#;

    fn prices(texts: &[&str]) -> Prices {
        Prices::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn pretix(document: &str, prices: &Prices) -> Result<ReadPlan, Vec<String>> {
        parse(document.as_bytes(), Format::Pretix(IdFrom::Guid), prices)
    }

    #[test]
    fn a_plan_is_read_with_or_without_a_byte_order_mark() {
        for mark in ["", "\u{FEFF}"] {
            let document = format!("{mark}{PLAN}");
            let plan =
                parse(document.as_bytes(), Format::Pretix(IdFrom::Position), &prices(&["1"]))
                    .unwrap();
            assert_eq!(plan.plan.seat_count(), 2);
        }
    }

    #[test]
    fn repeats_and_missing_prices_are_reported_together() {
        let problems = pretix(PLAN, &prices(&["I=1"])).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("categories without a price: `II`"), "{problems:?}");
        let both = "`a` (/zones/0/rows/0/seats/0/seat_guid and /zones/0/rows/0/seats/1/seat_guid)";
        assert!(problems[1].contains(&format!("{both}; take other labels with `--id-from uuid`")));
    }

    #[test]
    fn a_document_that_is_no_plan_is_refused_with_the_place() {
        let problems = pretix("{\"zones\": 7}", &prices(&[])).unwrap_err();
        assert!(problems[0].ends_with("JSON: /zones: must be a list, not 7"), "{problems:?}");
        let problems = pretix("{\"zones\": [", &prices(&[])).unwrap_err();
        assert!(problems[0].ends_with("at line 1 column 11"), "{problems:?}");
    }
}
