//! Documents that people and spreadsheets write, and the problems of invalid documents.

mod seat_fields;
mod spreadsheets;

use proptest::prelude::*;

use crate::domain::name;
use crate::domain::plan::*;
use crate::formats::csv::*;

const HALL: &str = "section,row,number,label,x,y,category,price\n\
                    Stalls,A,1,S-A-1,1.5,-2,Front,9900\n\
                    Stalls,A,2,,,,,\n\
                    \"Balcony, left\",1,\"7 \"\"a\"\"\",,,,Rear,\n\
                    Stalls,B,1,,,,,0\n\
                    Stalls,A,3,,,,Rear,\n";

fn prices(texts: &[&str]) -> Prices {
    let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
    Prices::parse(&texts).unwrap_or_default()
}

fn read(document: &str, price: &[&str]) -> Result<SeatPlan, Vec<PlanError>> {
    parse(document.as_bytes(), &prices(price)).map(|read| read.plan)
}

/// Section, row, number, label, price, category and place of every seat; nothing if it was refused.
fn lines(plan: Result<SeatPlan, Vec<PlanError>>) -> Vec<String> {
    let Ok(plan) = plan else { return Vec::new() };
    plan.seats()
        .map(|(_, PlacedSeat { section, row, seat })| {
            let PlanSeat { number, label, price, category, x, y, .. } = seat;
            let category = category.as_deref().unwrap_or("-");
            format!("{section}|{row}|{number}|{label}|{price}|{category}|{x:?}|{y:?}")
        })
        .collect()
}

/// Pointers and codes of what was refused; empty if nothing was.
fn refused(plan: Result<SeatPlan, Vec<PlanError>>) -> Vec<(String, &'static str)> {
    let problems = plan.err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.pointer, problem.code)).collect()
}

fn at(pointer: &str, code: &'static str) -> Vec<(String, &'static str)> {
    vec![(pointer.to_owned(), code)]
}

