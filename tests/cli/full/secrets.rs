//! No secret is ever printed: not in the log, not in a response, not in metrics, whatever fails.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use test_support::{Access, Postgres, Redis};

use crate::program::{SOON, Service, Workplace, shell};

const DATABASE: &str = "planted-database-password";
const REDIS: &str = "planted-redis-password";
const SENTINEL: &str = "planted-sentinel-password";
const QUEUE: &str = "planted-queue-password";
const ADMIN: &str = "planted-admin-key-0123456789";
const STRANGER: &str = "planted-stranger-key";
const COOKIE: &str = "planted-cookie";
const QUERY: &str = "planted-query";

/// All secrets; they begin alike, so that a part of one is found too.
const PLANTED: &str = "planted-";

/// What PostgreSQL says to the service.
const WRONG_PASSWORD: &str = "password authentication failed for user";

static NEXT_SEAT: AtomicU32 = AtomicU32::new(1);

/// A PostgreSQL that asks `seller` for a password, and its database.
fn guarded_postgres() -> (Postgres, String, String) {
    let postgres = Postgres::start(&[]);
    let url = postgres.create_database();
    let (_, name) = url.rsplit_once('/').unwrap();
    postgres.psql(&url, &format!("CREATE ROLE seller LOGIN PASSWORD '{DATABASE}'"));
    postgres.psql(&url, &format!("ALTER DATABASE {name} OWNER TO seller"));
    let rules = postgres.psql(&url, "SHOW hba_file");
    let rules = Path::new(rules.trim());
    let before = std::fs::read_to_string(rules).unwrap();
    let asked = "host all seller 127.0.0.1/32 scram-sha-256";
    std::fs::write(rules, format!("{asked}\n{before}")).unwrap();
    postgres.psql(&url, "SELECT pg_reload_conf()");
    let seller = format!("postgres://seller:{DATABASE}@127.0.0.1:{}/{name}", postgres.port());
    (postgres, url, seller)
}

