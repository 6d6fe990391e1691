//! A small hall with the defects of real plans: guids that repeat, rows that share a name, fractions where the schema
//! requires whole numbers.

use std::collections::HashSet;

use proptest::prelude::*;

use crate::domain::plan::{PROBLEMS_MAX, PlacedSeat};
use crate::formats::pretix::*;

const HALL: &str = include_str!("../../../tests/data/hall.json");

fn prices(texts: &[&str]) -> Prices {
    let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
    Prices::parse(&texts).unwrap_or_default()
}

/// The plan, or pointer, code and message of each problem.
fn read(json: &str, id_from: IdFrom, price: &[&str]) -> Result<SeatPlan, Vec<PlanError>> {
    let unreadable = |error: serde_json::Error| {
        let pointer = String::new();
        let message = error.to_string();
        vec![PlanError { pointer, code: "unreadable", message }]
    };
    let document: PretixPlan = serde_json::from_str(json).map_err(unreadable)?;
    to_plan(&document, id_from, &prices(price))
}

/// Pointers and codes of what was refused; empty if nothing was.
fn refused(plan: Result<SeatPlan, Vec<PlanError>>) -> Vec<(String, &'static str)> {
    let problems = plan.err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.pointer, problem.code)).collect()
}

fn at(pointer: &str, code: &'static str) -> Vec<(String, &'static str)> {
    vec![(pointer.to_owned(), code)]
}

/// A plan of one row whose seats are these JSON texts, with no category declared.
fn one_row(seats: &str) -> String {
    format!(r#"{{"zones":[{{"name":"Z","rows":[{{"row_number":"R","seats":[{seats}]}}]}}]}}"#)
}

/// Label, section, row, number, price and place of every seat.
fn lines(plan: Result<SeatPlan, Vec<PlanError>>) -> Vec<String> {
    let Ok(plan) = plan else { return Vec::new() };
    plan.seats()
        .map(|(_, PlacedSeat { section, row, seat })| {
            let PlanSeat { label, number, price, x, y, .. } = seat;
            format!("{label} {section} {row} {number} {price} {x:?} {y:?}")
        })
        .collect()
}

#[test]
fn labels_that_repeat_are_refused_with_examples_and_remedies() {
    let problems = read(HALL, IdFrom::Guid, &["9900"]).err().unwrap_or_default();
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let [text] = texts.as_slice() else { panic!("{texts:?}") };
    let first = "/zones/0/rows/0/seats/0/seat_guid";
    let start = format!(
        "{first}: several seats share a label, 17 labels in all: `Stalls-A-1` ({first} and "
    );
    assert!(text.starts_with(&start), "{text}");
    let end = "and 7 more; take other labels with `--id-from uuid` or `--id-from position` (over HTTP \
               `?id_from=`)";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn a_document_of_more_parts_than_a_plan_can_have_is_not_read_to_its_end() {
    let refused = |part: &str, wrap: fn(String) -> String| {
        let parts = vec![part; 200_001].join(",");
        let error = serde_json::from_str::<PretixPlan>(&wrap(parts)).err();
        let text = error.map(|error| error.to_string()).unwrap_or_default();
        text.split(" at line ").next().unwrap_or_default().to_owned()
    };
    let seats =
        refused("{}", |seats| format!(r#"{{"zones":[{{"rows":[{{"seats":[{seats}]}}]}}]}}"#));
    assert_eq!(seats, "has more than 200000 entries: send fewer");
    let rows = refused("{}", |rows| format!(r#"{{"zones":[{{"rows":[{rows}]}}]}}"#));
    assert_eq!(rows, "has more than 200000 entries: send fewer");
    let zones = refused("{}", |zones| format!(r#"{{"zones":[{zones}]}}"#));
    assert_eq!(zones, "has more than 200000 entries: send fewer");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sent_is_a_plan_or_a_short_list_of_problems(
        texts in proptest::collection::vec(prop_oneof![
            Just("null".to_owned()), Just("7".to_owned()), Just("1e400".to_owned()), Just("[]".to_owned()),
            any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        ], 8),
        places in proptest::collection::vec(0..8usize, 0..8),
    ) {
        // A small plan with some of its values replaced by others.
        let mut values = ["\"I\"", "\"Z\"", "\"R\"", "\"a\"", "\"u\"", "\"1\"", "\"I\"", "1.5"].map(str::to_owned);
        for (place, text) in places.iter().zip(texts) {
            values[*place] = text;
        }
        let [declared, zone, row, guid, uuid, number, category, x] = values;
        let json = format!(
            r#"{{"categories":[{{"name":{declared}}}],"zones":[{{"name":{zone},"rows":[{{"row_number":{row},
            "seats":[{{"seat_guid":{guid},"uuid":{uuid},"seat_number":{number},"category":{category},
            "position":{{"x":{x},"y":0}}}},{{"seat_guid":"b","uuid":"v","category":{category}}}]}}]}}]}}"#
        );
        if let Ok(document) = serde_json::from_str::<PretixPlan>(&json) {
            for id_from in [IdFrom::Guid, IdFrom::Uuid, IdFrom::Position] {
                match to_plan(&document, id_from, &prices(&["1"])) {
                    Ok(plan) => prop_assert_eq!(plan.seat_count(), 2),
                    Err(problems) => prop_assert!((1..=PROBLEMS_MAX).contains(&problems.len())),
                }
            }
        }
    }
}

#[test]
fn uuids_and_positions_label_every_seat_of_the_hall() {
    for id_from in [IdFrom::Uuid, IdFrom::Position] {
        let plan = read(HALL, id_from, &["9900"]);
        assert_eq!(plan.as_ref().map(SeatPlan::seat_count), Ok(40));
        let labels: HashSet<_> =
            plan.iter().flat_map(SeatPlan::seats).map(|(_, placed)| &placed.seat.label).collect();
        assert_eq!(labels.len(), 40);
    }
}

