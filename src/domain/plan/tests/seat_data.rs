//! What a plan says about its seats: attributes, gaps, ranks, groups of linked seats, and the focal point.

use super::*;

#[test]
fn what_a_seat_says_about_itself_is_checked_with_its_place() {
    use SeatAttribute::{Aisle, Wheelchair};
    let field = |name: &str| format!("/sections/0/rows/0/seats/0/{name}");
    let attributes = |list: &[SeatAttribute]| refused_seat(|seat| seat.attributes = list.to_vec());
    assert_eq!(attributes(&[Wheelchair, Aisle]), []);
    for wrong in [[Aisle, Aisle], [Aisle, Wheelchair]] {
        assert_eq!(attributes(&wrong), at(&field("attributes"), "attributes_invalid"));
    }
    for rank in [1, RANK_MAX] {
        assert_eq!(refused_seat(|seat| seat.rank = Some(rank)), []);
    }
    for rank in [0, RANK_MAX + 1] {
        let refused = refused_seat(|seat| seat.rank = Some(rank));
        assert_eq!(refused, at(&field("rank"), "rank_out_of_range"));
    }
    let linked = |name: &str| refused_seat(|seat| seat.linked = Some(name.to_owned()));
    assert_eq!(linked("T1"), at(&field("linked"), "linked_alone"));
    let long = "x".repeat(65);
    assert!(linked(&long).contains(&(field("linked"), "text_too_long")));
}

#[test]
fn a_group_of_linked_seats_is_in_one_section_and_has_one_spelling() {
    let seat = |label: &str, group: &str| PlanSeat {
        label: label.to_owned(),
        number: label.to_owned(),
        linked: Some(group.to_owned()),
        ..PlanSeat::default()
    };
    let plan = |sections: Vec<Vec<PlanSeat>>| {
        let sections = (0..).zip(sections).map(|(n, seats)| {
            let rows = vec![Row { name: "1".to_owned(), seats }];
            Section { name: format!("S{n}"), rows }
        });
        refused(SeatPlan::new(sections.collect()))
    };
    assert_eq!(plan(vec![vec![seat("1", "T"), seat("2", "T")]]), []);
    let across = plan(vec![vec![seat("1", "T"), seat("2", "T")], vec![seat("3", "T")]]);
    assert_eq!(across, at("/sections/1/rows/0/seats/0/linked", "linked_across_sections"));
    let alike = plan(vec![vec![seat("1", "T"), seat("2", "T"), seat("3", "T\u{A0}")]]);
    let field = "/sections/0/rows/0/seats/2/linked";
    assert_eq!(alike, [(field.to_owned(), "names_alike"), (field.to_owned(), "linked_alone")]);
}

#[test]
fn an_inline_section_gives_its_seats_what_it_says_about_them() {
    let tables = InlineSection {
        category: Some("Gala".to_owned()),
        attributes: vec![SeatAttribute::RestrictedView],
        gaps_before: vec![3],
        rank: Some(2),
        linked_rows: true,
        ..inline("T", 2, 4)
    };
    let plan = SeatPlan::from_inline(std::slice::from_ref(&tables)).unwrap();
    let (_, third) = plan.seats().nth(6).unwrap();
    let expected = PlanSeat {
        number: "3".to_owned(),
        label: "T-2-3".to_owned(),
        price: 9900,
        category: Some("Gala".to_owned()),
        attributes: vec![SeatAttribute::RestrictedView],
        gap: true,
        rank: Some(2),
        linked: Some("T-2".to_owned()),
        ..PlanSeat::default()
    };
    assert_eq!(third.seat, &expected);
    assert!(plan.seats().all(|(_, placed)| placed.seat.gap == (placed.seat.number == "3")));
    assert_eq!(SeatPlan::new(plan.sections.clone()), Ok(plan));

    let document = serde_json::to_value(&tables).unwrap();
    assert_eq!(serde_json::from_value::<InlineSection>(document).unwrap(), tables);
    let plain = serde_json::to_string(&inline("A", 1, 1)).unwrap();
    assert_eq!(plain, r#"{"name":"A","rows":1,"seats_per_row":1,"price":9900}"#);
}

#[test]
fn wrong_values_of_an_inline_section_are_reported_with_their_fields() {
    let aisle = SeatAttribute::Aisle;
    let wrong = |change: fn(&mut InlineSection)| {
        let mut section = inline("A", 2, 4);
        change(&mut section);
        refused(SeatPlan::from_inline(&[section]))
    };
    assert_eq!(aisle.name(), "aisle");
    let twice = wrong(|section| section.attributes = vec![SeatAttribute::Aisle; 2]);
    assert_eq!(twice, at("/sections/0/attributes", "attributes_invalid"));
    for gap in [0, 1, 5] {
        let section = InlineSection { gaps_before: vec![2, gap], ..inline("A", 2, 4) };
        let refused = refused(SeatPlan::from_inline(&[section]));
        assert_eq!(refused, at("/sections/0/gaps_before", "gap_invalid"));
    }
    let rank = wrong(|section| section.rank = Some(0));
    assert_eq!(rank, at("/sections/0/rank", "rank_out_of_range"));
    let category = wrong(|section| section.category = Some(" ".to_owned()));
    assert_eq!(category, at("/sections/0/category", "white_space"));
    let alone = wrong(|section| (section.linked_rows, section.seats_per_row) = (true, 1));
    assert_eq!(alone, at("/sections/0/linked_rows", "linked_alone"));
}

#[test]
fn a_focal_point_is_stored_and_checked() {
    let document = |point: &str| {
        let seat = r#"{"number":"1","label":"A-1-1","price":9900}"#;
        let rows = format!(r#"[{{"name":"1","seats":[{seat}]}}]"#);
        format!(r#"{{"sections":[{{"name":"A","rows":{rows}}}],"focal_point":{point}}}"#)
    };
    let stored = document(r#"{"x":1.5,"y":-2.0}"#);
    let plan: SeatPlan = serde_json::from_str(&stored).unwrap();
    assert_eq!(plan.focal_point(), Some(Point { x: 1.5, y: -2.0 }));
    assert_eq!(serde_json::to_string(&plan).unwrap(), stored);
    let far = serde_json::from_str::<SeatPlan>(&document(r#"{"x":2e9,"y":0}"#));
    assert!(far.unwrap_err().to_string().starts_with("/focal_point: give x and y"));
}
