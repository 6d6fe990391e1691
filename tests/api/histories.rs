//! Tags, cursors and event ids of another history of the database, or of another database, match nothing.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Answer, Client};

use crate::app::{Stack, TestApp};
use crate::listener::Listener;

on_both_stacks![
    tags_cursors_and_ids_of_another_database_match_nothing,
    a_history_that_begins_under_a_running_service_is_a_new_one,
];

const HALL: &str = "section,row,number,price\nA,1,1,100\nA,1,2,100\nA,1,3,100\n";

/// Paths whose answers have a tag, and lists that are read page by page.
struct Paths {
    schedule: String,
    tagged: [String; 4],
    lists: [String; 4],
}

/// Creates the same things in the same order.
async fn fill(app: &TestApp) -> Paths {
    let hall = app.request(Method::PUT, "/api/v1/seat-plans/hall");
    app.send(hall.header("content-type", "text/csv").body(HALL)).await.expect(200);
    let event = app.event("Hamlet").await;
    let schedules = format!("/api/v1/events/{event}/schedules");
    let new = json!({"starts_at": "2030-01-01T20:00:00Z", "seat_plan": "hall"});
    let schedule = app.post(&schedules, &new).await.id(201);
    app.post(&schedules, &new).await.id(201);
    app.event("Macbeth").await;
    for seat in ["A-1-1", "A-1-2"] {
        app.book(&schedule, &[seat], "anna").await.expect(200);
    }
    let seats = format!("/api/v1/schedules/{schedule}/seats");
    app.map(&schedule, "seats").await.expect(200);
    Paths {
        tagged: [
            seats.clone(),
            format!("/api/v1/schedules/{schedule}/availability"),
            "/api/v1/seat-plans/hall/versions/1".to_owned(),
            // As CSV.
            "/api/v1/seat-plans/hall/versions/1".to_owned(),
        ],
        lists: [
            "/api/v1/events?limit=1".to_owned(),
            format!("{schedules}?limit=1"),
            format!("/api/v1/bookings?schedule_id={schedule}&limit=1"),
            format!("{seats}?limit=1"),
        ],
        schedule,
    }
}

async fn tagged(client: &Client, number: usize, path: &str, tag: &str) -> Answer {
    let accept = if number == 3 { "text/csv" } else { "application/json" };
    let request = client.request(Method::GET, path).header("accept", accept);
    client.send(request.header("if-none-match", tag)).await
}

/// The tag and the cursor of each answer, and the id of the newest event of the stream.
struct Remembered {
    tags: Vec<String>,
    cursors: Vec<String>,
    id: String,
}

impl Remembered {
    async fn of(client: &Client, paths: &Paths) -> Self {
        let (mut tags, mut cursors) = (Vec::new(), Vec::new());
        for (number, path) in paths.tagged.iter().enumerate() {
            let answer = tagged(client, number, path, "\"other\"").await;
            assert_eq!(answer.status, 200);
            tags.push(answer.header("etag").unwrap().to_owned());
        }
        for path in &paths.lists {
            let page = client.get(path).await.expect(200);
            cursors.push(page["next_cursor"].as_str().unwrap().to_owned());
        }
        let mut listener = Listener::begin(client, &paths.schedule).await;
        listener.next().await.unwrap();
        Self { tags, cursors, id: listener.last_id.unwrap() }
    }

    /// Whether tags match, and cursors and ids continue: all of them, or none.
    async fn counts(&self, client: &Client, paths: &Paths) -> bool {
        let mut counts = Vec::new();
        for (number, (path, tag)) in paths.tagged.iter().zip(&self.tags).enumerate() {
            let status = tagged(client, number, path, tag).await.status;
            assert!([200, 304].contains(&status), "{path}: {status}");
            counts.push(status == 304);
        }
        for (path, cursor) in paths.lists.iter().zip(&self.cursors) {
            let page = client.get(&format!("{path}&cursor={cursor}")).await;
            if page.status != 200 {
                let problem = page.problem(400, "invalid_parameter");
                assert!(problem.to_string().contains("from its beginning"), "{problem}");
            }
            counts.push(page.status == 200);
        }
        let codes = vec![2, 2, 0];
        let id = Some(self.id.clone());
        let mut listener = Listener::open(client, &paths.schedule, id, codes).await;
        // For a listener of another history a snapshot of a lower version is correct.
        listener.version = 0;
        counts.push(listener.next().await.unwrap().name != "snapshot");
        assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{counts:?}");
        counts[0]
    }
}

async fn tags_cursors_and_ids_of_another_database_match_nothing(on: Stack) {
    let (old, new) = (on.start().await, on.start().await);
    let (paths, same) = (fill(&old).await, fill(&new).await);
    assert_eq!((&paths.lists, &paths.schedule), (&same.lists, &same.schedule));
    let remembered = Remembered::of(&old, &paths).await;
    assert!(remembered.counts(&old, &paths).await);
    assert!(!remembered.counts(&new, &paths).await);
    // Ids were plain versions once, and cursors plain ids.
    let plain = |text: &String| text.split_once('.').unwrap().1.to_owned();
    let listener = Listener::open(&old, &paths.schedule, Some(plain(&remembered.id)), Vec::new());
    assert_eq!(listener.await.next().await.unwrap().name, "snapshot");
    for (path, cursor) in paths.lists.iter().zip(&remembered.cursors) {
        let page = old.get(&format!("{path}&cursor={}", plain(cursor))).await;
        page.problem(400, "invalid_parameter");
    }
}

async fn a_history_that_begins_under_a_running_service_is_a_new_one(on: Stack) {
    let app = on.start().await;
    let paths = fill(&app).await;
    let remembered = Remembered::of(&app, &paths).await;
    app.database.execute("UPDATE lineage SET system_id = '12'").await;
    // The first to open a connection for writing begins the history.
    let other = app.another_replica().await;
    other.event("The Tempest").await;
    assert!(!remembered.counts(&other, &paths).await);
    let version = other.get(&format!("/api/v1/schedules/{}", paths.schedule)).await.expect(200);
    let newest = version["version"].as_i64().unwrap();
    assert!(newest > 1_000_000, "{newest}");
    let path = format!("/api/v1/schedules/{}?min_version={newest}", paths.schedule);
    assert_eq!(app.get(&path).await.expect(200)["version"], Value::from(newest));
    assert!(!remembered.counts(&app, &paths).await);
    let anew = Remembered::of(&app, &paths).await;
    assert!(anew.counts(&other, &paths).await, "both are of the same history");
}
