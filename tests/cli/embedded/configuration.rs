//! Configuration: all problems together, before anything starts; `config check` and `config list`.

use crate::program::Workplace;

const WRONG: [(&str, &str); 3] =
    [("BIND", "8080"), ("HOLD_TTL", "soon"), ("WRITE_DB_URL", "mysql://u:hunter2@db")];

#[test]
fn all_problems_are_reported_together_and_nothing_starts() {
    let place = Workplace::new();
    let import = ["import", "-", "--event", "A", "--starts-at", "2999-01-01T20:00:00Z"];
    for arguments in [&[][..], &["serve"], &["migrate"], &["config", "check"], &import] {
        let ended = place.run_with(arguments, &WRONG, "");
        assert_eq!((ended.code, ended.stdout.as_str()), (78, ""), "{arguments:?}");
        assert!(ended.stderr.contains("the configuration has 3 problems:\n"), "{}", ended.stderr);
        for (name, _) in WRONG {
            assert!(ended.stderr.contains(&format!("\n  {name}=")), "{}", ended.stderr);
        }
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_check_of_a_good_configuration_prints_what_is_in_effect_and_touches_nothing() {
    let place = Workplace::new();
    let ended = place.run_with(&["config", "check"], &[("HOLD_TTL", "5m")], "");
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert!(ended.stdout.starts_with("the configuration is fine: sqlite, "), "{}", ended.stdout);
    assert!(ended.stdout.contains(" HOLD_TTL=5m "), "{}", ended.stdout);
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_file_that_is_no_key_is_refused_by_its_size() {
    let place = Workplace::new();
    place.write("large", &"x".repeat((1 << 20) + 1));
    for (name, file) in [
        ("ADMIN_API_KEY_FILE", "large"),
        ("ADMIN_API_KEY_FILE", "/dev/zero"),
        ("WRITE_DB_URL_FILE", "/dev/zero"),
        ("REDIS_TLS_CA", "/dev/zero"),
    ] {
        let variables = [(name, file), ("REDIS_TLS", "on"), ("REDIS_HOST", "127.0.0.1")];
        let ended = place.run_with(&["config", "check"], &variables, "");
        assert_eq!(ended.code, 78, "{name}={file}: {ended:?}");
        let named = format!("{name}=\"{file}\": expected");
        assert!(ended.stderr.contains(&named) && ended.stderr.contains("1 MiB"), "{ended:?}");
    }
    place.write(".env", &"# \n".repeat(1 << 19));
    let ended = place.run_with(&["config", "check"], &[], "");
    assert!(ended.code == 78 && ended.stderr.contains("at most 1 MiB"), "{ended:?}");
}

#[test]
fn a_value_that_a_library_cannot_read_at_the_start_is_refused_by_the_check() {
    let place = Workplace::new();
    place.write("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (name, value) in [("RUST_LOG", "info,seatlock=loud"), ("REDIS_TLS_CA", "ca.pem")] {
        let variables = [(name, value), ("REDIS_TLS", "on"), ("REDIS_HOST", "127.0.0.1")];
        let ended = place.run_with(&["config", "check"], &variables, "");
        assert_eq!(ended.code, 78, "{name}={value}: {ended:?}");
        assert!(ended.stderr.contains(&format!("{name}=\"{value}\": expected")), "{ended:?}");
    }
}

#[test]
fn the_path_of_the_database_is_a_name_and_no_url() {
    for name in ["s.db?mode=memory", "50%25.db", "file:s.db", "a#b.db", "file:s.db?mode=memory"] {
        let place = Workplace::new();
        let ended = place.run_with(&["migrate"], &[("SQLITE_PATH", name)], "");
        assert_eq!(ended.code, 0, "{name}: {ended:?}");
        assert!(place.files().iter().any(|file| file == name), "{name}: {:?}", place.files());
        let backup = format!("copy of {name}");
        let ended = place.run_with(&["backup", &backup], &[("SQLITE_PATH", name)], "");
        assert_eq!(ended.code, 0, "{name}: {ended:?}");
        assert!(place.files().contains(&backup), "{name}: {:?}", place.files());
        let ended = place.run_with(&["backup", "file:copy.db"], &[("SQLITE_PATH", name)], "");
        assert_eq!(ended.code, 0, "{name}: {ended:?}");
        assert!(place.files().contains(&"file:copy.db".to_owned()), "{:?}", place.files());
    }
    let place = Workplace::new();
    for url in [":memory:", "sqlite:s.db", "sqlite://s.db"] {
        let ended = place.run_with(&["migrate"], &[("SQLITE_PATH", url)], "");
        assert_eq!(ended.code, 78, "{url}: {ended:?}");
    }
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_check_shows_what_is_suspicious() {
    let ended = Workplace::new().run_with(&["config", "check"], &[("HOLD_TLL", "5m")], "");
    assert_eq!(ended.code, 0);
    assert!(ended.stdout.contains("warning: HOLD_TLL is no variable of seatlock: did you mean"));
}

#[test]
fn the_env_file_of_the_folder_counts_and_the_environment_wins_over_it() {
    let place = Workplace::new();
    place.write(".env", "HOLD_TTL=5m\nBIND=127.0.0.1:1234\n");
    let ended = place.run_with(&["config", "check"], &[("BIND", "127.0.0.1:4321")], "");
    assert!(ended.stdout.contains(" HOLD_TTL=5m "), "{}", ended.stdout);
    assert!(ended.stdout.contains(" BIND=127.0.0.1:4321 "), "{}", ended.stdout);
}

#[test]
fn every_variable_is_listed_with_default_and_meaning_also_beside_a_broken_configuration() {
    let place = Workplace::new();
    let columns = place.run_with(&["config", "list"], &WRONG, "");
    assert_eq!((columns.code, columns.stderr.as_str()), (0, ""));
    let markdown = place.run_with(&["config", "list", "--markdown"], &WRONG, "");
    let variables = seatlock::config::variables();
    assert_eq!(columns.stdout.lines().count(), variables.len());
    assert_eq!(markdown.stdout.lines().count(), variables.len() + 2);
    for variable in &variables {
        let row = |line: &str| {
            line.contains(variable.name)
                && line.contains(variable.default.as_deref().unwrap_or_default())
                && line.contains(variable.help)
        };
        assert!(columns.stdout.lines().any(row), "{}", variable.name);
        assert!(markdown.stdout.lines().any(row), "{}", variable.name);
    }
}