fn texts(plan: Result<SeatPlan, Vec<PlanError>>) -> Vec<String> {
    plan.err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn a_seats_own_price_precedes_its_categorys_and_that_precedes_the_general_one() {
    assert_eq!(
        lines(read(HALL, &["5000", "Rear=1500", "Front=1"])),
        [
            "Stalls|A|1|S-A-1|9900|Front|Some(1.5)|Some(-2.0)",
            "Stalls|A|2|Stalls-A-2|5000|-|None|None",
            "Stalls|A|3|Stalls-A-3|1500|Rear|None|None",
            "Stalls|B|1|Stalls-B-1|0|-|None|None",
            "Balcony, left|1|7 \"a\"|Balcony, left-1-7 \"a\"|1500|Rear|None|None",
        ]
    );
}

#[test]
fn three_columns_in_any_order_are_enough() {
    let plan = read("number,section,row\n1,A,x\n10,A,x\n2,A,x", &["5"]);
    assert_eq!(
        lines(plan),
        ["A|x|1|A-x-1|5|-|None|None", "A|x|10|A-x-10|5|-|None|None", "A|x|2|A-x-2|5|-|None|None"],
        "in the order of the document"
    );
}

#[test]
fn spreadsheets_may_add_a_mark_other_separators_line_ends_and_empty_lines() {
    let expected = lines(read("section,row,number,x,y,price\nA,1,1,1.5,2,7\nB,1,1,,,8\n", &[]));
    assert_eq!(expected.len(), 2);
    for document in [
        "\u{FEFF}section;row;number;x;y;price\r\nA;1;1;1,5;2;7\r\nB;1;1;;;8\r\n;;;;;\r\n;;;;;\r\n",
        "\"section\";\"row\";\"number\";\"x\";\"y\";\"price\"\r\"A\";1;1;1.5;2;7\rB;1;1;;;8",
        "\n\r\nsection,row,number,x,y,price\n\n\nA,1,1,1.5,2,7\r\n,,\n\nB,1,1,,,8\n\n",
    ] {
        assert_eq!(lines(read(document, &[])), expected, "{document:?}");
    }
    let comma = "section,row,number,x,y,price\nA,1,1,\"1,5\",2,7";
    assert_eq!(refused(read(comma, &[])), at("line 2, column 4", "position_invalid"));
}

#[test]
fn a_wrong_header_is_reported_alone_with_the_columns_that_exist() {
    assert_eq!(refused(read("", &[])), at("", "header_missing"));
    assert_eq!(refused(read("\u{FEFF}\r\n,,\n", &[])), at("", "header_missing"));
    let problems = texts(read("\nSection,colour,number,price,zone,\nA,1,1,x\n", &[]));
    let known = "the columns are section, row, number and, if wanted, label, x, y, category, price, \
                 attributes, gap, rank, linked, with commas, semicolons or tabs between them";
    let expected = [
        format!("line 2, column 2: there is no column `colour`: {known}"),
        "line 2, column 5: the column `zone` means `section`, and column 1 does, too: remove one"
            .to_owned(),
        format!("line 2: there is no column `row`: {known}"),
    ];
    assert_eq!(problems, expected);
}

#[test]
fn all_problems_are_reported_together_with_line_and_column() {
    let document = "price,section,row,number,label,x,y,category\r\n\
                    99.00,A,1,1,,,,\r\n\
                    1,A,1,2,,left,1,\r\n\
                    1,A,1,3\r\n\
                    -1,A,1,,,,,\r\n\
                    1,A,1,5,a\u{7},1,,\r\n\
                    \r\n\
                    1,,1,6,b,,,\r\n\
                    1,,1,7,c,,,\"\t\"\r\n\
                    1,B,,8,b,,,\r\n";
    let expected = [
        ("line 2, column 1", "price_invalid"),
        ("line 3, column 6", "position_invalid"),
        ("line 4", "field_count"),
        ("line 5, column 4", "text_empty"),
        ("line 5, column 1", "price_out_of_range"),
        ("line 6, column 5", "control_character"),
        ("line 8, column 2", "text_empty"),
        ("line 9, column 8", "control_character"),
        ("line 10, column 3", "text_empty"),
        ("line 8, column 5", "label_repeated"),
    ];
    let expected = expected.map(|(pointer, code)| (pointer.to_owned(), code));
    assert_eq!(refused(read(document, &[])), expected);
}

#[test]
fn generated_labels_are_checked_like_others() {
    let plan = read("section,row,number,price\nA-1,1,1,5\nA,1-1,1,5\nA,1,1,5\n", &[]);
    assert_eq!(
        texts(plan),
        ["line 2: several seats share a label, 1 labels in all: `A-1-1-1` (line 2 and line 3); \
          give every seat a label of its own in the column `label`"]
    );
    let long = format!("section,row,number,label,price\n{},1,1,,5\n", "x".repeat(64));
    assert_eq!(refused(read(&long, &[])), at("line 2, column 4", "text_too_long"));
}

#[test]
fn a_quote_that_is_never_closed_is_found_where_it_opens() {
    for document in [
        "section,row,number,price\nA,1,1,5\nA,\"1,2,5\nA,1,3,5\n",
        "section,row,number,price\nA,1,1,5\nA,\"1,2,5",
        "section,row,number,price\nA,1,1,5\nA,\"1\n1\",2,5\n",
    ] {
        assert_eq!(refused(read(document, &[])), at("line 3, column 2", "line_break"));
    }
}

#[test]
fn text_that_is_not_utf8_is_reported_alone_with_its_place() {
    let read = |document: &[u8]| refused(parse(document, &Prices::default()).map(|read| read.plan));
    let latin1 = b"section,row,number\r\nA,1,1,extra\r\n\r\nB,\"x,y\",Z\xFCrich\r\n";
    assert_eq!(read(latin1), at("line 4, column 3", "not_utf8"));
    assert_eq!(read(b"\xFF\xFEs\0e\0"), at("line 1, column 1", "not_utf8"));
}

#[test]
fn every_category_without_a_price_is_named_at_the_first_of_its_seats() {
    assert_eq!(
        texts(read(HALL, &[])),
        [
            "line 4, column 8: categories without a price: `Rear`; fill in the column `price`, or \
             give each one (`NAME=9900`) or one for all (`9900`)",
            "line 3, column 8: some seats have neither price nor category: fill in the column \
             `price`, or give one for all (`9900`)",
        ]
    );
    let bare = read("section,row,number\nA,1,1\nA,1,2", &[]);
    assert_eq!(refused(bare), at("line 2", "price_missing"));
}

#[test]
fn a_price_for_a_category_that_the_plan_does_not_have_is_refused() {
    assert_eq!(
        texts(read(HALL, &["1", "Raer=2"])),
        ["prices are given for categories that the plan does not have: `Raer`; \
          it has `Front`, `Rear`"]
    );
    let unread = HALL.replace("Stalls,A,1,", "Stalls,A,1,,");
    assert_eq!(refused(read(&unread, &["1", "Front=2"])), at("line 2", "field_count"));
}

#[test]
fn a_document_without_a_seat_is_refused_once() {
    assert_eq!(refused(read("section,row,number", &["A=1"])), at("", "no_seats"));
    assert_eq!(refused(read("section,row,number\nA,1", &["A=1"])), at("line 2", "field_count"));
}

#[test]
fn the_limits_of_a_plan_are_those_of_a_document() {
    let seats = |count: usize, seat: fn(usize) -> String| {
        let mut document = "section,row,number\n".to_owned();
        document.extend((0..count).map(seat));
        refused(read(&document, &["1"]))
    };
    let anywhere = |n: usize| format!("{},{},{n}\n", n / 10_000, n / 100);
    assert_eq!(seats(SEATS_MAX, anywhere), []);
    assert_eq!(seats(SEATS_MAX + 2, anywhere), at("line 100002", "too_many_seats"));
    assert_eq!(seats(1_001, |n| format!("A,{n},1\n")), at("line 2", "too_many_rows"));
    assert_eq!(seats(1_001, |n| format!("A,1,{n}\n")), at("line 2", "too_many_seats_in_row"));
    let text = texts(read(&format!("section,row,number\n{}", "A,1,1\n".repeat(100_002)), &["1"]));
    assert_eq!(
        text.first().map(String::as_str),
        Some("line 100002: more than 100000 seats: split the plan into plans of at most 100000")
    );
}

#[test]
fn however_much_is_wrong_the_report_is_short() {
    let document = format!("section,row,number,price\n{}", "A,1,1,much\n".repeat(1_000));
    assert_eq!(
        texts(read(&document, &[])),
        [
            "line 2, column 4: `much` is not a price: give whole minor units, such as 9900 for 99.00 \
             (the same at line 3, column 4; line 4, column 4; line 5, column 4 and 15 more places)",
            "the check stopped after 20 problems: correct those that are listed, then retry",
        ]
    );
    let columns = texts(read(&"a,".repeat(200), &[]));
    assert!(columns.len() <= PROBLEMS_MAX && columns.concat().len() < 10_000, "{columns:?}");
    let short = format!("section,row,number\n{}", "a\n".repeat(100_000));
    let codes: Vec<_> = refused(read(&short, &[])).into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["field_count", "more_problems"]);
}

