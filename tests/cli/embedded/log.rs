//! The log: a separate stream, with JSON lines for machines and text for people.

use serde_json::Value;

use crate::program::{PROGRAM, Workplace, shell};

#[test]
fn without_a_terminal_the_log_is_json_lines_and_only_the_banner_is_on_the_standard_output() {
    let place = Workplace::new();
    let line = format!("exec {PROGRAM} 2>log");
    let service = place.start(&["bash", "-c", &line], &[]);
    assert_eq!(service.commands().len(), 3);
    assert_eq!(service.stop(), 0);
    let output = service.process.output();
    assert!(!output.contains("\"level\""), "{output}");

    let log = std::fs::read_to_string(place.folder.path().join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        for name in ["ts", "level", "target", "msg"] {
            assert!(line[name].is_string(), "{line}");
        }
    }
    let said = |text: &str| lines.iter().any(|line| line["msg"].as_str().unwrap().contains(text));
    assert!(said(&format!("listening on {}", service.address)), "{log}");
    assert!(said("safe for one replica: set REDIS_HOST"), "{log}");
    assert!(said("BIND=127.0.0.1:0 "), "the configuration is summed up in a line: {log}");
    let chatter = |line: &&Value| {
        let target = line["target"].as_str().unwrap();
        target.starts_with("sea_orm_migration") || target.starts_with("actix_server")
    };
    assert_eq!(lines.iter().find(chatter), None);
}

#[test]
fn a_request_that_is_logged_carries_its_id() {
    let service = Workplace::new().serve(&[("RUST_LOG", "debug"), ("LOG_FORMAT", "json")]);
    let request = format!("curl -sS -H 'X-Request-Id: abc-123' {}/livez", service.address);
    assert_eq!(shell(&request, &[]).code, 0);
    assert_eq!(service.stop(), 0);
    let log = service.log();
    assert!(log.iter().any(|line| line["request_id"] == "abc-123"), "{log:?}");
}

#[test]
fn a_request_in_a_trace_is_logged_with_the_trace_and_returns_it() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let service = Workplace::new().serve(&[("RUST_LOG", "debug"), ("LOG_FORMAT", "json")]);
    let ask = |id: &str, traceparent: &str| {
        let headers = format!("-H 'X-Request-Id: {id}' -H 'traceparent: {traceparent}'");
        shell(&format!("curl -sSi {headers} {}/api/v1/events/7", service.address), &[]).stdout
    };
    let answer = ask("in-trace", &format!("00-{TRACE}-00f067aa0ba902b7-01"));
    assert!(answer.contains("x-request-id: in-trace\r\n"), "{answer}");
    assert!(answer.contains("\"request_id\":\"in-trace\""), "{answer}");
    let response = answer.lines().find_map(|line| line.strip_prefix("traceresponse: 00-"));
    let span = response.and_then(|response| response.strip_prefix(&format!("{TRACE}-")));
    let span = span.and_then(|rest| rest.strip_suffix("-00")).unwrap();
    let answer = ask("no-trace", &format!("00-{TRACE}-0000000000000000-01"));
    assert!(!answer.contains("traceresponse"), "{answer}");
    assert_eq!(service.stop(), 0);
    let log = service.log();
    let of = |id: &str| {
        let line = log.iter().find(|line| line["request_id"] == id && line["msg"] == "answered");
        line.unwrap_or_else(|| panic!("{log:?}")).clone()
    };
    let line = of("in-trace");
    assert_eq!((&line["trace_id"], &line["span_id"]), (&TRACE.into(), &span.into()));
    assert_eq!((&line["status"], &line["code"]), (&404.into(), &"not_found".into()));
    assert_eq!(of("no-trace").get("trace_id"), None);
}

#[test]
fn text_is_available_without_a_terminal() {
    let ended = Workplace::new().run_with(
        &[],
        &[("LOG_FORMAT", "text"), ("SQLITE_PATH", "no/such/folder/a.db")],
        "",
    );
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("Z INFO  seatlock"), "{}", ended.stderr);
    assert!(ended.stderr.contains("Z ERROR seatlock"), "{}", ended.stderr);
    assert!(!ended.stderr.contains('\u{1b}'), "no colours in a file: {}", ended.stderr);
}

#[test]
fn warnings_of_the_configuration_are_logged() {
    let service = Workplace::new().serve(&[("REDIS_PASSWROD", "hunter2")]);
    assert_eq!(service.stop(), 0);
    let log = service.log();
    let warned = |line: &Value| {
        line["level"] == "WARN"
            && line["msg"].as_str().unwrap().contains("did you mean REDIS_PASSWORD?")
    };
    assert!(log.iter().any(warned), "{log:?}");
    assert!(!service.process.output().contains("hunter2"));
}
