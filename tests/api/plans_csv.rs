//! Seat plans as CSV: stored, sold, exported, refused by line and column.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::Answer;

use crate::app::{Stack, TestApp};

on_both_stacks![
    a_plan_from_a_spreadsheet_is_stored_and_sold,
    a_plan_is_answered_in_the_requested_media_type,
    a_plan_given_back_as_csv_and_stored_again_is_no_new_version,
    faults_of_csv_are_named_by_line_and_column_and_nothing_is_stored,
    a_body_that_is_neither_json_nor_csv_is_refused_and_both_are_named,
    a_source_of_labels_beside_csv_is_refused,
    a_key_repeats_the_answer_to_a_csv_plan,
    other_column_names_are_understood_and_reported,
];

/// As a spreadsheet with German settings writes it.
const HALL: &str = "\u{FEFF}section;row;number;x;y;category;price\r\n\
                    Parkett;A;1;0,5;1;Front;\r\n\
                    Parkett;A;2;1,5;1;Front;9900\r\n\
                    Rang;1;\"7 \"\"links\"\"\";;;;\r\n\
                    ;;;;;;\r\n";

/// The same as the service writes it, with prices of 8000 for the front and 5000 for the rest.
const WRITTEN: &str = "section,row,number,label,x,y,category,price\r\n\
                       Parkett,A,1,Parkett-A-1,0.5,1,Front,8000\r\n\
                       Parkett,A,2,Parkett-A-2,1.5,1,Front,9900\r\n\
                       Rang,1,\"7 \"\"links\"\"\",\"Rang-1-7 \"\"links\"\"\",,,,5000\r\n";

const PRICED: &str = "hall?price=5000&price=Front%3D8000";

impl TestApp {
    async fn put_typed(&self, path: &str, media: &str, plan: impl Into<String>) -> Answer {
        let request = self.request(Method::PUT, &format!("/api/v1/seat-plans/{path}"));
        self.send(request.header("content-type", media).body(plan.into())).await
    }

    async fn get_plan(&self, accept: &str, if_none_match: &str) -> Answer {
        let request = self.request(Method::GET, "/api/v1/seat-plans/hall/versions/1");
        let request = request.header("accept", accept).header("if-none-match", if_none_match);
        self.send(request).await
    }
}

async fn a_plan_from_a_spreadsheet_is_stored_and_sold(on: Stack) {
    let app = on.start().await;
    let dry = app.put_typed(&format!("{PRICED}&dry_run=true"), "text/csv", HALL).await;
    assert_eq!(dry.expect(200), json!({"dry_run": true, "seats": 3}));
    let stored = app.put_typed(PRICED, "text/csv; charset=utf-8", HALL).await.expect(200);
    assert_eq!(stored, json!({"id": "hall", "version": 1}));
    let schedule = app.schedule_of(json!("hall"), Value::Null).await;
    let booked = app.book(&schedule, &["Rang-1-7 \"links\"", "Parkett-A-1"], "ada").await;
    assert_eq!(booked.expect(200)["total"], json!({"amount": 13_000, "currency": "EUR"}));
}

async fn a_plan_is_answered_in_the_requested_media_type(on: Stack) {
    let app = on.start().await;
    app.put_typed(PRICED, "text/csv", HALL).await.expect(200);
    let csv = app.get_plan("text/csv", "\"other\"").await;
    assert_eq!((csv.status, csv.body.as_str()), (200, WRITTEN));
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    for accept in ["application/json", "*/*", "text/html", "text/csv;q=0.5, application/json"] {
        let json = app.get_plan(accept, "\"other\"").await;
        assert_eq!(json.expect(200)["sections"][1]["rows"][0]["seats"][0]["price"], 5000);
        assert_eq!(json.header("content-type"), Some("application/json"), "{accept}");
    }

    let json = app.get_plan("application/json", "\"other\"").await;
    let tag = |answer: &Answer| answer.header("etag").unwrap().to_owned();
    assert_ne!(tag(&csv), tag(&json), "a tag of its own for each form");
    for (accept, tag, status) in [
        ("text/csv", tag(&csv), 304),
        ("text/csv", tag(&json), 200),
        ("application/json", tag(&json), 304),
        ("application/json", tag(&csv), 200),
    ] {
        let answer = app.get_plan(accept, &tag).await;
        assert_eq!(answer.status, status, "{accept} {tag}");
        assert_eq!(
            answer.header("vary"),
            Some("accept"),
            "caches must store the media types separately"
        );
    }
}

async fn a_plan_given_back_as_csv_and_stored_again_is_no_new_version(on: Stack) {
    let app = on.start().await;
    let pretix = json!({"categories": [{"name": "I"}], "zones": [{"name": "A, left", "rows": [
        {"row_number": "1", "position": {"x": 0.25, "y": 3}, "seats": [
            {"seat_guid": "x", "seat_number": "1", "category": "I", "position": {"x": 1, "y": 0}},
            {"seat_guid": "y", "category": "I"}]},
        {"row_number": "2", "seats": [{"seat_guid": "z"}]}]}]});
    let stored = app.put_typed("hall?price=700", "application/json", pretix.to_string()).await;
    let first = stored.expect(200);
    let csv = app.get_plan("text/csv", "\"other\"").await.body;
    assert_eq!(app.put_typed("hall", "text/csv", csv.clone()).await.expect(200), first);
    let dearer = app.put_typed("hall", "text/csv", csv.replace(",700", ",701")).await;
    assert_eq!(dearer.expect(200)["version"], 2);
}