#[test]
fn a_seat_keeps_its_names_its_price_and_its_absolute_place() {
    let lines = lines(read(HALL, IdFrom::Position, &["5000", "Middle=7000", "Front=9900"]));
    assert_eq!(
        lines.first().map(String::as_str),
        Some("1-1-1 Stalls A 1 9900 Some(50.5) Some(160.75)")
    );
    assert_eq!(
        lines.get(7).map(String::as_str),
        Some("1-2-2 Stalls B 2 7000 Some(75.5) Some(190.62)"),
        "rounded to hundredths"
    );
    assert_eq!(
        lines.last().map(String::as_str),
        Some("2-4-3 Balcony C 3 5000 Some(320.0) Some(350.0)")
    );
}

#[test]
fn names_that_are_missing_become_ordinals() {
    let json = r#"{"zones": [{"name": "", "rows": [
        {"seats": [{"seat_guid": "a"}, {"seat_guid": "b", "seat_number": null}]},
        {"row_number": " ", "seats": [{"seat_guid": 7, "seat_number": 12, "sight": "pillar"}]},
        {"row_number": 2.5}
    ]}, {"areas": []}]}"#;
    let expected = ["a 1 1 1 5 None None", "b 1 1 2 5 None None", "7 1 2 12 5 None None"];
    assert_eq!(lines(read(json, IdFrom::Guid, &["5"])), expected);
}

#[test]
fn a_seat_without_the_label_asked_for_is_named() {
    let json = one_row(r#"{"seat_guid": "a", "uuid": "u"}, {"seat_guid": "", "uuid": null}, {}"#);
    let problems = read(&json, IdFrom::Uuid, &["5"]);
    let message = problems.as_ref().err().and_then(|all| all.first()).map(ToString::to_string);
    assert_eq!(
        message.as_deref(),
        Some(
            "/zones/0/rows/0/seats/1/uuid: the seat has no label: \
             take other labels with `--id-from position` (over HTTP `?id_from=`) \
             (the same at /zones/0/rows/0/seats/2/uuid)"
        )
    );
    assert_eq!(refused(problems).len(), 1, "one cause");
    assert_eq!(refused(read(&json, IdFrom::Guid, &["5"])).len(), 1);
    assert_eq!(refused(read(&json, IdFrom::Position, &["5"])), []);
}

#[test]
fn labels_that_are_too_long_or_unprintable_are_named() {
    let long = "x".repeat(65);
    let json = one_row(&format!(r#"{{"seat_guid": "{long}"}}, {{"seat_guid": "a\u0007"}}"#));
    let expected = [
        ("/zones/0/rows/0/seats/0/seat_guid".to_owned(), "text_too_long"),
        ("/zones/0/rows/0/seats/1/seat_guid".to_owned(), "control_character"),
    ];
    assert_eq!(refused(read(&json, IdFrom::Guid, &["5"])), expected);
}

#[test]
fn names_and_places_out_of_bounds_are_named_in_pretix_terms() {
    let json = r#"{"zones": [{"name": "a\n", "rows": [{"row_number": "a\n", "seats": [
        {"seat_number": "a\n", "category": "a\n", "position": {"x": 1e308, "y": 1}}
    ]}]}]}"#;
    let pointers: Vec<_> = refused(read(json, IdFrom::Position, &["5"]))
        .into_iter()
        .map(|(pointer, _)| pointer)
        .collect();
    let expected = [
        "/zones/0/name",
        "/zones/0/rows/0/row_number",
        "/zones/0/rows/0/seats/0/seat_number",
        "/zones/0/rows/0/seats/0/category",
        "/zones/0/rows/0/seats/0/position",
    ];
    assert_eq!(pointers, expected);
    assert_eq!(refused(read(r#"{"zones": []}"#, IdFrom::Guid, &["5"])), at("/zones", "no_seats"));
}

#[test]
fn every_category_without_a_price_is_named() {
    let problems = read(HALL, IdFrom::Position, &["Middle=1"]).err().unwrap_or_default();
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["/categories: categories without a price: `Front`, `Rear`; \
          give each one (`NAME=9900`), or one for all (`9900`)"]
    );
    let none = one_row("{}");
    assert_eq!(refused(read(&none, IdFrom::Position, &[])), at("/zones", "price_missing"));
}

#[test]
fn a_price_for_a_category_that_the_plan_does_not_have_is_refused() {
    let problems = read(HALL, IdFrom::Position, &["1", "Frnt=2"]).err().unwrap_or_default();
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["/categories: prices are given for categories that the plan does not have: `Frnt`; \
          it has `Front`, `Middle`, `Rear`"]
    );
}

#[test]
fn a_seat_of_a_category_that_is_not_declared_is_refused() {
    let json = HALL.replacen(r#""category": "Rear""#, r#""category": "Raer""#, 1);
    assert_eq!(
        refused(read(&json, IdFrom::Position, &["1"])),
        at("/zones/1/rows/1/seats/0/category", "category_unknown")
    );
}

#[test]
fn a_source_of_labels_is_one_of_three() {
    assert_eq!("guid".parse(), Ok(IdFrom::Guid));
    assert_eq!("uuid".parse(), Ok(IdFrom::Uuid));
    assert_eq!("position".parse(), Ok(IdFrom::Position));
    let error = "GUID".parse::<IdFrom>().err().map(|error| error.to_string());
    assert_eq!(
        error.as_deref(),
        Some("`GUID` is no source of labels: give guid, uuid or position")
    );
}
