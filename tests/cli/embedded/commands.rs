//! The small commands, and the command line itself.

use serde_json::{Value, json};

use crate::program::{PROGRAM, Workplace, project, shell};

#[test]
fn openapi_prints_a_document_with_every_route() {
    let ended = Workplace::new().run(&["openapi"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&ended.stdout).unwrap();
    let documented = document["paths"].as_object().unwrap();
    let routes = std::fs::read_to_string(project("src/http/routes.rs")).unwrap();
    let paths = routes.split("at(").skip(1).filter_map(|rest| {
        let path = rest.trim_start().strip_prefix("\"/")?;
        Some(format!("/{}", path.split('"').next()?))
    });
    let is_page_of_documents = |path: &str| path == "/openapi.json" || path.starts_with("/docs");
    let served: Vec<String> = paths.filter(|path| !is_page_of_documents(path)).collect();
    assert!(served.len() > 15, "the routes were not found: {served:?}");
    for path in served {
        let scoped = format!("/api/v1{path}");
        let is_documented =
            documented.keys().any(|known| [&path, &scoped].contains(&&known.replace("_id}", "}")));
        assert!(is_documented, "{path} is not in {:?}", documented.keys());
    }
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let ended = shell(&format!("set -o pipefail; {PROGRAM} openapi | head -n 1"), &[]);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "{\n", ""));
}

#[test]
fn migrating_a_second_time_changes_nothing() {
    let place = Workplace::new();
    // MIGRATE applies to `serve` only; this command migrates explicitly.
    let off = [("MIGRATE", "off")];
    let first = place.run_with(&["migrate"], &off, "");
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stdout.starts_with("the schema is up to date: "), "{first:?}");
    let second = place.run_with(&["migrate"], &off, "");
    assert_eq!((second.code, second.stdout.as_str()), (0, "the schema is up to date already\n"));
    assert_eq!(place.serve(&off).get("/livez").0, 200);
}

#[test]
fn without_its_schema_and_leave_to_migrate_it_says_what_to_do() {
    let ended = Workplace::new().run_with(&[], &[("MIGRATE", "off"), ("BIND", "127.0.0.1:0")], "");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("run `seatlock migrate` or set MIGRATE=on"), "{ended:?}");
}

#[test]
fn healthcheck_is_0_for_a_service_that_is_alive_and_1_for_one_that_is_gone() {
    let place = Workplace::new();
    let service = place.serve(&[]);
    let bind = service.address.trim_start_matches("http://").to_owned();
    for url in [service.address.clone(), format!("{}/readyz", service.address)] {
        let ended = place.run(&["healthcheck", &url]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{url}");
    }
    let port = bind.rsplit(':').next().unwrap();
    for bind in [bind.clone(), format!("localhost:{port}")] {
        assert_eq!(place.run_with(&["healthcheck"], &[("BIND", &bind)], "").code, 0, "{bind}");
    }
    let nothing = place.run(&["healthcheck", &format!("{}/nothing", service.address)]);
    assert_eq!(nothing.code, 1);
    assert!(nothing.stderr.contains("404"), "{nothing:?}");

    assert_eq!(service.stop(), 0);
    let gone = place.run_with(&["healthcheck"], &[("BIND", &bind)], "");
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.starts_with(&format!("seatlock: http://{bind}/livez: ")), "{gone:?}");
}

#[test]
fn a_database_that_is_clean_is_verified_and_left_as_it_is() {
    let place = Workplace::new();
    let service = place.serve(&[]);
    let (_, schedules) = service.get("/api/v1/events/1/schedules");
    let schedule = schedules["items"][0]["id"].as_str().unwrap();
    let (_, map) = service.get(&format!("/api/v1/schedules/{schedule}/seats?limit=1"));
    let seat = &map["seats"][0]["label"];
    let hold = json!({"schedule_id": schedule, "seats": [seat], "customer_id": "ada"});
    assert_eq!(service.post("/api/v1/holds", &hold).0, 201);
    // While it is served, and after that.
    let served = place.run(&["verify", "--format", "json"]);
    assert_eq!(served.code, 0, "{served:?}");
    let document: Value = serde_json::from_str(&served.stdout).unwrap();
    assert_eq!((&document["violations"], &document["audited"]["claims"]), (&json!([]), &json!(1)));
    assert_eq!(service.stop(), 0);
    let before = std::fs::read(place.folder.path().join("seatlock.db")).unwrap();
    let ended = place.run(&["verify"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert!(ended.stdout.ends_with(" 0 violations\n"), "{ended:?}");
    assert!(std::fs::read(place.folder.path().join("seatlock.db")).unwrap() == before);
}

#[test]
fn a_database_that_is_not_there_is_not_made_by_verifying_it() {
    let place = Workplace::new();
    let ended = place.run(&["verify"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(ended.stderr.contains("could not be audited"), "{ended:?}");
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_healthcheck_does_not_wait_for_a_service_that_hangs() {
    let place = Workplace::new();
    let service = place.serve(&[]);
    service.process.pause();
    let began = std::time::Instant::now();
    let ended = place.run(&["healthcheck", &service.address]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let place = Workplace::new();
    for arguments in [
        &["sell"][..],
        &["--port", "80"],
        &["healthcheck", "ftp://a"],
        &["import", "plan.json"],
        &["import", "-", "--dry-run", "--price", "99.00"],
        &["import", "-", "--dry-run", "--hold-ttl-s", "86400"],
    ] {
        let ended = place.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{arguments:?} {ended:?}");
        assert!(!ended.stderr.is_empty());
    }
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn help_names_every_command() {
    let ended = Workplace::new().run(&["--help"]);
    assert_eq!(ended.code, 0);
    for command in
        ["serve", "migrate", "import", "config", "verify", "backup", "openapi", "healthcheck"]
    {
        let listed = |line: &str| line.trim_start().starts_with(&format!("{command} "));
        assert!(ended.stdout.lines().any(listed), "{command}: {}", ended.stdout);
    }
}