/// What the service answers, head and body, to everybody who asks in some way.
fn answers(service: &Service) -> String {
    let json = "-H 'Content-Type: application/json'";
    let admin = format!("-H 'Authorization: Bearer {ADMIN}'");
    let stranger = format!("-H 'Authorization: Bearer {STRANGER}' -H 'Cookie: id={COOKIE}'");
    // A seat that is sold already is refused without asking Redis.
    let seat = NEXT_SEAT.fetch_add(1, Ordering::Relaxed);
    let book = format!(r#"-d '{{"schedule_id":"1","seats":["A-1-{seat}"],"customer_id":"ada"}}'"#);
    let asked = [
        format!("{admin} /api/v1/events?token={QUERY}"),
        format!("{admin} /api/v1/events"),
        format!("{stranger} /api/v1/events"),
        format!("{admin} {json} {book} /api/v1/bookings"),
        format!("{admin} {json} {book} /api/v1/holds"),
        format!("{admin} {json} -d '{{' /api/v1/bookings"),
        format!("{admin} /api/v1/bookings/1-01890a5d-ac96-774b-bcce-b302099a8057"),
        format!("{admin} /api/v1/schedules/1/seats"),
        format!("{stranger} /readyz?verbose"),
        format!("{stranger} /metrics"),
        format!("{stranger} /nowhere?token={QUERY}"),
    ];
    let mut printed = String::new();
    for line in asked {
        let (options, path) = line.rsplit_once(' ').unwrap();
        let ended = shell(&format!("curl -sSi {options} '{}{path}'", service.address), &[]);
        assert_eq!(ended.code, 0, "{ended:?}");
        printed += &ended.stdout;
    }
    printed
}

fn assert_no_secret(what: &str, text: &str) {
    let found: Vec<&str> = text.lines().filter(|line| line.contains(PLANTED)).collect();
    assert!(found.is_empty(), "{what} tells: {found:#?}");
}

/// Asks until a check of the service fails for this reason.
fn until_it_fails(service: &Service, check: &str, reason: &str) -> String {
    let mut printed = String::new();
    let end = std::time::Instant::now() + SOON;
    while !service.get("/readyz?verbose").1["checks"][check].to_string().contains(reason) {
        assert!(std::time::Instant::now() < end, "{check} does not fail: {printed}");
        printed += &answers(service);
    }
    printed
}

/// Puts a schedule on sale.
fn sell(service: &Service) {
    let plan = r#"{"sections":[{"name":"A","rows":1,"seats_per_row":1000,"price":1}]}"#;
    let schedule = format!(r#"{{"starts_at":"2999-01-01T20:00:00Z","seat_plan":{plan}}}"#);
    for (path, body) in [("events", r#"{"name":"A"}"#), ("events/1/schedules", &schedule)] {
        let headers =
            format!("-H 'Content-Type: application/json' -H 'Authorization: Bearer {ADMIN}'");
        let url = format!("{}/api/v1/{path}", service.address);
        let ended = shell(&format!("curl -sS --fail {headers} -d '{body}' {url}"), &[]);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
}

#[test]
fn a_running_service_tells_no_secret_in_health_or_in_trouble() {
    let (postgres, url, seller) = guarded_postgres();
    let redis = Redis::start_with(&[], &Access::by_password(REDIS));
    let port = redis.port().to_string();
    let queue = format!("amqp://shop:{QUEUE}@127.0.0.1/");
    let service = Workplace::new().serve(&[
        ("WRITE_DB_URL", seller.as_str()),
        ("READ_DB_URL", &seller),
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", &port),
        ("REDIS_PASSWORD", REDIS),
        ("REDIS_SENTINEL_PASSWORD", SENTINEL),
        ("QUEUE_URL", &queue),
        ("ADMIN_API_KEY", ADMIN),
        ("RUST_LOG", "trace"),
    ]);
    sell(&service);
    let healthy = answers(&service);
    assert!(healthy.contains("\r\nx-request-id: "), "{healthy}");
    assert_no_secret("a healthy service", &healthy);

    // From here on every password is wrong.
    redis.cli(&["config", "set", "requirepass", "another"]);
    let kick = format!("redis-cli -p {port} -a another --no-auth-warning client kill type normal");
    assert_eq!(shell(&kick, &[]).code, 0);
    assert_no_secret(
        "a service without Redis",
        &until_it_fails(&service, "seat locks", "bypassed"),
    );
    postgres.psql(&url, "ALTER ROLE seller PASSWORD 'another'");
    let sessions =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'seller'";
    postgres.psql(&url, sessions);
    for check in ["write database", "read database"] {
        assert_no_secret(check, &until_it_fails(&service, check, WRONG_PASSWORD));
    }
    let troubled = answers(&service);
    assert!(troubled.contains(WRONG_PASSWORD), "{troubled}");
    assert!(troubled.contains("503 Service Unavailable"), "{troubled}");
    assert_no_secret("a troubled service", &troubled);

    service.stop();
    let output = service.process.output();
    assert!(output.contains(WRONG_PASSWORD), "{output}");
    assert!(output.contains("seat locks are bypassed"), "{output}");
    assert!(
        output.contains("recovers: seat locks failed: Password authentication failed"),
        "{output}"
    );
    assert!(output.contains("WRITE_DB_URL=postgres://seller:[redacted]@"), "{output}");
    assert_no_secret("the log", &output);
}

#[test]
fn a_service_that_cannot_start_tells_no_secret() {
    let (postgres, _, seller) = guarded_postgres();
    let port = postgres.port();
    let wrong = seller.replace(DATABASE, "planted-wrong-password");
    let spaced = format!("postgres://seller:planted- {DATABASE}@127.0.0.1:{port}/x");
    let scheme = seller.replace("postgres://", "mysql://");
    let query = format!("postgres://seller@127.0.0.1:{port}/x?password={DATABASE}&sslmode=perhaps");
    let sentinels = [
        ("REDIS_MODE", "sentinel"),
        ("REDIS_NODES", "planted-user:planted-word@127.0.0.1:1"),
        ("REDIS_SENTINEL_PASSWORD", SENTINEL),
        ("REDIS_PASSWORD", REDIS),
    ];
    let environments: [&[(&str, &str)]; 8] = [
        &[("WRITE_DB_URL", &wrong)],
        &[("WRITE_DB_URL", &spaced)],
        &[("WRITE_DB_URL", &scheme)],
        &[("WRITE_DB_URL", &query)],
        &[("READ_DB_URL", &seller)],
        &[("ADMIN_API_KEY", "planted-\u{e9}")],
        &[("REDIS_HOST", "redis://shop:planted-in-a-host@127.0.0.1"), ("REDIS_USERNAME", "shop")],
        &sentinels,
    ];
    let place = Workplace::new();
    for environment in environments {
        for command in [&["serve"][..], &["migrate"], &["verify"], &["config", "check"]] {
            let debug = [environment, &[("RUST_LOG", "trace"), ("MIGRATE", "off")]].concat();
            let ended = place.run_with(command, &debug, "");
            let printed = format!("{}{}", ended.stdout, ended.stderr);
            assert_no_secret(&format!("{command:?}"), &printed);
            assert!(!printed.is_empty());
            assert!(ended.code != 0 || command == ["config", "check"], "{command:?} {ended:?}");
        }
    }
}
