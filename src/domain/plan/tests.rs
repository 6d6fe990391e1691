//! The properties of every plan, and the refused ones.

mod seat_data;

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn inline(name: &str, rows: u32, seats_per_row: u32) -> InlineSection {
    InlineSection {
        name: name.to_owned(),
        rows,
        seats_per_row,
        price: 9900,
        ..InlineSection::default()
    }
}

fn seat(label: &str) -> PlanSeat {
    let number = "1".to_owned();
    let label = label.to_owned();
    PlanSeat { number, label, ..PlanSeat::default() }
}

fn section(rows: Vec<Vec<PlanSeat>>) -> Section {
    let rows = rows.into_iter().map(|seats| Row { name: "1".to_owned(), seats }).collect();
    Section { name: "A".to_owned(), rows }
}

/// Pointers and codes of what was refused; empty if nothing was.
fn refused(plan: Result<SeatPlan, Vec<PlanError>>) -> Vec<(String, &'static str)> {
    let problems = plan.err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.pointer, problem.code)).collect()
}

fn at(pointer: &str, code: &'static str) -> Vec<(String, &'static str)> {
    vec![(pointer.to_owned(), code)]
}

fn refused_seat(change: impl FnOnce(&mut PlanSeat)) -> Vec<(String, &'static str)> {
    let mut seat = seat("A-1-1");
    change(&mut seat);
    refused(SeatPlan::new(vec![section(vec![vec![seat]])]))
}

#[test]
fn an_inline_section_names_its_seats_by_row_and_number() {
    let plan = SeatPlan::from_inline(&[inline("A", 20, 30), inline("B", 1, 1)]);
    let seats = |plan: &SeatPlan| {
        plan.seats()
            .map(|(number, placed)| {
                let PlacedSeat { section, row, seat } = placed;
                format!(
                    "{} {} {section} {row} {} {}",
                    number.0, seat.label, seat.number, seat.price
                )
            })
            .collect::<Vec<_>>()
    };
    let seats = plan.as_ref().map(seats).unwrap_or_default();
    assert_eq!(seats.len(), 601);
    assert_eq!(seats.first().map(String::as_str), Some("0 A-1-1 A 1 1 9900"));
    assert_eq!(seats.get(30).map(String::as_str), Some("30 A-2-1 A 2 1 9900"));
    assert_eq!(seats.get(599).map(String::as_str), Some("599 A-20-30 A 20 30 9900"));
    assert_eq!(seats.last().map(String::as_str), Some("600 B-1-1 B 1 1 9900"));
}

#[test]
fn the_limits_of_an_inline_plan_are_inclusive() {
    let count = |sections: &[InlineSection]| {
        SeatPlan::from_inline(sections).map(|plan| plan.seat_count()).map_err(|_| ())
    };
    assert_eq!(count(&[inline("A", 1_000, 100)]), Ok(SEATS_MAX));
    assert_eq!(count(&[inline("A", 100, 1_000)]), Ok(SEATS_MAX));
    let free = InlineSection { price: 0, ..inline("A", 1, 1) };
    let dear = InlineSection { price: PRICE_MAX, ..inline("B", 1, 1) };
    assert_eq!(count(&[free, dear]), Ok(2));
    assert_eq!(count(&[inline(&"ä".repeat(60), 1, 1)]), Ok(1));
}

#[test]
fn all_problems_of_an_inline_plan_are_reported_together() {
    let sections = [
        InlineSection { price: -1, ..inline("", 0, 1_001) },
        InlineSection { price: PRICE_MAX + 1, ..inline("B\n", 1, 1) },
        inline(&"x".repeat(61), 1, 1),
        inline(&"x".repeat(65), 1, 1),
        inline("C", 1, 1),
        inline("C", 1, 1),
    ];
    let expected = [
        ("/sections/0/name", "text_empty"),
        ("/sections/0/rows", "count_out_of_range"),
        ("/sections/0/seats_per_row", "count_out_of_range"),
        ("/sections/0/price", "price_out_of_range"),
        ("/sections/1/name", "control_character"),
        ("/sections/2/name", "text_too_long"),
        ("/sections/5/name", "section_repeated"),
    ];
    let expected = expected.map(|(pointer, code)| (pointer.to_owned(), code));
    assert_eq!(refused(SeatPlan::from_inline(&sections)), expected);
}

#[test]
fn an_inline_plan_of_no_seat_or_too_many_is_refused_before_it_is_built() {
    assert_eq!(refused(SeatPlan::from_inline(&[])), at("/sections", "no_seats"));
    let large = [inline("A", 1_000, 100), inline("B", 1, 1)];
    assert_eq!(refused(SeatPlan::from_inline(&large)), at("/sections", "too_many_seats"));
    let absurd = vec![inline("A", u32::MAX, u32::MAX); 3];
    let codes = refused(SeatPlan::from_inline(&absurd));
    assert_eq!(codes.last(), at("/sections", "too_many_seats").last());
}