#[test]
fn a_plan_is_written_with_all_columns_and_quotes_where_they_are_needed() {
    let plan = read(HALL, &["5000", "Rear=1500"]).map(|plan| write(&plan));
    assert_eq!(
        plan.as_deref(),
        Ok("section,row,number,label,x,y,category,price\r\n\
            Stalls,A,1,S-A-1,1.5,-2,Front,9900\r\n\
            Stalls,A,2,Stalls-A-2,,,,5000\r\n\
            Stalls,A,3,Stalls-A-3,,,Rear,1500\r\n\
            Stalls,B,1,Stalls-B-1,,,,0\r\n\
            \"Balcony, left\",1,\"7 \"\"a\"\"\",\"Balcony, left-1-7 \"\"a\"\"\",,,Rear,1500\r\n")
    );
}

/// A text that a plan may have, often with characters that have a meaning in CSV.
fn any_text() -> impl Strategy<Value = String> {
    let text = prop_oneof!["[\\p{L}\\p{N}\\p{P}\\p{S} ]{1,40}", "[ab,;\"' =]{1,5}"];
    text.prop_filter_map("no name", |text| {
        let text = name::folded(&text).into_owned();
        name::check(&text, LABEL_MAX).is_ok().then_some(text)
    })
}

fn any_seat() -> impl Strategy<Value = PlanSeat> {
    let coordinate = || prop_oneof![-1e9..=1e9, (-100..=100i32).prop_map(f64::from)];
    let place = proptest::option::of((coordinate(), coordinate()));
    let attributes = proptest::sample::subsequence(SeatAttribute::VARIANTS.to_vec(), 0..4);
    let data = (attributes, any::<bool>(), proptest::option::of(1..=RANK_MAX));
    (any_text(), 0..=PRICE_MAX, proptest::option::of(any_text()), place, data).prop_map(
        |(number, price, category, place, (attributes, gap, rank))| {
            let (x, y) = place.unzip();
            let seat = PlanSeat { number, price, category, x, y, ..PlanSeat::default() };
            PlanSeat { attributes, gap, rank, ..seat }
        },
    )
}

