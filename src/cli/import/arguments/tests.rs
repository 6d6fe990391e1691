//! Tests of the command line of `import`.

use clap::{Args as _, FromArgMatches as _};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
const TEN_MINUTES: Duration = Duration::from_secs(600);

fn arguments(words: &[&str]) -> Result<ImportArguments, clap::Error> {
    let command = ImportArguments::augment_args(clap::Command::new("import").no_binary_name(true));
    ImportArguments::from_arg_matches(&command.try_get_matches_from(words)?)
}

fn sale(more: &[&str]) -> Vec<String> {
    let words = ["plan.json", "--event", "The Tempest", "--starts-at", "2027-05-01T20:00:00Z"];
    words.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

fn rules(more: &[&str]) -> Result<ScheduleRules, String> {
    let words = sale(more);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    arguments(&words).unwrap().rules(TEN_MINUTES, HOUR)
}

#[test]
fn without_options_a_schedule_has_the_usual_rules() {
    assert_eq!(rules(&[]).unwrap(), ScheduleRules::usual(TEN_MINUTES));
}

#[test]
fn every_option_becomes_a_rule() {
    let rules = rules(&[
        "--currency=CHF",
        "--sales-open-at=2027-01-01T00:00:00Z",
        "--sales-close-at=2027-01-01T01:00:00Z",
        "--max-seats-per-booking=4",
        "--max-seats-per-customer=6",
        "--hold-ttl-s=3600",
    ]);
    let opens = EpochMs(1_798_761_600_000);
    let expected = ScheduleRules {
        sales_open_at: Some(opens),
        sales_close_at: Some(opens.plus(HOUR)),
        max_seats_per_booking: 4,
        max_seats_per_customer: Some(6),
        hold_ttl: HOUR,
        currency: "CHF".to_owned(),
    };
    assert_eq!(rules, Ok(expected));
}

#[test]
fn rules_that_contradict_each_other_are_refused() {
    let never = ["--sales-open-at=2027-01-01T00:00:00Z", "--sales-close-at=2027-01-01T00:00:00Z"];
    assert!(rules(&never).unwrap_err().contains("must be later"));
    assert!(rules(&["--hold-ttl-s=3601"]).unwrap_err().contains("at most 3600"));
}

#[test]
fn digits_are_an_events_id_and_anything_else_is_a_name() {
    assert_eq!(event("42"), Ok(EventChoice::Existing(EventId(42))));
    assert_eq!(event("1984 revisited"), Ok(EventChoice::New("1984 revisited".to_owned())));
    assert_eq!(event("-1"), Ok(EventChoice::New("-1".to_owned())));
    for wrong in ["", "0", "042", "99999999999999999999", "a\nb", &"x".repeat(201)] {
        assert!(event(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_value_out_of_bounds_is_refused_before_anything_is_read() {
    for wrong in [
        "--starts-at=tomorrow",
        "--currency=eur",
        "--max-seats-per-booking=0",
        "--max-seats-per-booking=1001",
        "--max-seats-per-customer=100001",
        "--hold-ttl-s=0",
        "--id-from=name",
        "--plan-id=a/b",
    ] {
        let refused = arguments(&["plan.json", "--dry-run", wrong]).unwrap_err();
        assert_eq!(refused.kind(), clap::error::ErrorKind::ValueValidation, "{wrong}");
    }
}

#[test]
fn only_a_dry_run_needs_neither_event_nor_time() {
    assert!(arguments(&["plan.json", "--dry-run"]).is_ok());
    let refused = arguments(&["plan.json"]).unwrap_err().to_string();
    assert!(refused.contains("--event") && refused.contains("--starts-at"), "{refused}");
}

#[test]
fn the_format_is_the_one_named_or_else_that_of_the_extension() {
    let format = |words: &[&str]| {
        arguments(&[words, &["--dry-run"]].concat()).unwrap().format().map_err(|_| ())
    };
    for csv in [&["hall.csv"][..], &["HALL.CSV"], &["-", "--format=csv"]] {
        assert_eq!(format(csv), Ok(Format::Csv), "{csv:?}");
        assert_eq!(format(&[csv, &["--id-from=guid"]].concat()), Err(()), "{csv:?}");
    }
    for pretix in [&["hall.json"][..], &["csv"], &["-"], &["hall.csv", "--format=pretix"]] {
        assert_eq!(format(pretix), Ok(Format::Pretix(IdFrom::Guid)), "{pretix:?}");
        let by_uuid = [pretix, &["--id-from=uuid"]].concat();
        assert_eq!(format(&by_uuid), Ok(Format::Pretix(IdFrom::Uuid)), "{pretix:?}");
    }
    assert!(arguments(&["hall.csv", "--dry-run", "--format=excel"]).is_err());
}

#[test]
fn a_plan_is_named_after_its_file() {
    for (file, id) in [
        ("halls/stadium.json", "stadium"),
        ("Große Halle (1).json", "Gro-e-Halle--1-"),
        ("-", "stdin"),
        ("..", "stdin"),
        ("...", "plan"),
    ] {
        assert_eq!(plan_id_of(Path::new(file)), id, "{file}");
        assert!(plan_id(id).is_ok());
    }
    assert_eq!(plan_id_of(Path::new(&"x".repeat(100))).len(), PLAN_ID_MAX);
}