#[test]
fn the_limits_of_a_spelt_out_plan_are_enforced() {
    let row = |count: usize, prefix: usize| {
        (0..count).map(|n| seat(&format!("{prefix}-{n}"))).collect::<Vec<_>>()
    };
    let rows = |count: usize, seats: usize| (0..count).map(|n| row(seats, n)).collect::<Vec<_>>();
    let new = |rows| refused(SeatPlan::new(vec![section(rows)]));
    assert_eq!(new(rows(1_000, 1)), []);
    assert_eq!(new(rows(1_001, 1)), at("/sections/0/rows", "too_many_rows"));
    assert_eq!(new(rows(1, 1_000)), []);
    assert_eq!(new(rows(1, 1_001)), at("/sections/0/rows/0/seats", "too_many_seats_in_row"));
    assert_eq!(new(rows(100, 1_000)), []);
    assert_eq!(new(rows(101, 991)), at("/sections", "too_many_seats"));
    assert_eq!(new(vec![vec![]]), at("/sections", "no_seats"));
}

#[test]
fn a_seat_has_a_printable_label_a_price_and_a_place() {
    let seat = "/sections/0/rows/0/seats/0";
    let field = |name: &str| format!("{seat}/{name}");
    assert_eq!(refused_seat(|_| ()), []);
    assert_eq!(refused_seat(|seat| seat.label = "ä".repeat(64)), []);
    let label = field("label");
    assert_eq!(refused_seat(|seat| seat.label.clear()), at(&label, "label_missing"));
    assert_eq!(refused_seat(|seat| seat.label = "ä".repeat(65)), at(&label, "text_too_long"));
    assert_eq!(refused_seat(|seat| seat.label = "a\u{85}".into()), at(&label, "control_character"));
    assert_eq!(refused_seat(|seat| seat.number.clear()), at(&field("number"), "text_empty"));
    assert_eq!(refused_seat(|seat| seat.price = -1), at(&field("price"), "price_out_of_range"));
    let category = field("category");
    assert_eq!(
        refused_seat(|seat| seat.category = Some("\t".into())),
        at(&category, "control_character")
    );
    for (x, y) in
        [(Some(1.0), None), (None, Some(1.0)), (Some(f64::NAN), Some(1.0)), (Some(1.0), Some(2e9))]
    {
        assert_eq!(
            refused_seat(|seat| (seat.x, seat.y) = (x, y)),
            at(&field("x"), "position_invalid")
        );
    }
}

#[test]
fn repeated_labels_are_one_problem_that_names_ten_of_them() {
    let labels = (0..12).flat_map(|n| vec![format!("r{n}"); if n == 0 { 3 } else { 2 }]);
    let seats =
        std::iter::once("once".to_owned()).chain(labels).map(|label| seat(&label)).collect();
    let problems = SeatPlan::new(vec![section(vec![seats])]).err().unwrap_or_default();
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let at = |seat: usize| format!("/sections/0/rows/0/seats/{seat}/label");
    let pair = |n: usize| format!("`r{n}` ({} and {})", at(2 * n + 2), at(2 * n + 3));
    let pairs: Vec<_> = (1..10).map(pair).collect();
    let expected = format!(
        "{}: several seats share a label, 12 labels in all: `r0` ({} and {}, 3 times in all), {} and 2 \
         more; give every seat a label of its own",
        at(1),
        at(1),
        at(2),
        pairs.join(", ")
    );
    assert_eq!(texts, [expected]);
}

#[test]
fn sections_of_an_inline_plan_that_look_alike_are_refused_with_both_places() {
    let sections = [
        inline("Stalls", 1, 1),
        inline("Stalls\u{A0}", 1, 1),
        inline("ﬁ", 1, 1),
        inline("fi", 1, 1),
    ];
    let problems = SeatPlan::from_inline(&sections).err().unwrap_or_default();
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "/sections/1/name: section 0 has this name already but for what people cannot see: give each \
          its own (the same at /sections/3/name)"
        ]
    );
    assert_eq!(
        refused(SeatPlan::from_inline(&[inline(" A", 1, 1)])),
        at("/sections/0/name", "white_space")
    );
}

#[test]
fn after_twenty_problems_no_further_seat_is_checked() {
    let seats: Vec<_> =
        (0..1_000).map(|n| PlanSeat { price: -1, ..seat(&format!("r{n}")) }).collect();
    let codes: Vec<_> =
        refused(SeatPlan::new(vec![section(vec![seats])])).into_iter().map(|p| p.1).collect();
    assert_eq!(codes, ["price_out_of_range", "more_problems"]);
}

