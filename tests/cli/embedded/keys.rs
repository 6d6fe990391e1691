//! `seatlock keys`: keys are created, listed, rotated and revoked without a running service, and beside one.

use std::time::Instant;

use serde_json::Value;

use crate::program::{Ended, SOON, Service, Workplace, shell};

/// The status of a request with this key.
fn status(service: &Service, key: &str, path: &str) -> String {
    let line = format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer {key}' {}{path}",
        service.address
    );
    shell(&line, &[]).stdout
}

fn until_status(service: &Service, key: &str, expected: &str) {
    let end = Instant::now() + SOON;
    while status(service, key, "/api/v1/events") != expected {
        assert!(Instant::now() < end, "it never answers {expected}");
    }
}

fn json(ended: &Ended) -> Value {
    assert_eq!(ended.code, 0, "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The key that a command has printed in its first line.
fn printed(ended: &Ended) -> String {
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.stdout.lines().next().unwrap().to_owned()
}

#[test]
fn a_key_is_created_used_rotated_and_revoked_on_the_command_line() {
    let place = Workplace::new();
    // Before the first start of the service, in a database that does not exist yet.
    let created = place.run(&["keys", "create", "shop", "--scope", "sell"]);
    let first = printed(&created);
    assert!(first.starts_with("sk_live_") && first.len() == 44, "{created:?}");
    assert!(created.stdout.contains("the key shop (1) for read sell"), "{created:?}");
    let log = [("ADMIN_API_KEY", "correct-horse-battery-staple"), ("RUST_LOG", "debug")];
    let service = place.serve(&log);
    assert_eq!(status(&service, &first, "/api/v1/events"), "200");
    assert_eq!(status(&service, &first, "/api/v1/api-keys"), "403");

    let rotated = json(&place.run(&["keys", "rotate", "shop", "--json"]));
    let second = rotated["key"].as_str().unwrap();
    assert_eq!(status(&service, second, "/api/v1/events"), "200", "it works immediately");
    assert_eq!(status(&service, &first, "/api/v1/events"), "200");
    let refused = place.run(&["keys", "rotate", "1"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("end: two secrets of the key work already"), "{refused:?}");
    let third = printed(&place.run(&["keys", "rotate", "1", "--end", "older", "--overlap-s", "0"]));
    until_status(&service, &first, "401");
    until_status(&service, second, "401");
    assert_eq!(status(&service, &third, "/api/v1/events"), "200");

    let page =
        ["keys", "create", "page", "--publishable", "--test", "--origin", "https://shop.example"];
    let page = printed(&place.run(&page));
    assert!(page.starts_with("pk_test_"), "{page}");
    let schedules = service.get("/api/v1/events/1/schedules");
    assert_eq!(schedules.0, 401);
    let stream = format!("/api/v1/schedules/1/stream?key={page}");
    let line =
        format!("curl -sS -I -o /dev/null -w '%{{http_code}}' '{}{stream}'", service.address);
    assert_eq!(shell(&line, &[]).stdout, "200");
    let in_url = format!("/api/v1/schedules/1/stream?key={third}");
    assert_eq!(service.get(&in_url).0, 401);

    let listed = place.run(&["keys", "list"]);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{listed:?}");
    assert!(lines[0].starts_with("ID  NAME  RIGHTS"), "{listed:?}");
    assert!(lines[1].contains(&third[..16]) && lines[2].contains("pages of https://shop.example"));
    let revoked = place.run(&["keys", "revoke", "shop"]);
    assert_eq!((revoked.code, revoked.stdout.as_str()), (0, "the key shop (1) is revoked\n"));
    until_status(&service, &third, "401");
    assert_eq!(json(&place.run(&["keys", "list", "--json"])).as_array().unwrap().len(), 1);
    assert_eq!(json(&place.run(&["keys", "list", "--all", "--json"])).as_array().unwrap().len(), 2);

    assert_eq!(service.stop(), 0);
    let output = service.process.output();
    assert!(output.contains("/api/v1/schedules/1/stream"), "every request is logged: {output}");
    for key in [&first, second, &third, &page] {
        assert!(!output.contains(&key[16..]), "{key} is in the log: {output}");
    }
}

#[test]
fn a_wrong_argument_is_named_with_its_remedy() {
    let place = Workplace::new();
    for (arguments, code, problem) in [
        (&["create", "shop"][..], 2, "scopes: name at least one scope: read, sell or admin"),
        (&["create", "shop", "--scope", "write"], 2, "must be read, sell or admin"),
        (&["create", " shop", "--scope", "read"], 2, "name: begins or ends with a blank"),
        (&["create", "page", "--publishable"], 2, "origins: name the origins of the pages"),
        (
            &["create", "page", "--publishable", "--origin", "https://a/b"],
            2,
            "origins/0: must be scheme://host",
        ),
        (
            &["create", "old", "--scope", "read", "--expires-at", "2020-01-01T00:00:00Z"],
            1,
            "expires_at: is in the past",
        ),
        (&["revoke", "nothing"], 1, "there is no API key \"nothing\""),
        (&["revoke", "7"], 1, "there is no API key \"7\""),
        (&["rotate", "7"], 1, "there is no such key that works"),
        (&["rotate", "7", "--overlap-s", "9999999"], 2, "9999999 is not in 0..=2592000"),
    ] {
        let ended = place.run(&[&["keys"], arguments].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (code, ""), "{arguments:?} {ended:?}");
        assert!(ended.stderr.contains(problem), "{arguments:?} {ended:?}");
    }
}
