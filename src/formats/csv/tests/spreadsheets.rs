//! Documents as spreadsheets and other programs write them, and names that only look the same.

use crate::formats::csv::tests::*;

/// Small documents from bug reports. All of them mean the same plan.
#[test]
fn documents_as_spreadsheets_write_them_are_read() {
    let one = ["A|1|1|A-1-1|5|-|None|None"];
    for document in [
        "Section,Row,Number\nA,1,1\n",
        "SECTION,ROW,NUMBER\nA,1,1\n",
        "section, row, number\nA,1,1\n",
        "sep=;\r\nsection;row;number\r\nA;1;1\r\n",
        "\u{FEFF}SEP=,\r\nsection,row,number\r\nA,1,1\r\n",
        "\"sep=\t\"\r\nsection\trow\tnumber\r\nA\t1\t1\r\n",
        "section\trow\tnumber\nA\t1\t1\n",
        "section;row;number;\r\nA;1;1;\r\n",
        "section;row;number;;\r\nA;1;1\r\n",
        "section,,row,number,\nA,,1,1, \n",
        "section,row,number\nA,1,1,,\n",
    ] {
        assert_eq!(lines(read(document, &["5"])), one, "{document:?}");
    }
}

#[test]
fn what_was_read_in_another_way_is_noted() {
    let notes = |document: &str| parse(document.as_bytes(), &prices(&["5"])).map(|read| read.notes);
    assert_eq!(notes("Section, ROW ,number\nA,1,1\n"), Ok(Vec::new()));
    assert_eq!(
        notes("Zone;Row_Name;Seat;\nA;1;1;\n"),
        Ok(vec![
            "column 1, `Zone`, was read as `section`".to_owned(),
            "column 2, `Row_Name`, was read as `row`".to_owned(),
            "column 3, `Seat`, was read as `number`".to_owned(),
            "column 4 has no name, is empty in every line, and was ignored".to_owned(),
        ])
    );
    for area in ["area", "AREA", "sector", "Block"] {
        assert_eq!(notes(&format!("{area},row,number\nA,1,1\n")).map(|notes| notes.len()), Ok(1));
    }
}

#[test]
fn a_separator_that_is_none_and_text_without_a_column_are_refused() {
    for line in ["sep=", "sep=|", "sep=;;"] {
        let document = format!("{line}\nsection;row;number\nA;1;1\n");
        assert_eq!(refused(read(&document, &["5"])), at("line 1", "separator_unknown"));
    }
    let stray = "section;row;number;\nA;1;1;\nA;1;2;x\n";
    assert_eq!(refused(read(stray, &["5"])), at("line 3, column 4", "column_unnamed"));
}

#[test]
fn both_lines_of_a_duplicate_are_named() {
    let plan = read("section,row,number\nA,1,1\nA,1,2\nA,1,1\n", &["5"]);
    assert_eq!(
        texts(plan),
        ["line 2: several seats share a label, 1 labels in all: `A-1-1` (line 2 and line 4); \
          give every seat a label of its own in the column `label`"]
    );
    let labelled = read("section,row,number,label\nA,1,1,x\nA,1,2,x\nA,1,3,x\n", &["5"]);
    let text = texts(labelled).concat();
    assert!(text.contains("`x` (line 2, column 4 and line 3, column 4, 3 times in all)"), "{text}");
}

#[test]
fn names_that_look_alike_are_refused_once_with_both_lines() {
    let alike = |document: &str| {
        let problems = read(document, &["5"]).err().unwrap_or_default();
        let [only] = problems.as_slice() else { panic!("{problems:?}") };
        assert_eq!(only.code, "names_alike");
        only.to_string()
    };
    assert_eq!(
        alike("section,row,number\nStalls,A,1\nStalls\u{A0},A,1\n"),
        "line 3, column 1: the section name `Stalls<U+00A0>` differs from `Stalls` at line 2, column 1 \
         only in what people cannot see: write both the same, or give one another name"
    );
    for (one, other) in [
        ("A,1,7", "A,1,７"),
        ("A,1,7", "A,1,7\u{202E}"),
        ("A,Zoë,1", "A,Zoe\u{308},1"),
        ("A,1,1", " A,1,1"),
    ] {
        alike(&format!("section,row,number\n{one}\n{other}\n"));
    }
    let labels = "section,row,number,label\nA,1,1,x\nA,1,2,x\u{200B}\n";
    assert!(alike(labels).starts_with("line 3, column 4: the label `x<U+200B>` differs"));
    let categories = "section,row,number,category\nA,1,1,Front\nA,1,2,Front\u{2009}\n";
    assert!(alike(categories).starts_with("line 3, column 4: the category `Front<U+2009>`"));
    // Alone, such a name is refused for itself.
    let alone = read("section,row,number\nStalls\u{A0},A,1\n", &["5"]);
    assert_eq!(refused(alone), at("line 2, column 1", "white_space"));
}

#[test]
fn a_line_that_no_plan_can_have_ends_the_reading_within_bounds() {
    let header = "section,row,number\n";
    let refused = |document: &str| refused(read(document, &["1"]));
    assert_eq!(refused(&",".repeat(1_000_000)), at("line 1", "field_count"));
    assert_eq!(refused(&"x".repeat(1_000_000)), at("line 1", "line_too_long"));
    assert_eq!(
        refused(&format!("{header}A,1,1{}\n", ",".repeat(300))),
        at("line 2", "field_count")
    );
    let long = format!("{header}A,1,1\nA,1,{}\n", "2".repeat(100_000));
    assert_eq!(refused(&long), at("line 3", "line_too_long"));
    let open = format!("{header}A,1,1\nA,\"1,2\n{}", "A,1,3\n".repeat(10_000));
    assert_eq!(refused(&open), at("line 3, column 2", "line_break"));
}