async fn faults_of_csv_are_named_by_line_and_column_and_nothing_is_stored(on: Stack) {
    let app = on.start().await;
    let before = app.database.dump().await;
    let wrong = "section,row,number,price\r\nA,1,1,99.00\r\n\r\nA,1,2\r\nA,,3,1\r\nA,1,1,1\r\n";
    let problem = app.put_typed("hall", "text/csv", wrong).await.problem(422, "validation_failed");
    let fault = |error: &Value| format!("{} {}", error["pointer"], error["code"]).replace('"', "");
    let faults: Vec<String> = problem["errors"].as_array().unwrap().iter().map(fault).collect();
    let expected = [
        "line 2, column 4 price_invalid",
        "line 4 field_count",
        "line 5, column 2 text_empty",
        "line 2 label_repeated",
    ];
    assert_eq!(faults, expected, "{problem}");

    let latin1 = b"section,row,number,price\nA,1,1,1\nZ\xFCrich,1,1,1\n".to_vec();
    let request = app.request(Method::PUT, "/api/v1/seat-plans/hall").body(latin1);
    let refused = app.send(request.header("content-type", "text/csv")).await;
    let problem = refused.problem(422, "validation_failed");
    assert_eq!(fault(&problem["errors"][0]), "line 3, column 1 not_utf8");
    for (document, path) in
        [("", "hall"), ("a,b\n1,2\n", "hall"), (HALL, "hall"), (HALL, "hall?price=Fornt%3D1")]
    {
        app.put_typed(path, "text/csv", document).await.problem(422, "validation_failed");
    }
    assert_eq!(app.database.dump().await, before);
}

async fn a_body_that_is_neither_json_nor_csv_is_refused_and_both_are_named(on: Stack) {
    let app = on.start().await;
    for media in ["text/plain", "text/csv; charset=iso-8859-1", "application/vnd.ms-excel"] {
        let refused = app.put_typed("hall?price=1", media, WRITTEN).await;
        let problem = refused.problem(415, "unsupported_media_type");
        let detail = problem["detail"].as_str().unwrap();
        for named in ["application/json", "text/csv", media] {
            assert!(detail.contains(named), "{problem}");
        }
    }
    // A schedule's plan is written out in JSON or stored beforehand.
    let event = app.event("Hamlet").await;
    let request = app.request(Method::POST, &format!("/api/v1/events/{event}/schedules"));
    let refused = app.send(request.header("content-type", "text/csv").body(WRITTEN)).await;
    refused.problem(415, "unsupported_media_type");
}

async fn a_source_of_labels_beside_csv_is_refused(on: Stack) {
    let app = on.start().await;
    for source in ["guid", "uuid", "position"] {
        let path = format!("hall?price=1&id_from={source}");
        let problem =
            app.put_typed(&path, "text/csv", HALL).await.problem(400, "invalid_parameter");
        assert_eq!(problem["errors"][0]["pointer"], "id_from", "{problem}");
    }
}

async fn other_column_names_are_understood_and_reported(on: Stack) {
    let app = on.start().await;
    let hall = "sep=;\r\nArea;ROW;Seat;\r\nA;1;1;\r\n";
    let notes = json!([
        "column 1, `Area`, was read as `section`",
        "column 3, `Seat`, was read as `number`",
        "column 4 has no name, is empty in every line, and was ignored",
    ]);
    let dry = app.put_typed("hall?price=1&dry_run=true", "text/csv", hall).await.expect(200);
    assert_eq!(dry, json!({"dry_run": true, "seats": 1, "notes": notes}));
    let request = || {
        let request = app.request(Method::PUT, "/api/v1/seat-plans/hall?price=1");
        request.header("content-type", "text/csv").header("idempotency-key", "k").body(hall)
    };
    for _ in 0..2 {
        let stored = app.send(request()).await.expect(200);
        assert_eq!(stored, json!({"id": "hall", "version": 1, "notes": notes}));
    }
}

async fn a_key_repeats_the_answer_to_a_csv_plan(on: Stack) {
    let app = on.start().await;
    let put = async |document: &str| {
        let request = app.request(Method::PUT, &format!("/api/v1/seat-plans/{PRICED}"));
        let request = request.header("content-type", "text/csv").header("idempotency-key", "k");
        app.send(request.body(document.to_owned())).await
    };
    let first = put(HALL).await.expect(200);
    let again = put(HALL).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(200), first);
    let same = put(WRITTEN).await;
    assert_eq!(same.expect(200), first, "the same plan, written differently");
    let (smaller, _) = WRITTEN.trim_end().rsplit_once('\n').unwrap();
    put(smaller).await.problem(422, "idempotency_key_reused");
}
