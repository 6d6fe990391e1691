//! Backups of the database: made while seats are being sold, and restored when it is lost. What was acknowledged
//! before the backup is stored, seats are sold, and clients that remember the lost history get the new one.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use test_support::{Answer, Client, Database, Postgres};

use crate::crowd::Crowd;
use crate::harness::{LONG, Scene, Setup, blocking, until};

/// What there was at the time of a backup and shortly afterwards, when everything was lost.
struct Lost {
    schedule: String,
    /// Acknowledged before the backup began.
    before: BTreeSet<String>,
    /// What a customer has seen last: a map's tag and version, of after the backup.
    tag: String,
    version: i64,
}

/// Sells, makes a backup meanwhile, sells on for a while, and loses the database.
async fn back_up<T>(name: &'static str, backup: impl FnOnce(&Scene) -> T) -> (Scene, T, Lost) {
    let scene = Setup::of(name).own_postgres(&[]).set("OUTAGE_GRACE", "1s").start().await;
    let schedule = scene.schedule(1, 80).await;
    let crowd = Crowd::of(&scene, 12, &schedule, 80);
    scene.sells(40).await;
    let before = scene.ledger.bookings();
    let backup = blocking(|| backup(&scene));
    scene.sells(40).await;
    crowd.stop().await;
    let client = scene.client(0);
    let map = client.map(&schedule, "seats").await;
    let (tag, version) = (map.header("etag").unwrap().to_owned(), version_of(&map));
    scene.services[0].process().kill();
    (scene, backup, Lost { schedule, before, tag, version })
}

fn version_of(map: &Answer) -> i64 {
    map.expect(200)["version"].as_i64().unwrap()
}

/// The service on the restored database at this address.
async fn serve(scene: &mut Scene, postgres: &Postgres, url: String) {
    scene.services[0].process().kill();
    scene.url = url;
    scene.network.postgres.lead_to(postgres.port());
    scene.network.postgres.cut();
    scene.network.postgres.heal();
    scene.relaunch(0, &[]).await;
}

/// Everything that was promised, of a service on a restored database.
async fn check(scene: &Scene, lost: &Lost) {
    scene.audit().await;
    let database = scene.database().await;
    let ids = "SELECT schedule_id || '-' || replace(id::text, '-', '') FROM booking";
    let stored: BTreeSet<String> = database.column(ids).await.into_iter().collect();
    let missing: Vec<_> = lost.before.difference(&stored).collect();
    assert!(missing.is_empty(), "acknowledged before the backup, and lost: {missing:?}");
    let (client, schedule) = (scene.client(0), lost.schedule.as_str());
    remembers_nothing(&client, &database, lost).await;

    // Ids of the lost history are not given again.
    let next = client.schedule(&[("B", 1, 2)], Value::Null).await;
    assert!(next.parse::<i64>().unwrap() > schedule.parse::<i64>().unwrap() + 1_000, "{next}");
    // Every free seat can be sold once.
    let over = "SELECT count(*) FROM hold WHERE status = 0";
    until("all holds have ended", LONG, async || database.number(over).await == 0).await;
    assert!(scene.sell_the_rest(&database).await > 0);
    scene.audit().await;
}

/// Checks that a client that asks with tags and versions of the lost history gets the map of the new one.
/// Returns its tag.
async fn remembers_nothing(client: &Client, database: &Database, lost: &Lost) -> String {
    let path = format!("/api/v1/schedules/{}/seats", lost.schedule);
    let again = client.request(Method::GET, &path).header("if-none-match", &lost.tag);
    let map = client.send(again).await;
    assert!(
        version_of(&map) > lost.version + 1_000_000,
        "{} after {}",
        version_of(&map),
        lost.version
    );
    let seats = map.json()["seats"].as_array().unwrap().clone();
    let booked = seats.iter().filter(|seat| seat["status"] == "booked").count();
    let sold = "SELECT count(*) FROM seat WHERE state = 2";
    assert_eq!(i64::try_from(booked).unwrap(), database.number(sold).await);
    let known = format!("{path}?min_version={}", lost.version);
    assert!(version_of(&client.get(&known).await) > lost.version);
    let stream = format!("/api/v1/schedules/{}/stream", lost.schedule);
    let resumed = client.request(Method::GET, &stream).header("last-event-id", lost.version);
    let mut events = client.open(resumed).await;
    let mut opening = String::new();
    while !opening.contains("\n\n") || !opening.contains("event:") {
        opening += &String::from_utf8_lossy(&events.chunk().await.unwrap().unwrap());
    }
    assert!(opening.contains("event: snapshot"), "{opening}");
    map.header("etag").unwrap().to_owned()
}

pub(crate) mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_dump_restored_elsewhere_has_what_was_acknowledged_before_it() {
        let dump = |scene: &Scene| scene.primary.dump(&scene.url);
        let (mut scene, dump, mut lost) = back_up("pg_dump, restored twice", dump).await;
        blocking(|| scene.primary.kill());
        let server = blocking(|| Postgres::start(&[]));
        let url = blocking(|| server.restore(&dump));
        serve(&mut scene, &server, url).await;
        check(&scene, &lost).await;
        // The restored database is lost, too, or it was the wrong one: the same dump on another server.
        let map = scene.client(0).map(&lost.schedule, "seats").await;
        (lost.tag, lost.version) = (map.header("etag").unwrap().to_owned(), version_of(&map));
        let another = blocking(|| Postgres::start(&[]));
        let url = blocking(|| another.restore(&dump));
        serve(&mut scene, &another, url).await;
        let tag = remembers_nothing(&scene.client(0), &scene.database().await, &lost).await;
        assert_ne!(tag, lost.tag);
        scene.inject("a dump under load, the server lost, restored into two fresh ones in turn");
        scene.report(&format!("{} bookings kept", lost.before.len()));
    }

    /// The same cluster, the same timeline: only the tables are others.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_dump_restored_on_the_same_server_is_another_history() {
        let dump = |scene: &Scene| scene.primary.dump(&scene.url);
        let (mut scene, dump, lost) = back_up("pg_dump, restored in place", dump).await;
        let url = blocking(|| scene.primary.restore(&dump));
        let port = scene.primary.port();
        scene.services[0].process().kill();
        scene.url = url;
        scene.network.postgres.lead_to(port);
        scene.relaunch(0, &[]).await;
        check(&scene, &lost).await;
        scene.inject("a dump under load, restored into another database of the server");
        scene.report(&format!("{} bookings kept", lost.before.len()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_base_backup_recovered_has_what_was_acknowledged_before_it() {
        let copy = |scene: &Scene| scene.primary.base_backup();
        let (mut scene, backup, lost) = back_up("pg_basebackup", copy).await;
        blocking(|| scene.primary.kill());
        let server = blocking(|| Postgres::recover(backup));
        let url = server.address_of(&scene.url);
        serve(&mut scene, &server, url).await;
        check(&scene, &lost).await;
        scene.inject("a base backup under load, the server lost, recovered from the copy");
        scene.report(&format!("{} bookings kept", lost.before.len()));
    }
}
