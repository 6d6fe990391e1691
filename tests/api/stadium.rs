//! Whole halls, sold out by more customers than they have seats.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Client, labels};

use crate::app::{Stack, TestApp};

on_both_stacks![a_small_hall_is_sold_out];

const CUSTOMERS: usize = 200;

/// The seats that customers still try to buy, and the sales so far.
struct Sale {
    prices: BTreeMap<String, i64>,
    left: Vec<String>,
    sold: HashSet<String>,
    earned: i64,
}

/// Stores the plan, puts it on sale, and returns the schedule.
async fn put_on_sale(app: &TestApp, plan: &str, how: &str) -> String {
    let request = app.request(Method::PUT, &format!("/api/v1/seat-plans/hall?{how}"));
    let request = request.header("content-type", "application/json").body(plan.to_owned());
    app.send(request).await.expect(200);
    app.schedule_of(json!("hall"), json!({"max_seats_per_booking": 4})).await
}

async fn sell_out(app: &TestApp, schedule: &str) {
    let map = app.get(&format!("/api/v1/schedules/{schedule}/seats")).await.expect(200);
    let price = |seat: &Value| (label(seat), seat["price"].as_i64().unwrap());
    let prices: BTreeMap<String, i64> =
        map["seats"].as_array().unwrap().iter().map(price).collect();
    let left = prices.keys().cloned().collect();
    let sale = Sale { prices, left, sold: HashSet::new(), earned: 0 };
    let sale = Arc::new(Mutex::new(sale));
    let customers = (0..CUSTOMERS).map(|number| {
        let (client, schedule) = (app.client(), schedule.to_owned());
        tokio::spawn(buy_until_sold_out(client, schedule, number, Arc::clone(&sale)))
    });
    for customer in customers.collect::<Vec<_>>() {
        customer.await.unwrap();
    }

    let sale = sale.lock().unwrap();
    assert_eq!(sale.sold.len(), sale.prices.len(), "every seat is sold");
    assert_eq!(sale.earned, sale.prices.values().sum::<i64>(), "for its price");
}

async fn check_sales(app: &TestApp, schedule: &str) {
    let counts = app.schedule_now(schedule).await;
    assert_eq!(counts["counts"]["booked"], counts["seats"]);
    assert_eq!(counts["counts"]["available"], 0);
    let (mut seats, mut total) = (0, 0);
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/bookings?schedule_id={schedule}&limit=200{cursor}");
        let page = app.get(&path).await.expect(200);
        for booking in page["items"].as_array().unwrap() {
            seats += labels(booking).len();
            total += booking["total"]["amount"].as_i64().unwrap();
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(Some(seats as u64), counts["seats"].as_u64(), "every seat is in one booking");
    let prices = "SELECT CAST(sum(price) AS BIGINT) FROM seat";
    assert_eq!(total, app.database.number(prices).await);
    app.no_later_guard_stepped_in().await;
    app.audit().await;
}

/// Requests one to four random seats, some of them sold already, until none is left.
async fn buy_until_sold_out(
    client: Client,
    schedule: String,
    number: usize,
    sale: Arc<Mutex<Sale>>,
) {
    loop {
        let wanted: Vec<String> = {
            let sale = sale.lock().unwrap();
            if sale.left.is_empty() {
                return;
            }
            let many = fastrand::usize(1..=4.min(sale.left.len()));
            fastrand::choose_multiple(sale.left.iter().cloned(), many)
        };
        let seats: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let answer = client.book(&schedule, &seats, &format!("customer {number}")).await;
        let mut sale = sale.lock().unwrap();
        if answer.status == 200 {
            let booking = answer.json();
            assert_eq!(labels(&booking).len(), wanted.len());
            for seat in labels(&booking) {
                assert!(sale.sold.insert(seat.clone()), "{seat} is sold twice");
                sale.left.retain(|left| *left != seat);
            }
            sale.earned += booking["total"]["amount"].as_i64().unwrap();
        } else {
            answer.problem(409, "seats_unavailable");
            let conflicts = answer.conflicts();
            assert!(!conflicts.is_empty());
            for conflict in conflicts {
                let (seat, reason) = conflict.split_once(' ').unwrap();
                assert!(wanted.iter().any(|label| label == seat), "{conflict} was not asked for");
                assert!(["booked", "contended"].contains(&reason), "{conflict}");
            }
        }
    }
}

fn label(seat: &Value) -> String {
    seat["label"].as_str().unwrap().to_owned()
}

async fn a_small_hall_is_sold_out(on: Stack) {
    let app = on.start().await;
    let plan =
        std::fs::read_to_string(format!("{}/tests/data/hall.json", env!("CARGO_MANIFEST_DIR")));
    let prices = "id_from=position&price=Front%3D9900&price=Middle%3D7900&price=Rear%3D4900";
    let schedule = put_on_sale(&app, &plan.unwrap(), prices).await;
    sell_out(&app, &schedule).await;
    check_sales(&app, &schedule).await;
}

/// Sells the real seat plan in the file that `SEATLOCK_STADIUM` names. The file is not part of the project, so these
/// tests are ignored by default (`make test` runs them if the file exists).
mod real {
    use super::*;

    async fn a_real_stadium_is_sold_out(on: Stack) {
        let path = std::env::var_os("SEATLOCK_STADIUM").map(PathBuf::from);
        let path = path.unwrap_or_else(|| panic!("SEATLOCK_STADIUM must name a seat plan"));
        let plan = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let app = on.start().await;
        let schedule = put_on_sale(&app, &plan, "id_from=uuid&price=4500").await;
        sell_out(&app, &schedule).await;
        check_sales(&app, &schedule).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "reads the seat plan that SEATLOCK_STADIUM names"]
    async fn a_real_stadium_is_sold_out_on_sqlite() {
        a_real_stadium_is_sold_out(Stack::Embedded).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    #[ignore = "reads the seat plan that SEATLOCK_STADIUM names"]
    async fn a_real_stadium_is_sold_out_on_postgresql() {
        a_real_stadium_is_sold_out(Stack::Full).await;
    }
}