#[test]
fn a_plan_stored_before_the_rule_for_names_is_read_as_it_is() {
    let odd = [seat("a\u{200B}"), seat("a"), seat(" a"), seat("Zoe\u{308}")];
    let plan = SeatPlan { sections: vec![section(vec![odd.to_vec()])], focal_point: None };
    assert_ne!(refused(SeatPlan::new(plan.sections.clone())), []);
    let stored = serde_json::to_string(&plan).unwrap_or_default();
    assert_eq!(serde_json::from_str::<SeatPlan>(&stored).ok(), Some(plan));
}

#[test]
fn the_stored_document_is_compact_and_checked_when_read() {
    let plan =
        SeatPlan::from_inline(&[inline("A", 1, 1)]).map(|plan| serde_json::to_string(&plan).ok());
    let seat = r#"{"number":"1","label":"A-1-1","price":9900}"#;
    let row = format!(r#"{{"name":"1","seats":[{seat}]}}"#);
    let expected = format!(r#"{{"sections":[{{"name":"A","rows":[{row}]}}]}}"#);
    assert_eq!(plan, Ok(Some(expected.clone())));
    let spoilt = serde_json::from_str::<SeatPlan>(&expected.replace("9900", "-1"));
    let error = spoilt.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with("/sections/0/rows/0/seats/0/price: the price -1 must be"), "{error}");
}

/// A seat but for its label, with coordinates in hundredths, as importers write them.
fn any_seat() -> impl Strategy<Value = PlanSeat> {
    let place = proptest::option::of((-100_000_000_000i64..=100_000_000_000, any::<i32>()));
    let category = proptest::option::of("[^\\p{Cc}]{1,64}");
    ("[^\\p{Cc}]{1,64}", 0..=PRICE_MAX, category, place).prop_map(
        |(number, price, category, place)| {
            let (x, y) = place.map(|(x, y)| (x as f64 / 100.0, f64::from(y) / 100.0)).unzip();
            let gap = price % 2 == 0;
            let rank = u32::try_from(price % 3).ok().filter(|rank| *rank > 0);
            let attributes = match price % 5 {
                0 => vec![SeatAttribute::Wheelchair, SeatAttribute::Hearing],
                _ => Vec::new(),
            };
            PlanSeat { number, price, category, x, y, attributes, gap, rank, ..PlanSeat::default() }
        },
    )
}

fn any_plan() -> impl Strategy<Value = SeatPlan> {
    let name = || "[^\\p{Cc}]{1,64}";
    let row = (name(), proptest::collection::vec(any_seat(), 1..4));
    let section = (name(), proptest::collection::vec(row, 1..4));
    proptest::collection::vec(section, 1..4).prop_map(|sections| {
        let mut labels = (0..).map(|n| format!("é\"\\{n}"));
        let mut labelled = |seat| PlanSeat { label: labels.next().unwrap_or_default(), ..seat };
        let mut row = |(name, seats): (String, Vec<PlanSeat>)| Row {
            name,
            seats: seats.into_iter().map(&mut labelled).collect(),
        };
        let mut section = |(name, rows): (String, Vec<(String, Vec<PlanSeat>)>)| Section {
            name,
            rows: rows.into_iter().map(&mut row).collect(),
        };
        SeatPlan { sections: sections.into_iter().map(&mut section).collect(), focal_point: None }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_inline_plan_has_every_seat_once_and_passes_the_checks_of_any_plan(
        sections in proptest::collection::btree_map("[A-C1-3-]{1,5}", (1..40u32, 1..40u32), 1..5)
    ) {
        let sections: Vec<_> =
            sections.iter().map(|(name, &(rows, seats))| inline(name, rows, seats)).collect();
        let wanted: u32 = sections.iter().map(|section| section.rows * section.seats_per_row).sum();
        let plan = SeatPlan::from_inline(&sections);
        let seats = || plan.iter().flat_map(SeatPlan::seats);
        let numbers: Vec<u32> = seats().map(|(number, _)| number.0).collect();
        prop_assert_eq!(numbers, (0..wanted).collect::<Vec<_>>());
        let labels: HashSet<_> = seats().map(|(_, placed)| &placed.seat.label).collect();
        prop_assert_eq!(labels.len(), wanted as usize);
        prop_assert_eq!(plan.clone().and_then(|plan| SeatPlan::new(plan.sections)), plan);
    }

    #[test]
    fn a_stored_plan_comes_back_unchanged(plan in any_plan()) {
        let stored = serde_json::to_string(&plan).unwrap_or_default();
        let read = serde_json::from_str::<SeatPlan>(&stored).map_err(|error| error.to_string());
        prop_assert_eq!(read, Ok(plan));
    }
}
