//! Importing seat plans from CSV.

use serde_json::{Value, json};

use crate::program::{Ended, Workplace, hall};

const HALL: &str = "section,row,number,category,price\n\
                    Stalls,A,1,Front,\n\
                    Stalls,A,2,Front,9900\n\
                    Balcony,1,1,,\n";

const SALE: [&str; 3] =
    ["--event=The Tempest", "--starts-at=2999-05-01T20:00:00+02:00", "--price=5000"];

/// Imports what the standard input or a file of this name says.
fn import(place: &Workplace, plan: &str, more: &[&str], input: &str) -> Ended {
    place.run_with(&[&["import", plan], &SALE[..], more].concat(), &[], input)
}

#[test]
fn a_csv_file_is_known_by_its_extension_and_what_it_says_is_sold() {
    let place = Workplace::new();
    place.write("hall.csv", HALL);
    let ended = import(&place, "hall.csv", &["--price=Front=7000"], "");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with("imported 3 seats in 2 sections in "), "{ended:?}");
    assert!(ended.stdout.contains("seat plan: hall, version 1\n"), "{ended:?}");

    let service = place.serve(&[]);
    let (_, map) = service.get("/api/v1/schedules/1/seats");
    let seats = map["seats"].as_array().unwrap().iter();
    let seats: Vec<[&Value; 2]> = seats.map(|seat| [&seat["label"], &seat["price"]]).collect();
    let expected = json!([["Stalls-A-1", 7000], ["Stalls-A-2", 9900], ["Balcony-1-1", 5000]]);
    assert_eq!(json!(seats), expected);
}

#[test]
fn csv_of_another_name_is_read_if_it_is_said_to_be_csv() {
    let place = Workplace::new();
    let ended = import(&place, "-", &["--format=csv"], HALL);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("seat plan: stdin, version 1\n"), "{ended:?}");
    let unsaid = import(&place, "-", &["--dry-run"], HALL);
    assert_eq!(unsaid.code, 1, "{unsaid:?}");
    assert!(unsaid.stderr.contains("not a pretix seating plan in JSON"), "{unsaid:?}");

    place.write("hall.csv", &std::fs::read_to_string(hall()).unwrap());
    let pretix = ["--format=pretix", "--id-from=uuid", "--dry-run"];
    let pretix = import(&place, "hall.csv", &pretix, "");
    assert_eq!(pretix.code, 0, "{pretix:?}");
}

#[test]
fn every_fault_of_a_csv_file_is_told_by_line_and_column_and_nothing_is_touched() {
    let place = Workplace::new();
    place.write("hall.csv", &(HALL.to_owned() + "Balcony,1,2,,7.50\nBalcony,1,,,\n"));
    let ended = place.run(&["import", "hall.csv", SALE[0], SALE[1]]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    for text in [
        "hall.csv cannot be sold, and nothing was written:\n",
        "\n  line 5, column 5: `7.50` is not a price",
        "\n  line 6, column 3: the seat number is empty",
        "\n  line 2, column 5: categories without a price: `Front`",
        "\n  line 4, column 5: some seats have neither price nor category",
    ] {
        assert!(ended.stderr.contains(text), "{text}: {ended:?}");
    }
    assert_eq!(place.files(), ["hall.csv"]);
}

#[test]
fn what_was_read_in_another_way_is_noted() {
    let place = Workplace::new();
    place.write("hall.csv", "Zone;Row;Seat;\r\nA;1;1;\r\n");
    for arguments in [&["--dry-run"][..], &[]] {
        let ended = import(&place, "hall.csv", arguments, "");
        assert_eq!(ended.code, 0, "{ended:?}");
        let notes = "note: column 1, `Zone`, was read as `section`\n\
                     note: column 3, `Seat`, was read as `number`\n\
                     note: column 4 has no name, is empty in every line, and was ignored\n";
        assert!(ended.stdout.ends_with(notes), "{ended:?}");
    }
}

#[test]
fn a_source_of_labels_beside_csv_is_exit_code_2() {
    let place = Workplace::new();
    place.write("hall.csv", HALL);
    for arguments in [&["hall.csv"][..], &["-", "--format=csv"]] {
        let ended = place.run(&[&["import", "--dry-run", "--id-from=guid"], arguments].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{ended:?}");
        assert!(ended.stderr.contains("--id-from is for pretix plans"), "{ended:?}");
    }
    assert_eq!(place.files(), ["hall.csv"]);
}
