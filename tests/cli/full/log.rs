//! The log of a service whose database fails.

use serde_json::Value;
use test_support::Postgres;

use crate::program::{Workplace, shell};

#[test]
fn a_failed_batch_is_logged_once_with_its_request_and_the_response_once() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let environment = [("WRITE_DB_URL", database.as_str()), ("LOG_FORMAT", "json")];
    let place = Workplace::new();
    place.import_hall(&environment);
    let service = place.serve(&environment);
    // After this no booking can be stored.
    postgres.psql(&database, "DROP TABLE booking_seat");
    let body = r#"{"schedule_id":"1","seats":["1-1-1"],"customer_id":"ada"}"#;
    let headers = "-H 'Content-Type: application/json' -H 'X-Request-Id: unlucky'";
    let book = format!("curl -sS {headers} {}/api/v1/bookings -d '{body}'", service.address);
    let answer: Value = serde_json::from_str(&shell(&book, &[]).stdout).unwrap();
    assert_eq!(answer["status"], 503, "{answer}");
    assert!(!answer.to_string().contains("booking_seat"), "{answer}");
    assert_eq!(service.stop(), 0);
    let log = service.log();
    let about: Vec<&Value> = log.iter().filter(|line| line["request_id"] == "unlucky").collect();
    let said: Vec<&str> = about.iter().map(|line| line["msg"].as_str().unwrap()).collect();
    assert_eq!(said.len(), 2, "{log:?}");
    assert!(said[0].starts_with("a batch of 1 commands failed: "), "{said:?}");
    assert!(said[0].contains("booking_seat"), "the reason is logged: {said:?}");
    assert_eq!((said[1], &about[1]["status"]), ("answered", &503.into()));
}
