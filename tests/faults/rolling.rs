//! A rolling update as an operator would do it: replicas behind a load balancer are replaced one by one by a
//! release with a newer schema, under load, and no request fails. And what either release does on the schema of
//! the other.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use test_support::{Answer, Client, Haproxy};

use crate::crowd::Crowd;
use crate::harness::{LONG, Scene, Setup, blocking, until};

/// The release after this one, with a step of the schema that adds something.
const NEXT: &[(&str, &str)] = &[("SEATLOCK_RELEASE", "next")];

/// The release after that, with a step that removes what only this one needs.
const AFTER_NEXT: &[(&str, &str)] = &[("SEATLOCK_RELEASE", "after_next")];

/// The steps that have been taken which this release does not know.
const LATER_STEPS: &str = "SELECT count(*) FROM seaql_migrations WHERE version LIKE 'm9999%'";

/// The load balancer that docs/operations.md recommends, before three processes.
fn balancer(scene: &Scene) -> Haproxy {
    let places: Vec<(String, String)> = (1..)
        .zip(&scene.services)
        .map(|(number, service)| (format!("SEATLOCK_{number}"), service.address().to_string()))
        .collect();
    let places: Vec<(&str, &str)> =
        places.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let configuration = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/haproxy.cfg");
    blocking(|| Haproxy::start(&configuration, "SEATLOCK_FRONT", &places))
}

/// Replaces a process as a platform does: terminates it, starts another in its place, and waits until the balancer
/// has noticed. Returns how long the old one took to end.
async fn replace(scene: &Scene, number: usize, release: &[(&str, &str)]) -> Duration {
    let began = Instant::now();
    scene.services[number].process().terminate();
    assert_eq!(scene.services[number].ended(LONG), 0);
    let took = began.elapsed();
    scene.relaunch(number, release).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    took
}

/// Whether the schema has been changed by a later release, and how often.
fn later_steps(scene: &Scene) -> String {
    blocking(|| scene.primary.psql(&scene.url, LATER_STEPS))
}

pub(crate) mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_rolling_update_to_a_newer_schema_fails_no_request() {
        let setup = Setup::of("rolling update").set("DRAIN_DELAY", "3s").set("REPLICAS", "3");
        let scene = setup.processes(3).start().await;
        let schedule = scene.schedule(1, 200).await;
        let balancer = balancer(&scene);
        let through = Client::of(([127, 0, 0, 1], balancer.port()).into());
        through.wait_until("/problems/internal", |answer| answer.status == 200).await;
        let load = Crowd::through(&scene, balancer.port(), &schedule, 200);
        assert_eq!(later_steps(&scene), "0");
        let mut slowest = Duration::ZERO;
        for number in 0..3 {
            slowest = slowest.max(replace(&scene, number, NEXT).await);
            assert_eq!(later_steps(&scene), "1", "the first of the new ones changes the schema");
        }
        // Something is wrong with it, and it is taken back: the schema stays.
        slowest = slowest.max(replace(&scene, 0, &[]).await);
        let requests = load.stop_without_failures(&scene.ledger).await;
        assert!(balancer.log().contains("Layer7 wrong status, code: 503"), "{}", balancer.log());
        scene.inject(&format!(
            "3 replicas replaced under load, 1 taken back, ended within {slowest:.1?}; {requests}"
        ));
        scene.audit().await;
        scene.finish().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_program_works_on_the_schema_of_the_release_after_it() {
        let mut scene = Setup::of("previous release on a newer schema").start().await;
        let schedule = scene.schedule(1, 8).await;
        let first = scene.ledger.book(&scene.client(0), &schedule, &["A-1-1"]).await.unwrap();
        scene.add(NEXT).await;
        assert_eq!(later_steps(&scene), "1");
        // It still runs, and it can start on this schema: in both cases all requests succeed.
        for (start, seats) in [("still runs", ["A-1-2", "A-1-3"]), ("starts", ["A-1-4", "A-1-5"])] {
            let client = scene.client(0);
            // Long enough for a look at the schema.
            tokio::time::sleep(Duration::from_secs(6)).await;
            client.get("/readyz").await.expect(200);
            let booked = scene.ledger.book(&client, &schedule, &[seats[0]]).await.unwrap();
            let hold = scene.ledger.hold(&client, &schedule, &[seats[1]], 60).await.unwrap();
            client
                .post(&format!("/api/v1/holds/{}/extend", hold.id(201)), &json!({"ttl_s": 90}))
                .await
                .expect(200);
            scene.ledger.confirm(&client, &hold.id(201)).await.unwrap().expect(200);
            client.cancel(&booked.id(200), None).await.expect(200);
            let path = format!("/api/v1/bookings/{}", first.id(200));
            assert_eq!(client.get(&path).await.expect(200)["status"], "confirmed", "{start}");
            client.map(&schedule, "seats").await.expect(200);
            scene.services[0].process().signal("INT");
            assert_eq!(scene.services[0].ended(LONG), 0);
            scene.relaunch(0, &[]).await;
        }
        assert!(scene.services[0].process().output().contains("1 steps newer than this program"));
        scene.audit().await;
        scene.inject(
            "the next release changed the schema, the previous one went on and was restarted",
        );
        scene.finish().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_program_refuses_a_schema_that_lost_what_it_needs() {
        let mut scene = Setup::of("two releases too old").start().await;
        scene.add(AFTER_NEXT).await;
        assert_eq!(later_steps(&scene), "2");
        let lost = |ready: &Answer| ready.status == 503 && ready.body.contains("not supported");
        scene.client(0).wait_until("/readyz", lost).await;
        scene.client(1).get("/readyz").await.expect(200);
        scene.services[0].process().signal("INT");
        assert_eq!(scene.services[0].ended(LONG), 0);
        for migrate in ["on", "off"] {
            scene.start_again(0, &[("MIGRATE", migrate)]);
            assert_eq!(scene.services[0].ended(LONG), 1);
            let output = scene.services[0].process().output();
            assert!(output.contains("run a newer version"), "{output}");
        }
        // The release between the two knows how to do without.
        scene.relaunch(0, NEXT).await;
        scene.inject("a step removed what the release before the last one needs");
        scene.report("refused by it alone");
    }

    /// A backup reads every table for a long time. A step that waits for a table makes all later statements on it
    /// wait.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_step_waits_for_a_backup_and_sales_do_not_wait_for_the_step() {
        let mut scene = Setup::of("migration during a backup").start().await;
        let schedule = scene.schedule(1, 200).await;
        let port = scene.services[0].address().port();
        let database = scene.database().await;
        let load = Crowd::through(&scene, port, &schedule, 200);
        let began = Instant::now();
        let backup = tokio::spawn(async move {
            let read =
                "BEGIN; SELECT 1 FROM booking, seat, journal LIMIT 1; SELECT pg_sleep(6); COMMIT";
            database.execute(read).await;
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        scene.add(NEXT).await;
        until("the schema has been changed", LONG, async || later_steps(&scene) == "1").await;
        let took = began.elapsed();
        backup.await.unwrap();
        let requests = load.stop_without_failures(&scene.ledger).await;
        assert!(took > Duration::from_secs(6), "the reader kept no step waiting: {took:?}");
        scene.inject(&format!(
            "a reader of all tables for 6 s, the step done after {took:.1?}; {requests}"
        ));
        scene.finish().await;
    }
}
