//! The load generator: its own service, a running one, and one that sells seats twice.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use test_support::{Process, holds_within};

use crate::program::{Ended, PROGRAM, SOON, Workplace};

/// A sale that is over in a moment.
const SMALL: [&str; 4] =
    ["--connections=8", "--schedules=2", "--schedule-seats=200", "--seconds=2"];

/// Measures with a service of its own in a folder that is otherwise empty.
fn bench(arguments: &[&str]) -> Ended {
    let place = Workplace::new();
    let folder = place.folder.path().to_str().unwrap().to_owned();
    let environment = [("TMPDIR", folder.as_str()), ("WRITE_DB_URL", "postgres://not.used/")];
    let ended = place.run_with(&[&["bench"], arguments].concat(), &environment, "");
    assert_eq!(place.files(), [""; 0], "the folder of the service is removed: {ended:?}");
    ended
}

fn bench_json(arguments: &[&str]) -> Value {
    let ended = bench(&[arguments, &["--json"]].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

#[test]
fn without_an_address_it_measures_its_own_service_and_prints_a_table() {
    let ended = bench(&SMALL);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(
        lines[0], "plain: 8 connections, 2 schedules of 200 seats, 2 seats a booking",
        "{}",
        ended.stdout
    );
    assert!(lines[2].trim_start().starts_with("requests/s  bookings/s"), "{}", ended.stdout);
    assert!(lines[3].starts_with("plain "), "{}", ended.stdout);
    for line in [
        "plain: all seats were sold before the end",
        "audit: 200 bookings of 400 seats compared with the maps of 2 schedules, and 100 bookings by id: \
         0 violations",
        "seatlock verify, the whole database: 0 violations",
    ] {
        assert!(lines.contains(&line), "{line}: {}", ended.stdout);
    }
}

#[test]
fn every_way_of_buying_is_measured_and_audited() {
    let document = bench_json(&[&["--way=all", "--stored=10", "--limit=4"][..], &SMALL].concat());
    let ways = document["ways"].as_array().unwrap();
    let names: Vec<_> = ways.iter().map(|way| way["way"].as_str().unwrap()).collect();
    let expected = ["plain", "keyed", "limited", "hold", "keyed+limited+hold", "one connection"];
    assert_eq!(names, expected);
    for way in ways {
        // Ten seats are stored; a single connection has one schedule.
        let sold = if way["connections"] == 1 { 95 } else { 2 * 97 };
        let holds = way["hold"].as_bool().unwrap().then_some(sold);
        assert_eq!(way["confirmed"], sold, "{way}");
        assert_eq!(way["statuses"]["200"], sold, "{way}");
        assert_eq!(way["statuses"]["201"].as_u64(), holds, "{way}");
        assert_eq!(way["audit"]["bookings"], sold + 10, "{way}");
        assert!(way["of_plain"].as_f64() > Some(0.0) && way["latency_ms"]["p99"].is_f64(), "{way}");
    }
    assert_eq!(document["verify"]["violations"], json!([]));
    // Keyed bookings, and keyed holds with their confirmations.
    assert_eq!(document["verify"]["audited"]["answers"], 3 * 194);
}

#[test]
fn of_a_stampede_exactly_one_customer_gets_the_seat() {
    let document = bench_json(&["stampede", "--customers=300", "--schedule-seats=200"]);
    assert_eq!(document["winners"], 5, "one for each seat: {document}");
    assert_eq!(document["losers"], 5 * 299, "{document}");
    assert_eq!(document["unanswered"], 0, "{document}");
    assert_eq!(document["audit"]["bookings"], 5, "{document}");
}

#[test]
fn customers_of_an_on_sale_buy_what_the_map_shows() {
    let sizes = ["--schedule-seats=200", "--connections=50"];
    let document = bench_json(&[&["on-sale", "--phases=50x1,150x2"][..], &sizes].concat());
    let phases = document["phases"].as_array().unwrap();
    assert_eq!(phases.len(), 2, "{document}");
    assert_eq!(phases[1]["offered_per_second"], 150, "{document}");
    assert!(phases[0]["statuses"]["200"].as_u64() > Some(10), "{document}");
    assert!(document["kinds"]["states"]["statuses"]["200"].as_u64() >= Some(350), "{document}");
    assert_eq!(document["audit"]["violations"], 0, "{document}");
}

#[test]
fn readers_ask_with_the_tag_of_their_last_map() {
    let document = bench_json(&[&["browse"][..], &SMALL].concat());
    let kinds = &document["kinds"];
    for kind in ["map", "states"] {
        assert!(kinds[kind]["statuses"]["304"].as_u64() > Some(0), "{document}");
        assert!(kinds[kind]["statuses"]["200"].as_u64() > Some(8), "{document}");
    }
    assert!(kinds["booking"]["statuses"]["200"].as_u64() > Some(1), "{document}");
}

#[test]
fn a_running_service_is_measured_with_its_key_and_its_queue() {
    let key = ("ADMIN_API_KEY", "a-key-of-no-importance");
    let place = Workplace::new();
    let service = place.serve(&[key, ("QUEUE_MODE", "prefer"), ("QUEUE_URL", "db://")]);
    let address = service.address.trim_start_matches("http://");
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let arguments = [&["bench", "--json", "--address", address], arguments].concat();
        place.run_with(&arguments, environment, "")
    };
    let ended = run(&[&["--queued"][..], &SMALL].concat(), &[key]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (&document["confirmed"], &document["statuses"]),
        (&json!(200), &json!({"202": 200}))
    );
    let phases = run(&[&["--phases=40x1"][..], &SMALL[..3]].concat(), &[key]);
    let document: Value = serde_json::from_str(&phases.stdout).unwrap();
    assert_eq!(document["phases"][0]["confirmed_by_second"], json!([40]), "{document}");
    let stranger = run(&SMALL, &[]);
    assert_eq!(stranger.code, 1);
    assert!(stranger.stderr.contains("unauthenticated"), "{stranger:?}");
}

#[test]
fn a_service_that_sells_a_seat_twice_is_found_out() {
    let address = confirm_everything();
    let place = Workplace::new();
    let run = |arguments: &[&str]| {
        let arguments = [&["bench", "--address", &address, "--schedules=1"], arguments].concat();
        place.run_with(&[&arguments[..], &["--schedule-seats=200"]].concat(), &[], "")
    };
    let lost = run(&["--connections=2"]);
    assert_eq!((lost.code, lost.stderr.as_str()), (1, "seatlock: the audit found violations\n"));
    let violated =
        "violated: seat A-1-1 of schedule 1 is available on the map: a booking was confirmed";
    assert!(lost.stdout.lines().any(|line| line == violated), "{lost:?}");
    let twice = run(&["stampede", "--customers=3"]);
    assert_eq!(twice.code, 1, "{twice:?}");
    assert!(
        twice.stdout.contains("violated: seat A-1-1 was confirmed twice: bookings "),
        "{twice:?}"
    );
}

#[test]
fn a_signal_removes_the_service_and_its_folder() {
    let place = Workplace::new();
    let folder = place.folder.path().to_str().unwrap();
    let command = [PROGRAM, "bench", "--schedules=1", "--seconds=600", "--seats=1"].map(Into::into);
    let process = Process::spawn_in(place.folder.path(), &command, &[("TMPDIR", folder)]);
    assert!(holds_within(SOON, || !place.files().is_empty()), "{}", process.output());
    process.terminate();
    assert_eq!(process.wait_exit(SOON), 1);
    assert_eq!(process.output(), "seatlock: SIGTERM was received before the end");
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn contradictions_and_missing_services_are_reported() {
    let place = Workplace::new();
    for (arguments, code, reason) in [
        (&["bench", "--limit=1"][..], 2, "--limit must be at least --seats"),
        (&["bench", "--target=reference"], 2, "--address"),
        (&["bench", "--address=127.0.0.1:1"], 1, "refused"),
    ] {
        let ended = place.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{ended:?}");
        assert!(ended.stderr.contains(reason), "{ended:?}");
    }
}

/// Starts a server that confirms every booking, and whose map shows that nothing is sold. Returns its address.
fn confirm_everything() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let bookings = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let bookings = Arc::clone(&bookings);
            std::thread::spawn(move || while answer(&stream, &bookings).is_some() {});
        }
    });
    address
}

/// Reads a request and answers it; `None` when the client has left.
fn answer(mut stream: &TcpStream, bookings: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let head: Vec<String> =
        reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    let (status, body) = if head[0].starts_with("POST /api/v1/bookings") {
        let order: Value = serde_json::from_slice(&body).unwrap();
        let seats: Vec<_> =
            order["seats"].as_array().unwrap().iter().map(|seat| json!({"label": seat})).collect();
        let id = bookings.fetch_add(1, Ordering::Relaxed).to_string();
        (200, json!({"id": id, "status": "confirmed", "seats": seats}))
    } else if head[0].starts_with("POST ") {
        (201, json!({"id": "1"}))
    } else {
        // 200 seats that are available.
        (200, json!({"counts": {"booked": 0}, "states": "A".repeat(67) + "="}))
    };
    let body = body.to_string();
    write!(stream, "HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()
}
