//! Importing pretix seating plans.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::program::{Ended, Service, Workplace, hall, project};

/// The arguments that every import for sale needs.
const SALE: [&str; 3] =
    ["--event=The Tempest", "--starts-at=2999-05-01T20:00:00+02:00", "--price=5000"];

/// The arguments of an import of the small hall.
fn import(place: &Workplace, more: &[&str]) -> Ended {
    place.run(&[&["import", &hall()], &SALE[..], more].concat())
}

/// What the summary says after `name: `.
fn printed<'a>(ended: &'a Ended, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    let found = ended.stdout.lines().find_map(|line| line.strip_prefix(&prefix));
    found.unwrap_or_else(|| panic!("no {name} in {ended:?}"))
}

fn books(service: &Service, schedule: &str, label: &Value) -> (u16, Value) {
    let body = json!({"schedule_id": schedule, "seats": [label], "customer_id": "ada"});
    service.post("/api/v1/bookings", &body)
}

#[test]
fn repeated_guids_are_refused_with_ten_of_them_and_the_remedies_and_nothing_is_touched() {
    let place = Workplace::new();
    let ended = import(&place, &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    let first = "/zones/0/rows/0/seats/0/seat_guid";
    let both = format!("17 labels in all: `Stalls-A-1` ({first} and /zones/0/rows/");
    assert!(ended.stderr.contains(&both), "{ended:?}");
    assert_eq!(ended.stderr.matches("/seat_guid and /zones/").count(), 10, "{ended:?}");
    for text in [" and 7 more", "--id-from uuid", "--id-from position", "nothing was written"] {
        assert!(ended.stderr.contains(text), "{text}: {ended:?}");
    }
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_refused_import_changes_nothing_in_a_database_that_exists() {
    let place = Workplace::new();
    assert_eq!(import(&place, &["--id-from=uuid"]).code, 0);
    assert_eq!(import(&place, &[]).code, 1);
    let service = place.serve(&[]);
    let (_, events) = service.get("/api/v1/events");
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
    assert_eq!(service.get("/api/v1/seat-plans/hall/versions/2").0, 404);
}

#[test]
fn what_was_imported_is_sold_over_http() {
    let place = Workplace::new();
    let prices = ["--price=Front=9900", "--price=Rear=1500", "--currency=CHF"];
    let ended = import(&place, &[&["--id-from=position"], &prices[..]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with("imported 40 seats in 2 sections in "), "{ended:?}");
    assert!(ended.stdout.lines().next().unwrap().ends_with(" seconds"), "{ended:?}");
    assert_eq!(printed(&ended, "seat plan"), "hall, version 1");
    let schedule = printed(&ended, "schedule id");

    let service = place.serve(&[]);
    let (_, found) = service.get(&format!("/api/v1/schedules/{schedule}"));
    assert_eq!(found["event_id"], printed(&ended, "event id"));
    assert_eq!(found["starts_at"], "2999-05-01T18:00:00.000Z");
    assert_eq!(found["seat_plan"], json!({"id": "hall", "version": 1}));
    assert_eq!(found["counts"]["available"], 40);
    let (_, map) = service.get(&format!("/api/v1/schedules/{schedule}/seats"));
    let first = &map["seats"][0];
    assert_eq!((&first["label"], &first["price"]), (&json!("1-1-1"), &json!(9900)));
    let (status, booking) = books(&service, schedule, &first["label"]);
    assert_eq!(status, 200, "{booking}");
    assert_eq!(booking["total"], json!({"amount": 9900, "currency": "CHF"}));
    assert_eq!(books(&service, schedule, &first["label"]).0, 409);
}

#[test]
fn an_import_finds_its_event_by_id_beside_a_running_service() {
    let place = Workplace::new();
    let service = place.serve(&[]);
    let (_, event) = service.post("/api/v1/events", &json!({"name": "Hamlet"}));
    let event = event["id"].as_str().unwrap();
    let by_id = ["--starts-at=2999-05-01T20:00:00Z", "--price=1", "--id-from=uuid", "--event"];
    let ended = place.run(&[&["import", &hall()], &by_id[..], &[event]].concat());
    assert_eq!((ended.code, printed(&ended, "event id")), (0, event), "{ended:?}");
    let schedule = printed(&ended, "schedule id");
    assert_eq!(service.get(&format!("/api/v1/schedules/{schedule}")).1["seats"], 40);

    let absent = place.run(&[&["import", &hall()], &by_id[..], &["4711"]].concat());
    assert_eq!(absent.code, 1);
    assert!(absent.stderr.contains("there is no event 4711"), "{absent:?}");
    assert_eq!(service.get("/api/v1/seat-plans/hall/versions/2").0, 404);
}

#[test]
fn an_equal_plan_imported_again_is_the_same_version_and_another_one_is_the_next() {
    let place = Workplace::new();
    for (more, version) in [("--price=Front=1", 1), ("--price=Front=1", 1), ("--price=Front=2", 2)]
    {
        let ended = import(&place, &["--id-from=uuid", "--plan-id=main", more]);
        assert_eq!(printed(&ended, "seat plan"), format!("main, version {version}"));
    }
}

#[test]
fn a_plan_can_come_from_the_standard_input() {
    let place = Workplace::new();
    let document = std::fs::read_to_string(hall()).unwrap();
    let arguments = [&["import", "-", "--id-from=uuid"], &SALE[..]].concat();
    let ended = place.run_with(&arguments, &[], &document);
    assert_eq!((ended.code, printed(&ended, "seat plan")), (0, "stdin, version 1"), "{ended:?}");
}

#[test]
fn a_dry_run_checks_everything_and_writes_nothing() {
    let place = Workplace::new();
    // A command that opened this database would fail.
    let database = [("WRITE_DB_URL", "postgres://nobody@127.0.0.1:1/none")];
    let dry = |more: &[&str]| {
        place.run_with(&[&["import", &hall(), "--dry-run"], more].concat(), &database, "")
    };
    let good = dry(&["--id-from=uuid", "--price=1", SALE[0], SALE[1]]);
    assert_eq!(good.code, 0, "{good:?}");
    assert!(good.stdout.starts_with("dry run: 40 seats in 2 sections can be sold"), "{good:?}");
    assert_eq!(dry(&["--id-from=position", "--price=1"]).code, 0);
    let bad = dry(&["--price=1"]);
    assert_eq!(bad.code, 1);
    assert!(bad.stderr.contains("Stalls-A-1"), "{bad:?}");
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_category_without_a_price_is_named() {
    let place = Workplace::new();
    let dry = ["import", &hall(), "--dry-run", "--id-from=uuid"];
    let some = place.run(&[&dry[..], &["--price=Front=1", "--price=Rear=1"]].concat());
    assert_eq!(some.code, 1);
    assert!(some.stderr.contains("categories without a price: `Middle`;"), "{some:?}");
    let none = place.run(&dry);
    assert!(none.stderr.contains("without a price: `Front`, `Middle`, `Rear`;"), "{none:?}");
    let unknown = place.run(&[&dry[..], &["--price=1", "--price=Fornt=1"]].concat());
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("`Fornt`"), "{unknown:?}");
}

#[test]
fn an_unreadable_file_is_reported_with_its_name() {
    let place = Workplace::new();
    let dry = |plan: &str| place.run(&["import", plan, "--dry-run", "--price=1"]);
    let absent = dry("nothing.json");
    assert_eq!(absent.code, 1);
    assert!(absent.stderr.contains("nothing.json cannot be read"), "{absent:?}");
    place.write("list.json", "[1,\n2]");
    let wrong = dry("list.json");
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("list.json cannot be sold"), "{wrong:?}");
    assert!(wrong.stderr.contains("not a pretix seating plan in JSON"), "{wrong:?}");
    place.write("long.json", &" ".repeat(2_000));
    let arguments = ["import", "long.json", "--dry-run", "--price=1"];
    let long = place.run_with(&arguments, &[("PLAN_BODY_LIMIT", "1024")], "");
    assert!(long.stderr.contains("longer than 1024 bytes"), "{long:?}");
}

#[test]
fn without_a_terminal_progress_is_log_lines() {
    let ended = import(&Workplace::new(), &["--id-from=uuid"]);
    let lines: Vec<Value> =
        ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["msg"].as_str())
        .filter(|message| message.starts_with("step "))
        .collect();
    assert_eq!(steps.len(), 4, "{ended:?}");
    for (number, step) in (1..).zip(&steps) {
        assert!(step.starts_with(&format!("step {number} of 4: ")), "{steps:?}");
    }
}

#[test]
fn on_a_terminal_progress_is_a_bar() {
    let place = Workplace::new();
    let line = format!(
        "cd {} && script -qec \"{} import {} {} --id-from=uuid\" /dev/null",
        place.folder.path().display(),
        crate::program::PROGRAM,
        hall(),
        SALE.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
    );
    let ended = crate::program::shell(&line, &[("TERM", "xterm")]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("4/4 creating the schedule"), "{ended:?}");
    assert!(!ended.stdout.contains("step 1 of 4"), "{ended:?}");
    assert!(!ended.stdout.contains("the schema took"), "a bar and log lines do not mix: {ended:?}");
    assert!(ended.stdout.contains("imported 40 seats in 2 sections"), "{ended:?}");
}

/// The real stadium, which is kept beside the project and not in it: at `SEATLOCK_STADIUM`, or in
/// the folder `shared` next to the checkout.
fn stadium() -> PathBuf {
    let named = std::env::var_os("SEATLOCK_STADIUM").map(PathBuf::from);
    named.unwrap_or_else(|| project("../shared/data/stadium.json"))
}

/// Where the stadium is not to be had, the small hall stands in for it, except in continuous
/// integration (`CI=true`), where its absence is a failure.
#[test]
fn the_real_stadium_or_where_it_is_not_to_be_had_the_small_hall_is_imported_by_uuid() {
    let must_be_there = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    let (plan, seats) = match stadium() {
        path if path.exists() || must_be_there => (path, 738),
        _ => (hall().into(), 40),
    };
    let place = Workplace::new();
    let plan = plan.to_str().unwrap();
    let ended = place.run(&[&["import", plan, "--id-from=uuid"], &SALE[..]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with(&format!("imported {seats} seats in 2 sections")));
    let schedule = printed(&ended, "schedule id");
    let service = place.serve(&[]);
    let (_, found) = service.get(&format!("/api/v1/schedules/{schedule}"));
    assert_eq!(found["counts"]["available"], seats, "{found}");
    let (_, map) = service.get(&format!("/api/v1/schedules/{schedule}/seats?limit=1"));
    assert_eq!(books(&service, schedule, &map["seats"][0]["label"]).0, 200);
}
