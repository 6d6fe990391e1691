//! The commands on the specification's own backends: PostgreSQL and Redis.

mod failing_secrets;
mod log;
mod managed;
mod queue;
mod secrets;

use serde_json::json;
use test_support::{Postgres, Redis, holds_within};

use crate::program::{SOON, Workplace};

#[test]
fn with_the_specifications_variables_it_uses_postgresql_and_redis() {
    let (postgres, redis) = (Postgres::shared(), Redis::shared());
    let (database, port) = (postgres.create_database(), redis.port().to_string());
    let number = redis.fresh_db().to_string();
    let environment = [
        ("WRITE_DB_URL", database.as_str()),
        ("READ_DB_URL", &database),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port),
        ("REDIS_DB", &number),
        ("SEAT_LOCK_TIMEOUT", "30"),
    ];
    let place = Workplace::new();
    place.import_hall(&environment);

    let service = place.serve(&environment);
    let hold = json!({"schedule_id": "1", "seats": ["1-1-1"], "customer_id": "ada"});
    let (status, held) = service.post("/api/v1/holds", &hold);
    assert_eq!(status, 201, "{held}");
    let locks = redis.cli(&["-n", &number, "keys", "*:seat:*"]);
    assert_eq!(locks, "{sch:1}:seat:0", "a hold keeps its lock");
    assert_eq!(service.stop(), 0);

    let name = database.rsplit('/').next().unwrap();
    assert_eq!(postgres.psql(name, "SELECT count(*) FROM hold"), "1");
    assert_eq!(place.files(), [""; 0], "no SQLite file");
    let output = service.process.output();
    assert!(!output.contains("curl "), "production gets no banner: {output}");
}

#[test]
fn an_empty_postgresql_gets_no_demo() {
    let database = Postgres::shared().create_database();
    let service = Workplace::new().serve(&[("WRITE_DB_URL", &database)]);
    let (status, events) = service.get("/api/v1/events");
    assert_eq!((status, &events["items"]), (200, &json!([])));
    let warned = |line: &serde_json::Value| {
        line["level"] == "WARN" && line["msg"].as_str().unwrap().contains("safe for one replica")
    };
    assert!(service.log().iter().any(warned), "locks in the process deserve a warning here");
}

#[test]
fn migrating_postgresql_a_second_time_changes_nothing() {
    let database = Postgres::shared().create_database();
    let place = Workplace::new();
    let migrate = || place.run_with(&["migrate"], &[("WRITE_DB_URL", &database)], "");
    let (first, second) = (migrate(), migrate());
    assert_eq!((first.code, second.code), (0, 0), "{first:?} {second:?}");
    assert_eq!(second.stdout, "the schema is up to date already\n");
    let off = [("WRITE_DB_URL", database.as_str()), ("MIGRATE", "off")];
    assert_eq!(place.serve(&off).get("/api/v1/events").0, 200);
}

/// The rights in docs/operations.md for a service that does not migrate itself.
#[test]
fn a_role_that_may_not_change_the_schema_serves_on_it() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let place = Workplace::new();
    assert_eq!(place.run_with(&["migrate"], &[("WRITE_DB_URL", &database)], "").code, 0);
    for right in [
        "CREATE ROLE seller LOGIN",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO seller",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO seller",
    ] {
        postgres.psql(&database, right);
    }
    let seller = database.replace("app@", "seller@");
    let environment = [("WRITE_DB_URL", seller.as_str()), ("MIGRATE", "off")];
    let service = place.serve(&environment);
    let (status, event) = service.post("/api/v1/events", &json!({"name": "A"}));
    assert_eq!(status, 201, "{event}");
    assert!(holds_within(SOON, || service.get("/readyz").0 == 200));
    assert_eq!(service.stop(), 0);
    // It begins a new history, too, after a restore.
    postgres.psql(&database, "UPDATE lineage SET system_id = 'restored'");
    let event = format!("/api/v1/events/{}/schedules", event["id"].as_str().unwrap());
    let plan = json!({"sections": [{"name": "A", "rows": 1, "seats_per_row": 2, "price": 1}]});
    let service = place.serve(&environment);
    let schedule = json!({"starts_at": "2999-01-01T20:00:00Z", "seat_plan": plan});
    let (status, schedule) = service.post(&event, &schedule);
    assert_eq!(status, 201, "{schedule}");
    assert!(schedule["id"].as_str().unwrap().parse::<u32>().unwrap() > 1_000, "{schedule}");
}

#[test]
fn what_is_broken_in_the_database_is_verified_not_to_be_true() {
    let postgres = Postgres::shared();
    let database = postgres.create_database();
    let environment = [("WRITE_DB_URL", database.as_str()), ("READ_DB_URL", &database)];
    let place = Workplace::new();
    for _ in 0..2 {
        place.import_hall(&environment);
    }
    let verify =
        |arguments: &[&str]| place.run_with(&[&["verify"], arguments].concat(), &environment, "");
    assert_eq!(verify(&[]).code, 0);
    postgres.psql(&database, "UPDATE schedule_version SET version = 4 WHERE schedule_id = 2");
    let broken = "journal_is_gapless, schedule 2: expected the journal to lead to version 4";
    for arguments in [&[][..], &["--schedule", "2"], &["--primary"]] {
        let ended = verify(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (1, "seatlock: 1 violation was found\n"));
        assert!(ended.stdout.starts_with(&format!("violated: {broken}")), "{ended:?}");
    }
    let ended = verify(&["--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, document["violations"].as_array().unwrap().len()), (1, 1));
    assert_eq!(document["violations"][0]["invariant"], "journal_is_gapless");
    assert_eq!(verify(&["--schedule", "1"]).code, 0, "the other is fine");
    let unknown = verify(&["--schedule", "3"]);
    assert_eq!((unknown.code, unknown.stderr.as_str()), (1, "seatlock: there is no schedule 3\n"));
}

#[test]
fn an_unavailable_database_is_reported_and_nothing_starts() {
    let place = Workplace::new();
    let unavailable = [("WRITE_DB_URL", "postgres://app:hunter2@127.0.0.1:1/none")];
    for (command, prefix) in [("serve", "ERROR"), ("migrate", "ERROR"), ("verify", "seatlock: ")] {
        let ended = place.run_with(&[command], &unavailable, "");
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{command}: {ended:?}");
        assert!(ended.stderr.contains(prefix), "{command}: {ended:?}");
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
    }
}
