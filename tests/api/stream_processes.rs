//! Live streams of several processes on one database: all of them deliver the same map.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join};
use serde_json::{Value, json};
use test_support::{Client, SOON, Service};

use crate::listener::Listener;
use crate::processes::both_ready;
use crate::service::Shared;

async fn two() -> (Service, Service) {
    let shared = Shared::fresh();
    both_ready(shared.start(), shared.start()).await
}

/// One thing that a customer may do to a row of ten seats, at one of two processes.
async fn do_something(random: &mut fastrand::Rng, client: &Client, schedule: &str) {
    let seats: Vec<String> =
        (1..=10).filter(|_| random.u8(..4) == 0).map(|seat| format!("A-1-{seat}")).collect();
    let seats: Vec<&str> = seats.iter().map(String::as_str).take(4).collect();
    let seats = if seats.is_empty() { vec!["A-1-1"] } else { seats };
    match random.u8(..4) {
        0 => drop(client.hold(schedule, &seats, "ben").await),
        1 => {
            let booked = client.book(schedule, &seats, "anna").await;
            if booked.status == 200 && random.bool() {
                client.cancel(&booked.id(200), None).await.expect(200);
            }
        }
        2 => {
            let held = client.hold(schedule, &seats, "cleo").await;
            if held.status == 201 {
                let hold = held.id(201);
                match random.bool() {
                    true => drop(client.confirm(&hold).await.expect(200)),
                    false => {
                        drop(client.delete(&format!("/api/v1/holds/{hold}")).await.expect(204))
                    }
                }
            }
        }
        _ => {
            let path = format!("/api/v1/bookings?customer_id=anna&schedule_id={schedule}");
            let bookings = client.items(&path).await;
            if let Some(booking) = bookings.iter().find(|b| b["status"] == "confirmed") {
                client.cancel(booking["id"].as_str().unwrap(), None).await.expect(200);
            }
        }
    }
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_listener_has_the_readers_map_after_any_changes_and_any_resume() {
        let (one, two) = two().await;
        let processes = [one.client(), two.client()];
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..6 {
            let schedule = one.client().row_of(10).await;
            let mut listeners = Vec::new();
            for process in processes {
                listeners.push(Listener::begin(process, &schedule).await);
            }
            for _ in 0..40 {
                let process = processes[random.usize(..2)];
                do_something(&mut random, process, &schedule).await;
                let at = random.usize(..listeners.len());
                let mut listener = listeners.swap_remove(at);
                // Either in the middle of the changes, or after the last one.
                if random.bool() {
                    let events = async { while listener.next().await.is_some() {} };
                    drop(
                        tokio::time::timeout(Duration::from_millis(random.u64(..60)), events).await,
                    );
                }
                if random.u8(..3) == 0 && !listener.codes.is_empty() {
                    let process = processes[random.usize(..2)];
                    listener = listener.resume(process, &schedule).await;
                }
                listeners.push(listener);
            }
            for mut listener in listeners {
                listener.has_the_readers_map(one.client(), &schedule).await;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_process_that_did_not_run_meanwhile_resumes_a_stream_from_the_journal() {
        let shared = Shared::fresh();
        let one = shared.start().up().await;
        let schedule = one.client().row_of(30).await;
        let mut listener = Listener::begin(one.client(), &schedule).await;
        listener.until(1).await;
        for seat in [7, 3] {
            one.client().book(&schedule, &[&format!("A-1-{seat}")], "anna").await.expect(200);
        }
        let mut two = shared.start().up().await;
        two.shares_customers_with(&one);
        let mut listener = listener.resume(two.client(), &schedule).await;
        let missed = listener.next().await.unwrap();
        assert_eq!((missed.name.as_str(), missed.id), ("delta", Some(3)));
        assert_eq!(missed.data, json!({"c": [[2, 2], [6, 2]], "plan_version": 1}));
        // A listener of one process gets the changes of the other.
        one.client().book(&schedule, &["A-1-1"], "ben").await.expect(200);
        listener.has_the_readers_map(one.client(), &schedule).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stopping_process_sends_a_goodbye_to_every_listener_and_closes_within_a_second() {
        let shared = Shared::fresh();
        let one = shared.start().up().await;
        let schedule = one.client().row_of(30).await;
        let begin = (0..200).map(|_| Listener::begin(one.client(), &schedule));
        let mut listeners = join_all(begin).await;
        for listener in &mut listeners {
            listener.until(1).await;
        }
        let asked = Instant::now();
        one.process().terminate();
        let ends = listeners.iter_mut().map(|listener| async {
            let bye = listener.next().await.unwrap();
            assert_eq!((bye.name.as_str(), bye.id), ("bye", None));
            assert_eq!(bye.data, json!({"reason": "draining"}));
            assert_eq!(listener.next().await, None);
        });
        join_all(ends).await;
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(one.ended(3 * SOON), 0, "{}", one.process().output());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn five_thousand_listeners_end_with_the_readers_map_while_seats_are_sold() {
        const LISTENERS: usize = 5_000;
        rlimit::increase_nofile_limit(u64::MAX).unwrap();
        let one = Shared::fresh().start().up().await;
        let client = one.client();
        let schedule = client.schedule(&[("A", 10, 60)], Value::Null).await;
        let mut listeners = Vec::new();
        while listeners.len() < LISTENERS {
            let more = (0..250).map(|_| Listener::begin(client, &schedule));
            listeners.extend(join_all(more).await);
        }
        assert_eq!(client.metric("seatlock_stream_listeners").await, 5_000.0);
        let sales = (1..=600).map(|seat| {
            let (client, schedule) = (client.clone(), schedule.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(seat * 10)).await;
                let label = format!("A-{}-{}", (seat - 1) / 60 + 1, (seat - 1) % 60 + 1);
                client.book(&schedule, &[&label], "anna").await.expect(200);
            }
        });
        // Each listener reads until the sale is complete. The test ends when a booking fails.
        let sold = async { tokio::spawn(join_all(sales)).await.map(drop) };
        let hear = listeners.iter_mut().map(|listener| listener.until_booked(600));
        let heard = async {
            join_all(hear).await;
            Ok(())
        };
        try_join(sold, heard).await.unwrap();
        for listener in &listeners {
            assert!(listener.codes.iter().all(|code| *code == 2));
        }
        let slow = client.metric("seatlock_stream_ended_total{reason=\"slow\"}").await;
        assert_eq!(slow, 0.0);
    }
}
