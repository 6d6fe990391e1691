//! A copy of the SQLite file, made while seats are being sold, replaces the lost file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::program::{Service, Workplace, shell};

const MAP: &str = "/api/v1/schedules/1/seats";

/// Books one seat of the demo, and returns the booking.
fn book(address: &str, seat: &str) -> String {
    let body = json!({"schedule_id": "1", "seats": [seat], "customer_id": "ada"});
    let line = format!(
        "curl -sS --max-time 60 -H 'Content-Type: application/json' -d '{body}' {address}/api/v1/bookings"
    );
    let answer: Value = serde_json::from_str(&shell(&line, &[]).stdout).unwrap();
    answer["id"].as_str().unwrap_or_else(|| panic!("{seat}: {answer}")).to_owned()
}

/// Status and headers of the map, requested with this tag.
fn tagged(service: &Service, tag: &str) -> String {
    let line =
        format!("curl -sS -o /dev/null -D - -H 'If-None-Match: {tag}' '{}{MAP}'", service.address);
    shell(&line, &[]).stdout
}

fn tag_of(head: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix("etag: "));
    line.unwrap_or_else(|| panic!("{head}")).trim().to_owned()
}

#[test]
fn a_copy_made_while_selling_has_what_was_acknowledged_and_begins_a_new_history() {
    let place = Workplace::new();
    let service = place.serve(&[]);
    let stop = Arc::new(AtomicBool::new(false));
    let selling = {
        let (stop, address) = (Arc::clone(&stop), service.address.clone());
        std::thread::spawn(move || {
            let seats = (1..=10).flat_map(|row| (1..=20).map(move |seat| (row, seat)));
            let seats = seats.take_while(|_| !stop.load(Ordering::Relaxed));
            seats.map(|(row, seat)| book(&address, &format!("Stalls-{row}-{seat}"))).collect()
        })
    };
    let before = [book(&service.address, "Balcony-1-1"), book(&service.address, "Balcony-1-2")];
    let copied = place.run(&["backup", "copy.db"]);
    assert_eq!(copied.code, 0, "{copied:?}");
    assert!(copied.stdout.starts_with("the database was copied to copy.db, "), "{copied:?}");
    let again = place.run(&["backup", "copy.db"]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("it is there already"), "{again:?}");
    let after = book(&service.address, "Balcony-1-3");
    stop.store(true, Ordering::Relaxed);
    let sold: Vec<String> = selling.join().unwrap();
    assert!(sold.len() > 1, "nothing was sold meanwhile");
    let tag = tag_of(&tagged(&service, "nothing"));
    service.process.kill();

    let restore = "rm seatlock.db seatlock.db-wal seatlock.db-shm && mv copy.db seatlock.db && ls";
    let files = shell(&format!("cd {} && {restore}", place.folder.path().display()), &[]);
    assert_eq!(files.stdout, "seatlock.db\n", "{files:?}");
    let audited = place.run(&["verify"]);
    assert_eq!(audited.code, 0, "{audited:?}");
    let service = place.serve(&[]);
    for booking in &before {
        assert_eq!(service.get(&format!("/api/v1/bookings/{booking}")).0, 200);
    }
    assert_eq!(service.get(&format!("/api/v1/bookings/{after}")).0, 404);
    let head = tagged(&service, &tag);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(service.get("/api/v1/schedules/1").1["version"].as_i64() > Some(1_000_000));
    book(&service.address, "Balcony-1-3");
    // Only once: after another start it is the same history.
    let version =
        |service: &Service| service.get("/api/v1/schedules/1").1["version"].as_i64().unwrap();
    let newest = version(&service);
    assert_eq!(service.stop(), 0);
    let service = place.serve(&[]);
    assert_eq!(version(&service), newest);
    assert_eq!(place.run(&["verify"]).code, 0);
}
