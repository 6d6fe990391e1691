//! The columns `attributes`, `gap`, `rank` and `linked`.

use super::*;

/// A hall with wheelchair places, an aisle, ranks and a table.
const GALA: &str = "section,row,number,price,attributes,gap,rank,linked\r\n\
    Stalls,1,1,5000,wheelchair|aisle,,1,\r\n\
    Stalls,1,2,5000,companion,,1,\r\n\
    Stalls,1,3,5000,,yes,2,\r\n\
    Tables,1,1,9900,,,,T1\r\n\
    Tables,1,2,9900,,,,T1\r\n";

#[test]
fn attributes_gaps_ranks_and_groups_are_read_and_written() {
    let plan = read(GALA, &[]).unwrap();
    let seats: Vec<_> = plan.seats().map(|(_, placed)| placed.seat).collect();
    assert_eq!(seats[0].attributes, [SeatAttribute::Wheelchair, SeatAttribute::Aisle]);
    assert_eq!(
        seats.iter().map(|seat| seat.gap).collect::<Vec<_>>(),
        [false, false, true, false, false]
    );
    assert_eq!(
        seats.iter().map(|seat| seat.rank).collect::<Vec<_>>(),
        [Some(1), Some(1), Some(2), None, None]
    );
    assert_eq!(seats[4].linked.as_deref(), Some("T1"));
    let written = write(&plan);
    let header = "section,row,number,label,x,y,category,price,attributes,gap,rank,linked\r\n";
    assert!(written.starts_with(header), "{written}");
    assert!(written.contains("Stalls-1-3,,,,5000,,yes,2,\r\n"), "{written}");
    assert_eq!(read(&written, &[]), Ok(plan));
    let lenient = GALA.replace("wheelchair|aisle", " Aisle | WHEELCHAIR ").replace("yes", "X");
    assert_eq!(read(&lenient, &[]), read(GALA, &[]));
    let plain = write(&read("section,row,number,price\nA,1,1,5\n", &[]).unwrap());
    assert!(plain.starts_with("section,row,number,label,x,y,category,price\r\n"), "{plain}");
}

#[test]
fn a_wrong_attribute_gap_rank_or_group_is_reported_with_its_line_and_column() {
    let refused_with = |from: &str, to: &str| refused(read(&GALA.replacen(from, to, 1), &[]));
    assert_eq!(refused_with("|aisle", "|corner"), at("line 2, column 5", "attributes_invalid"));
    assert_eq!(refused_with("|aisle", "|wheelchair"), at("line 2, column 5", "attributes_invalid"));
    assert_eq!(refused_with("yes", "maybe"), at("line 4, column 6", "gap_invalid"));
    assert_eq!(refused_with("yes,2,", "yes,0,"), at("line 4, column 7", "rank_out_of_range"));
    assert_eq!(refused_with("yes,2,", "yes,best,"), at("line 4, column 7", "rank_out_of_range"));
    assert_eq!(refused_with(",T1", ",T2"), [("line 5, column 8".to_owned(), "linked_alone"),]);
    let unknown = texts(read(&GALA.replacen("|aisle", "|corner", 1), &[]));
    assert!(unknown[0].contains("give some of wheelchair, companion, aisle"), "{unknown:?}");
}
