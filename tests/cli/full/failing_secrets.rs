//! In whatever way a variable with a secret fails, no command prints the secret.

use test_support::Postgres;

use crate::program::{Ended, PROGRAM, Workplace, shell};

/// How every secret below begins, as it is written in a variable and as it is percent-encoded.
const PLANTED: [&str; 2] = ["planted-", "planted%2D"];

const COMMANDS: [&str; 8] = [
    "config check",
    "serve",
    "worker",
    "migrate",
    "verify",
    "queue list",
    "backup copy.db",
    "healthcheck",
];

/// Variables besides the one that fails.
type Variables<'a> = &'a [(&'a str, &'a str)];

/// Runs a command in this folder; one that would serve is stopped after some seconds.
fn run(place: &Workplace, command: &str, environment: &[(&str, &str)]) -> Ended {
    let folder = place.folder.path().display();
    let always = [("RUST_LOG", "trace"), ("BIND", "127.0.0.1:0"), ("DRAIN_DELAY", "1ms")];
    let environment = [&always, environment].concat();
    shell(&format!("cd {folder} && timeout 2 {PROGRAM} {command}"), &environment)
}

/// Runs every command while a variable has this value, given directly and by a file, and checks that no output
/// has it. `refused`: whether `config check` refuses it.
fn never_printed(name: &str, value: &str, others: Variables<'_>, refused: bool) {
    let place = Workplace::new();
    place.write("secret", &format!("{value}\n"));
    let file = format!("{name}_FILE");
    let ways = [(name, value, "json"), (file.as_str(), "secret", "text")];
    for (name, value, format) in ways {
        let environment = [others, &[(name, value), ("LOG_FORMAT", format)]].concat();
        for command in COMMANDS {
            let ended = run(&place, command, &environment);
            let printed = format!("{}{}", ended.stdout, ended.stderr);
            let shown = printed.lines().find(|line| PLANTED.iter().any(|word| line.contains(word)));
            assert!(shown.is_none(), "{command} with {name}={value} prints {shown:?}");
            if command == "config check" {
                let expected = if refused { 78 } else { 0 };
                assert_eq!(ended.code, expected, "{command} with {name}={value}: {ended:?}");
            }
        }
    }
}

#[test]
fn urls_that_cannot_be_read_are_refused_by_the_check_of_the_configuration() {
    for url in [
        "postgres://u:planted-word@<host>/db",
        "postgres://u:planted-word@[fe80::1%eth0]/db",
        "postgres://u:planted-word@db^1/db",
        "postgres://u:planted-word@db:99999/db",
        "postgres://u:planted-word@db/db?sslmode=perhaps",
        "mysql://u:planted-word@db/db",
    ] {
        never_printed("WRITE_DB_URL", url, &[], true);
    }
    let url = "postgres://u:planted-word@<host>/db";
    never_printed("READ_DB_URL", url, &[("WRITE_DB_URL", "postgres://127.0.0.1:1/db")], true);
    let queue = [("QUEUE_MODE", "prefer")];
    for url in [
        "amqp://u:planted-word@<host>/",
        "kafka://u:planted-word@mq:9092",
        "nats://u:planted-word@mq",
    ] {
        never_printed("QUEUE_URL", url, &queue, true);
    }
    never_printed("ADMIN_API_KEY", "planted- key with blanks", &[], true);
}

#[test]
fn unusable_databases_are_reported_without_their_passwords() {
    let postgres = Postgres::shared();
    let good = postgres.create_database();
    let port = postgres.port();
    let wrong = format!("postgres://app:planted-word@127.0.0.1:{port}/none");
    for url in [
        "postgres://u:planted-word@127.0.0.1:1/db",
        "postgres://u:planted%2Dcoded@127.0.0.1:1/db",
        "postgres://127.0.0.1:1/db?user=u&password=planted-word&unknown=planted-unknown",
        &wrong,
        &format!("{wrong}?sslmode=require"),
    ] {
        never_printed("WRITE_DB_URL", url, &[], false);
    }
    let no_authority = format!("{wrong}?sslmode=verify-full&sslrootcert=/none");
    never_printed("WRITE_DB_URL", &no_authority, &[], true);
    never_printed("READ_DB_URL", &wrong, &[("WRITE_DB_URL", &good)], false);
}

#[test]
fn unreachable_queues_and_locks_are_reported_without_their_passwords() {
    let queue = [("QUEUE_MODE", "prefer")];
    if cfg!(feature = "rabbitmq") {
        for url in
            ["amqp://u:planted-word@127.0.0.1:1/%2f", "amqps://u:planted%2Dcoded@127.0.0.1:1/"]
        {
            never_printed("QUEUE_URL", url, &queue, false);
        }
    }
    let redis = [("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", "1")];
    never_printed("REDIS_PASSWORD", "planted-word", &redis, false);
    let encrypted = [&redis[..], &[("REDIS_TLS", "on"), ("REDIS_USERNAME", "shop")]].concat();
    never_printed("REDIS_PASSWORD", "planted-word \"quoted\"", &encrypted, false);
    let sentinels = [
        ("REDIS_MODE", "sentinel"),
        ("REDIS_NODES", "127.0.0.1:1"),
        ("REDIS_SENTINEL_MASTER", "shop"),
    ];
    never_printed("REDIS_SENTINEL_PASSWORD", "planted-word", &sentinels, false);
}
