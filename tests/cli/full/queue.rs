//! The queue from an operator's view: separate workers and dead letters.

use std::time::Instant;

use serde_json::{Value, json};
use test_support::{Postgres, Redis};

#[cfg(feature = "rabbitmq")]
use crate::program::shell;
use crate::program::{PROGRAM, SOON, Service, Workplace};

/// Polls until a request is decided.
fn outcome(service: &Service, place: &str) -> Value {
    let end = Instant::now() + SOON;
    loop {
        let (status, body) = service.get(place);
        assert_eq!(status, 200, "{body}");
        if !["queued", "running"].contains(&body["status"].as_str().unwrap()) {
            return body;
        }
        assert!(Instant::now() < end, "it is never decided: {body}");
    }
}

#[test]
fn workers_execute_what_others_take_and_operators_see_to_the_dead_letters() {
    let (postgres, redis) = (Postgres::shared(), Redis::shared());
    let (database, port) = (postgres.create_database(), redis.port().to_string());
    let number = redis.fresh_db().to_string();
    let environment = [
        ("WRITE_DB_URL", database.as_str()),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port),
        ("REDIS_DB", &number),
        ("QUEUE_MODE", "always"),
        ("QUEUE_CONSUME", "off"),
    ];
    let place = Workplace::new();
    place.import_hall(&environment);
    let service = place.serve(&environment);
    let worker = place.start(&[PROGRAM, "worker"], &environment);
    assert_eq!(worker.get("/livez").0, 200);
    assert_eq!(worker.get("/api/v1/events").0, 404, "it answers operators alone");

    let book = |seat: &str| {
        let body = json!({"schedule_id": "1", "seats": [seat], "customer_id": "ada"});
        let (status, taken) = service.post("/api/v1/bookings", &body);
        assert_eq!(status, 202, "{taken}");
        format!("/api/v1/booking-requests/{}", taken["id"].as_str().unwrap())
    };
    assert_eq!(outcome(&service, &book("1-1-1"))["status"], "succeeded");

    // A message of a later program: `{"v":2}`.
    postgres.psql(
        &database,
        "UPDATE queue_counter SET last = last + 1, waiting = waiting + 1;
         INSERT INTO queue_message (part, number, id, body)
         SELECT 1, last, 'from tomorrow', 'eyJ2IjoyfQ==' FROM queue_counter",
    );
    assert_eq!(outcome(&service, &book("1-1-2"))["status"], "succeeded", "the others go on");
    let queue =
        |arguments: &[&str]| place.run_with(&[&["queue"], arguments].concat(), &environment, "");
    let listed = queue(&["list", "--body"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert!(lines[0].contains(" from tomorrow ") && lines[0].starts_with("20"), "{lines:?}");
    assert_eq!((lines.len(), lines[1].trim()), (2, "{\\\"v\\\":2}"));

    let retried = queue(&["retry", "from tomorrow"]);
    assert_eq!((retried.code, retried.stdout.as_str()), (0, "1 put back\n"), "{retried:?}");
    let end = Instant::now() + SOON;
    while queue(&["list"]).stdout.is_empty() {
        assert!(Instant::now() < end, "the worker cannot read it today either");
    }
    let unknown = queue(&["drop", "absent"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (1, "0 dropped, 1 not found\n"));
    assert!(unknown.stderr.contains("no dead letter \"absent\""), "{unknown:?}");
    assert_eq!(queue(&["drop", "--all"]).stdout, "1 dropped\n");
    assert_eq!(queue(&["list"]).stdout, "");
    assert_eq!((worker.stop(), service.stop()), (0, 0));
}

#[cfg(feature = "rabbitmq")]
mod rabbitmq {
    use std::time::Duration;

    use test_support::RabbitMq;

    use super::*;

    /// How many partitions a worker consumes, and how many requests it has executed.
    fn work(worker: &Service) -> (u64, u64) {
        let text = shell(&format!("curl -sS {}/metrics", worker.address), &[]).stdout;
        let value = |series: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {series}: {text}")).parse::<u64>().unwrap()
        };
        let done = value("seatlock_queue_executed_total{result=\"done\"}");
        (value("seatlock_queue_partitions"), done)
    }

    fn until_shared(workers: &[&Service], shares: &[u64]) {
        let end = Instant::now() + SOON;
        loop {
            let found: Vec<u64> = workers.iter().map(|worker| work(worker).0).collect();
            if found == shares {
                return;
            }
            assert!(Instant::now() < end, "{found:?} partitions, not {shares:?}");
        }
    }

    /// Two workers share the partitions. When one is killed the other takes them all, and a third one that starts gets
    /// its share.
    #[test]
    fn workers_on_rabbitmq_share_the_partitions_when_one_comes_or_goes() {
        let (postgres, redis) = (Postgres::shared(), Redis::shared());
        let broker = RabbitMq::shared();
        let (database, port) = (postgres.create_database(), redis.port().to_string());
        let (number, url, name) = (redis.fresh_db().to_string(), broker.url(), broker.fresh_name());
        let environment = [
            ("WRITE_DB_URL", database.as_str()),
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", &port),
            ("REDIS_DB", &number),
            ("QUEUE_MODE", "always"),
            ("QUEUE_CONSUME", "off"),
            ("QUEUE_URL", &url),
            ("QUEUE_NAME", &name),
        ];
        let place = Workplace::new();
        // One schedule for each of the four partitions.
        (0..4).for_each(|_| place.import_hall(&environment));
        let service = place.serve(&environment);
        let worker = || place.start(&[PROGRAM, "worker"], &environment);
        let buy = |seats: std::ops::Range<u32>| {
            let mut places = Vec::new();
            for seat in seats {
                for schedule in 1..=4 {
                    let (schedule, seat) = (schedule.to_string(), format!("1-1-{seat}"));
                    let customer = format!("c{schedule}-{seat}");
                    let body = json!({"schedule_id": schedule, "seats": [seat],
                        "customer_id": customer});
                    let end = Instant::now() + SOON;
                    let taken = loop {
                        let (status, taken) = service.post("/api/v1/bookings", &body);
                        if status == 202 {
                            break taken;
                        }
                        // New queues may refuse for a moment.
                        assert!(status == 503 && Instant::now() < end, "{taken}");
                    };
                    places.push(format!(
                        "/api/v1/booking-requests/{}",
                        taken["id"].as_str().unwrap()
                    ));
                }
            }
            for place in places {
                let over = outcome(&service, &place);
                assert_eq!(over["status"], "succeeded", "{over}");
            }
        };

        let (first, second) = (worker(), worker());
        until_shared(&[&first, &second], &[2, 2]);
        buy(1..3);
        assert_eq!((work(&first).1, work(&second).1), (4, 4), "each has half of the partitions");

        first.process.kill();
        let killed = Instant::now();
        until_shared(&[&second], &[4]);
        assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
        buy(3..5);
        assert_eq!(work(&second).1, 4 + 8, "it executes everything");

        let third = worker();
        until_shared(&[&second, &third], &[2, 2]);
        buy(5..7);
        assert_eq!((work(&second).1, work(&third).1), (4 + 8 + 4, 4));
        assert_eq!((third.stop(), second.stop(), service.stop()), (0, 0, 0));
        let violations = place.run_with(&["verify"], &environment, "");
        assert_eq!(violations.code, 0, "{violations:?}");
    }
}

#[test]
fn a_worker_without_a_queue_says_what_is_missing() {
    let ended = Workplace::new().run(&["worker"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("QUEUE_MODE=off") && ended.stderr.contains("set QUEUE_MODE"));
    let neither = Workplace::new().run(&["queue", "drop"]);
    assert_eq!(neither.code, 2, "which one? {neither:?}");
}
