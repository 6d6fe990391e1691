//! The OpenAPI document is the contract: schemathesis generates requests from it, valid and invalid ones, and compares
//! every response with it. `make test-openapi` runs many, `make test` fewer (`scripts/test-openapi`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use test_support::{Folder, taking};
use tokio::process::Command;

use crate::app::Stack;

/// The path of the program.
const PROGRAM: &str = "SEATLOCK_TEST_SCHEMATHESIS";

/// The number of requests for each operation and phase, other than that of tests/openapi/schemathesis.toml.
const EXAMPLES: &str = "SEATLOCK_TEST_EXAMPLES";

const KEY: &str = "correct-horse-battery-staple";

/// Runs schemathesis against a service with one schedule, whose seats are those of the examples in the document.
async fn every_response_is_the_documented_one(on: Stack) {
    let program = std::env::var_os(PROGRAM);
    let program = program.unwrap_or_else(|| panic!("{PROGRAM} is not set: run make test-openapi"));
    let app = on.start_with(&[("ADMIN_API_KEY", KEY), ("QUEUE_MODE", "prefer")]).await;
    let office = app.client_with_key(KEY);
    let event = office.post("/api/v1/events", &json!({"name": "The Tempest"})).await.id(201);
    let section = json!({"name": "A", "rows": 20, "seats_per_row": 30, "price": 9900});
    let schedule =
        json!({"starts_at": "2030-01-01T20:00:00Z", "seat_plan": {"sections": [section]}});
    let schedules = format!("/api/v1/events/{event}/schedules");
    assert_eq!(office.post(&schedules, &schedule).await.id(201), "1", "hooks.py names it");
    let other = office.schedule(&[("A", 1, 30)], json!({"max_seats_per_booking": 30})).await;
    let mut body = taking(&other, &["A-1-1"], "anna");
    body["ttl_s"] = json!(3_600);
    let hold = office.post("/api/v1/holds", &body).await.id(201);

    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi");
    let folder = Folder::new();
    let examples = std::env::var(EXAMPLES).ok();
    let examples = examples.into_iter().flat_map(|number| ["--max-examples".to_owned(), number]);
    let ended = Command::new(program)
        .arg("--config-file")
        .arg(settings.join("schemathesis.toml"))
        .args(["run", &format!("http://{}/openapi.json", app.address())])
        .args(examples)
        .env("SEATLOCK_KEY", KEY)
        .env("SEATLOCK_HOLD", hold)
        .env("PYTHONPATH", &settings)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let printed = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{printed}{}", String::from_utf8_lossy(&ended.stderr));
    let succeeded = fs::read_to_string(folder.path().join("succeeded.txt")).unwrap();
    let succeeded: BTreeSet<&str> = succeeded.lines().collect();
    let document = app.get("/openapi.json").await.expect(200);
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values());
    let all: BTreeSet<&str> =
        operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(succeeded, all, "every operation has succeeded at some time: {printed}");
    app.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs schemathesis: make test-openapi"]
async fn the_embedded_stack_answers_as_documented() {
    every_response_is_the_documented_one(Stack::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs schemathesis: make test-openapi"]
async fn the_full_stack_answers_as_documented() {
    every_response_is_the_documented_one(Stack::Full).await;
}
