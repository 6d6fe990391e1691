//! Serving with no configuration at all: the address, the demo, the commands to try.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::program::{PROGRAM, Service, Workplace, answer, hall, shell};

/// Runs the three lines and checks their effects. Returns the seats held and bought.
fn try_out(service: &Service, environment: &[(&str, &str)]) -> [Value; 2] {
    let lines = service.commands();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(&service.address)), "{lines:?}");
    let seats = answer(&lines[0], environment);
    let listed = seats["seats"].as_array().unwrap();
    assert_eq!(listed.len(), 5, "{seats}");
    assert!(listed.iter().all(|seat| seat["status"] == "available"), "{seats}");
    let hold = answer(&lines[1], environment);
    assert_eq!(hold["status"], "held", "{hold}");
    let booking = answer(&lines[2], environment);
    assert_eq!(booking["status"], "confirmed", "{booking}");
    [hold["seats"][0]["label"].clone(), booking["seats"][0]["label"].clone()]
}

#[test]
fn without_configuration_it_serves_a_demo_and_three_lines_work_as_printed() {
    let place = Workplace::new();
    let service = place.serve(&[]);
    try_out(&service, &[]);
    let output = service.process.output();
    assert!(output.contains(&format!("Seatlock listens on {}\n", service.address)), "{output}");
    assert!(output.contains(&format!("{}/docs/\n", service.address)), "{output}");
    assert!(place.files().contains(&"seatlock.db".to_owned()));

    let (status, events) = service.get("/api/v1/events");
    assert_eq!((status, &events["items"][0]["name"]), (200, &json!("Demo concert")));
    let (_, schedule) = service.get("/api/v1/schedules/1");
    let counts = json!({"available": 298, "held": 1, "booked": 1, "blocked": 0});
    assert_eq!(schedule["counts"], counts);
}

#[test]
fn the_lines_of_another_start_name_seats_that_are_free_then() {
    let place = Workplace::new();
    let first = place.serve(&[]);
    let mut taken = try_out(&first, &[]).to_vec();
    assert_eq!(first.stop(), 0);
    let again = place.start(&[PROGRAM, "serve"], &[]);
    taken.extend(try_out(&again, &[]));
    taken.sort_by_key(ToString::to_string);
    taken.dedup();
    assert_eq!(taken.len(), 4, "each line named a seat of its own");
    let (_, events) = again.get("/api/v1/events");
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "the demo is entered once");
}

#[test]
fn with_a_key_the_lines_use_the_variable_of_the_shell() {
    let key = [("ADMIN_API_KEY", "a-key-of-no-importance")];
    let service = Workplace::new().serve(&key);
    try_out(&service, &key);
    assert!(!service.process.output().contains(key[0].1), "the key is never printed");
    let stranger = shell(&service.commands()[0], &[]);
    assert!(stranger.stdout.contains("\"unauthenticated\""), "{stranger:?}");
}

#[test]
fn with_a_schedule_the_lines_are_about_it_and_no_demo_is_created() {
    let place = Workplace::new();
    let sale = ["--event", "Recital", "--starts-at", "2999-01-01T20:00:00Z", "--price", "500"];
    let limits = ["--id-from", "position", "--max-seats-per-customer", "1"];
    let imported = place.run(&[&["import", &hall()][..], &sale, &limits].concat());
    assert_eq!(imported.code, 0, "{imported:?}");
    let service = place.serve(&[]);
    try_out(&service, &[]);
    let (_, events) = service.get("/api/v1/events");
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events}");
    assert_eq!(events["items"][0]["name"], "Recital");
}

#[test]
fn an_address_in_use_is_named_and_nothing_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    let ended = Workplace::new().run_with(&[], &[("BIND", &bind)], "");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(ended.stderr.contains(&format!("cannot listen on {bind}")), "{}", ended.stderr);
}

#[test]
fn it_keeps_serving_when_its_output_is_not_read() {
    let place = Workplace::new();
    // true(1) ends, and so closes the pipe, long before the banner is printed.
    let service_without_reader = format!("{PROGRAM} | true");
    let service = place.start(&["bash", "-c", &service_without_reader], &[]);
    assert_eq!(service.get("/api/v1/schedules/1").0, 200);
}
