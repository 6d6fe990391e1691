//! Tests of the whole configuration. They do not use the process environment.

use std::io;
use std::time::Duration;

use super::*;

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The configuration that these variables give.
pub(super) fn config(pairs: &[(&str, &str)]) -> Config {
    Config::from_vars(&vars(pairs)).map_err(ConfigProblems).unwrap()
}

/// The problems that these variables have, as they are printed.
pub(super) fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    let problems = Config::from_vars(&vars(pairs)).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

/// The value that `read` returns for these variables, and the problems that it finds.
pub(super) fn with_reader<T>(
    pairs: &[(&str, &str)],
    read: impl FnOnce(&mut Reader<'_>) -> T,
) -> (T, Vec<String>) {
    let vars = vars(pairs);
    let mut reader = Reader::new(&vars, &no_files);
    let value = read(&mut reader);
    (value, reader.problems.iter().map(ToString::to_string).collect())
}

#[test]
fn without_any_variable_it_runs_on_a_file_and_locks_in_the_process() {
    let config = config(&[]);
    let Database::Sqlite { path } = config.database.backend() else { panic!("no file") };
    assert_eq!(path, Path::new("./seatlock.db"));
    assert!(config.redis.is_none() && config.http.admin_api_key.is_none());
    assert_eq!(config.http.bind.to_string(), "127.0.0.1:8080");
    assert_eq!((config.http.body_limit, config.http.plan_body_limit), (1 << 20, 64 << 20));
    assert_eq!((config.database.write_pool, config.database.read_pool), (None, 8));
    assert_eq!((config.reservation.batch_max, config.reservation.pending_max), (256, 4096));
    assert_eq!(config.reservation.idempotency_ttl, Duration::from_secs(86_400));
    assert_eq!(config.seat_lock.round_trip, Duration::from_millis(50));
    assert_eq!(config.queue.mode, QueueMode::Off);
    assert_eq!(config.log.format, LogFormat::Auto);
    assert_eq!(config.log.filter, "info,sea_orm_migration=warn,actix_server=warn,lapin=off");
    assert!(config.database.migrate);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn every_documented_default_is_the_default() {
    let unset = config(&[]);
    let defaults = variables();
    let pairs: Vec<(&str, &str)> =
        defaults.iter().filter_map(|v| Some((v.name, v.default.as_deref()?))).collect();
    let set = config(&pairs);
    assert_eq!(set.summary(), unset.summary());
    let without_warnings = Config { warnings: Vec::new(), ..set };
    assert_eq!(format!("{without_warnings:?}"), format!("{unset:?}"));
}

#[test]
fn bad_values_of_every_section_are_reported_together() {
    let bad = [
        ("BIND", "8080"),
        ("ADMIN_API_KEY", "short"),
        ("REQUEST_TIMEOUT", "soon"),
        ("BODY_LIMIT", "1MB"),
        ("RATE_LIMIT", "0"),
        ("WRITE_DB_URL", "mysql://db"),
        ("WRITE_DB_POOL", "0"),
        ("MIGRATE", "maybe"),
        ("LOCK_ROUND_TRIP", "0"),
        ("REDIS_MODE", "ring"),
        ("REDIS_HOST", "cache:6379"),
        ("REDIS_NODES", "a,b"),
        ("HOLD_TTL", "-1"),
        ("BATCH_MAX", "+5"),
        ("QUEUE_MODE", "yes"),
        ("REPLICAS", "two"),
        ("LOG_FORMAT", "xml"),
    ];
    let found = problems(&bad);
    for (name, _) in bad {
        let about = found.iter().filter(|problem| problem.starts_with(&format!("{name}="))).count();
        assert_eq!(about, 1, "{name}: {found:?}");
    }
    assert_eq!(found.len(), bad.len());
    assert!(found.iter().all(|problem| problem.lines().count() == 1));
}

#[test]
fn secrets_are_never_shown() {
    let key = "hunter2-hunter2-hunter2";
    let good = [
        ("ADMIN_API_KEY", key),
        ("WRITE_DB_URL", "postgres://u:hunter2@primary/s?password=hunter2"),
        ("READ_DB_URL", "postgres://u:hunter2@replica/s"),
        ("REDIS_HOST", "cache"),
        ("REDIS_PASSWORD", "hunter2"),
        ("REDIS_PASSWROD", "hunter2"),
        ("REDIS_SENTINEL_PASSWORD", "hunter2"),
        ("QUEUE_URL", "amqp://u:hunter2@mq"),
    ];
    let config = config(&good);
    let shown =
        format!("{config:?} {} {:?}", config.summary(), config.settings().collect::<Vec<_>>());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(config.summary().contains("WRITE_DB_URL=postgres://u:[redacted]@primary/s?[redacted]"));

    for broken in ["hunter2 x", "hunter2:hunter2@hunter2@x", "x://hunter2:hunter2@db"] {
        let bad: Vec<(&str, &str)> = variables().iter().map(|v| (v.name, broken)).collect();
        let wrong = Config::from_vars(&vars(&bad)).unwrap_err();
        let secret = variables().into_iter().filter(|v| v.secret);
        for problem in secret.filter_map(|v| wrong.iter().find(|p| p.variable == v.name)) {
            assert!(!format!("{problem} {problem:?}").contains("hunter2"), "{problem}");
        }
    }
}

#[test]
fn the_summary_is_one_line_of_the_settings_in_effect() {
    let summary = config(&[("RUST_LOG", "info,\nseatlock=debug"), ("HOLD_TTL", "5m")]).summary();
    assert_eq!(summary.lines().count(), 1);
    assert!(
        summary.starts_with("sqlite, seat locks in this process (safe for one replica): BIND=")
    );
    assert!(summary.contains(" HOLD_TTL=5m ") && !summary.contains("REDIS_"), "{summary}");
    let summary = config(&[("WRITE_DB_URL", "postgres://db/s"), ("REDIS_HOST", "c")]).summary();
    assert!(summary.starts_with("postgresql, seat locks in redis: "));
    assert!(summary.contains(" REDIS_HOST=c ") && !summary.contains("SQLITE_PATH"), "{summary}");
}

#[test]
fn a_secret_may_be_in_a_file() {
    let read = |path: &Path| match path.to_str() {
        Some("/run/key") => Ok("0123456789abcdef\r\n".to_owned()),
        Some("/run/empty") => Ok("\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    let from = |pairs: &[(&str, &str)]| Config::from_vars_and_files(&vars(pairs), &read);
    let found = |pairs: &[(&str, &str)]| from(pairs).unwrap_err().remove(0).to_string();

    let config = from(&[("ADMIN_API_KEY_FILE", "/run/key"), ("BIND", "[::]:80")]).unwrap();
    assert_eq!(config.http.admin_api_key.unwrap().expose(), "0123456789abcdef");
    assert_eq!(
        found(&[("ADMIN_API_KEY_FILE", "/run/none"), ("BIND", "[::]:80")]),
        "ADMIN_API_KEY_FILE=\"/run/none\": expected a readable text file of at most 1 MiB, but: entity not found; \
         for example ADMIN_API_KEY_FILE=/run/secrets/admin_api_key"
    );
    assert!(found(&[("REDIS_PASSWORD_FILE", "/run/empty")]).contains("but it is empty"));
    assert!(
        found(&[("REDIS_PASSWORD_FILE", "/run/key"), ("REDIS_PASSWORD", "hunter2")])
            .contains("expected no value, since REDIS_PASSWORD is set too")
    );
}

#[test]
fn every_variable_is_declared_once_with_a_help_text() {
    let variables = variables();
    for Variable { name, help, .. } in &variables {
        assert_eq!(variables.iter().filter(|other| other.name == *name).count(), 1, "{name}");
        assert!(!help.is_empty() && !help.ends_with('.'), "{name}");
    }
}