/// A plan whose sections, and the rows of each section, have distinct names.
fn any_plan() -> impl Strategy<Value = SeatPlan> {
    let rows =
        proptest::collection::vec((any_text(), proptest::collection::vec(any_seat(), 1..4)), 1..4);
    let sections = proptest::collection::vec((any_text(), rows), 1..4);
    sections.prop_filter_map("names repeat", |sections| {
        let mut labels = (0..).map(|n| format!("\"é,;{n}"));
        let mut labelled = |seat| PlanSeat { label: labels.next().unwrap_or_default(), ..seat };
        let mut row = |(name, seats): (String, Vec<PlanSeat>)| Row {
            name,
            seats: seats.into_iter().map(&mut labelled).collect(),
        };
        let mut section = |(name, rows): (String, Vec<(String, Vec<PlanSeat>)>)| Section {
            name,
            rows: rows.into_iter().map(&mut row).collect(),
        };
        let sections: Vec<_> = sections.into_iter().map(&mut section).collect();
        let names = sections.iter().map(|section| &section.name);
        let distinct = are_distinct(names)
            && sections
                .iter()
                .all(|section| are_distinct(section.rows.iter().map(|row| &row.name)));
        distinct.then(|| SeatPlan::new(sections).ok()).flatten()
    })
}

fn are_distinct<'a>(names: impl Iterator<Item = &'a String>) -> bool {
    let mut seen = BTreeSet::new();
    names.into_iter().all(|name| seen.insert(name))
}

/// The same document as another spreadsheet writes it: with a byte order mark, semicolons and quotes.
fn respelt(document: &str) -> String {
    let mut reader =
        ::csv::ReaderBuilder::new().has_headers(false).from_reader(document.as_bytes());
    let records = reader.records().filter_map(Result::ok);
    let quoted = |field: &str| format!("\"{}\"", field.replace('"', "\"\""));
    let line = |record: ::csv::StringRecord| {
        record.iter().map(quoted).collect::<Vec<_>>().join(";") + "\r\n"
    };
    "\u{FEFF}".to_owned() + &records.map(line).collect::<String>()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_was_written_is_read_as_it_was(plan in any_plan()) {
        let document = write(&plan);
        prop_assert_eq!(read(&document, &["1"]), Ok(plan.clone()));
        prop_assert_eq!(read(&respelt(&document), &["1"]), Ok(plan.clone()));
        prop_assert_eq!(read(&document.replace("\r\n", "\n"), &["1"]), Ok(plan));
    }

    #[test]
    fn whatever_is_sent_is_a_plan_or_a_short_list_of_problems(
        header in prop_oneof![
            Just("section,row,number,x\n"), Just("section;row;number\r"), Just("Zone\tRow\tSeat\t\n"),
            Just("sep=,\r\nsection,row,number\r\n"), Just("sep="), Just(""),
        ],
        rest in proptest::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
    ) {
        let document = [header.as_bytes(), &rest].concat();
        let lines = document.split(|byte| *byte == b'\n' || *byte == b'\r').count();
        match parse(&document, &prices(&["1"])) {
            Ok(read) => prop_assert!((1..=SEATS_MAX).contains(&read.plan.seat_count())),
            Err(problems) => {
                prop_assert!((1..=PROBLEMS_MAX).contains(&problems.len()));
                for problem in problems {
                    let place = problem.pointer.strip_prefix("line ");
                    let line = place.and_then(|place| place.split(',').next()?.parse().ok());
                    prop_assert!(problem.pointer.is_empty() || line.is_some_and(|line: usize| (1..=lines).contains(&line)));
                }
            }
        }
    }
}
