//! Many concurrent customers: the first gets the seats, and no booking is incomplete.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::json;
use test_support::{Answer, Client, labels};

use crate::app::Stack;

on_both_stacks![
    a_hundred_clients_for_one_seat_get_one_booking,
    a_hundred_clients_for_three_seats_get_one_booking,
    a_hundred_clients_who_hold_one_seat_get_one_hold,
    overlapping_requests_never_sell_a_seat_twice_nor_half_a_booking,
    fifty_concurrent_requests_with_one_key_book_once,
    a_customers_limit_holds_against_many_concurrent_requests,
    a_booking_that_cannot_be_stored_fails_alone,
];

/// Sends the same request for each customer over a separate connection, and waits for all answers.
pub(crate) async fn send_concurrently(
    clients: &[Client],
    schedule: &str,
    seats: &[&str],
    many: usize,
) -> Vec<Answer> {
    join_all((0..many).map(|number| {
        let client = clients[number % clients.len()].clone();
        async move { client.book(schedule, seats, &format!("customer {number}")).await }
    }))
    .await
}

/// Exactly one customer gets 200, and every other one 409.
pub(crate) fn exactly_one_won(answers: &[Answer]) {
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1, "{answers:?}");
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        lost.problem(409, "seats_unavailable");
        assert!(!lost.conflicts().is_empty(), "{lost:?}");
    }
}

async fn a_hundred_clients_for_one_seat_get_one_booking(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let clients = [app.new_client(), app.new_client()];
    exactly_one_won(&send_concurrently(&clients, &schedule, &["A-1-2"], 100).await);
    assert_eq!(app.states(&schedule).await, "av bo av ");
    app.no_later_guard_stepped_in().await;
    app.audit().await;
}

async fn a_hundred_clients_for_three_seats_get_one_booking(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(4).await;
    let seats = ["A-1-1", "A-1-3", "A-1-4"];
    exactly_one_won(&send_concurrently(&[app.new_client()], &schedule, &seats, 100).await);
    assert_eq!(app.states(&schedule).await, "bo av bo bo ");
    app.no_later_guard_stepped_in().await;
    app.audit().await;
}

async fn a_hundred_clients_who_hold_one_seat_get_one_hold(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(1).await;
    let holds = (0..100).map(|number| {
        let (client, schedule) = (app.client(), &schedule);
        async move { client.hold(schedule, &["A-1-1"], &format!("c{number}")).await }
    });
    let answers = join_all(holds).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    for lost in answers.iter().filter(|answer| answer.status != 201) {
        lost.problem(409, "seats_unavailable");
    }
    app.no_later_guard_stepped_in().await;
    app.audit().await;
}

async fn overlapping_requests_never_sell_a_seat_twice_nor_half_a_booking(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(40).await;
    let requests = (0..60).map(|number| {
        let (client, schedule) = (app.client(), &schedule);
        async move {
            let mut seats: BTreeSet<String> = BTreeSet::new();
            while seats.len() < 2 + number % 4 {
                seats.insert(format!("A-1-{}", fastrand::u8(1..=40)));
            }
            let mut seats: Vec<&str> = seats.iter().map(String::as_str).collect();
            fastrand::shuffle(&mut seats);
            let answer = client.book(schedule, &seats, &format!("c{number}")).await;
            let mut seats: Vec<String> = seats.into_iter().map(str::to_owned).collect();
            seats.sort();
            (seats, answer)
        }
    });
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for (mut asked, answer) in join_all(requests).await {
        if answer.status != 200 {
            answer.problem(409, "seats_unavailable");
            continue;
        }
        let booking = answer.json();
        let mut given = labels(&booking);
        given.sort();
        asked.sort();
        assert_eq!(given, asked, "all seats or none");
        for seat in given {
            let other = owners.insert(seat, booking["id"].to_string());
            assert_eq!(other, None, "sold twice: {booking}");
        }
    }
    let booked = app.seats(&schedule).await.into_iter().filter(|(_, status)| status == "booked");
    let booked: BTreeSet<String> = booked.map(|(label, _)| label).collect();
    assert_eq!(booked, owners.into_keys().collect::<BTreeSet<_>>());
    app.no_later_guard_stepped_in().await;
    app.audit().await;
}

async fn fifty_concurrent_requests_with_one_key_book_once(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let body = test_support::taking(&schedule, &["A-1-1", "A-1-2"], "anna");
    let requests = (0..50).map(|_| app.post_keyed("/api/v1/bookings", "order-7", &body));
    let answers = join_all(requests).await;
    let (given, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert!(!given.is_empty());
    assert!(given.iter().all(|answer| answer.body == given[0].body), "{given:?}");
    let first = given.iter().filter(|answer| answer.header("idempotent-replayed").is_none());
    assert_eq!(first.count(), 1, "all the others are repetitions");
    for answer in refused {
        answer.problem(409, "request_in_progress");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(app.database.number("SELECT count(*) FROM booking").await, 1);
    app.no_later_guard_stepped_in().await;
    app.audit().await;
}

async fn a_customers_limit_holds_against_many_concurrent_requests(on: Stack) {
    let app = on.start().await;
    let rules = json!({"max_seats_per_customer": 4});
    let schedule = app.schedule(&[("A", 1, 40)], rules).await;
    let requests = (0..20).map(|number| {
        let (client, schedule) = (app.client(), &schedule);
        async move {
            let seats = [format!("A-1-{}", 2 * number + 1), format!("A-1-{}", 2 * number + 2)];
            let seats = [seats[0].as_str(), seats[1].as_str()];
            match number % 2 {
                0 => client.book(schedule, &seats, "anna").await,
                _ => client.hold(schedule, &seats, "anna").await,
            }
        }
    });
    let answers = join_all(requests).await;
    let granted = answers.iter().filter(|answer| [200, 201].contains(&answer.status)).count();
    assert_eq!(granted, 2, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer.status >= 400) {
        refused.problem(409, "seat_limit_reached");
    }
    app.no_later_guard_stepped_in().await;
    app.audit().await;
}

async fn a_booking_that_cannot_be_stored_fails_alone(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(40).await;
    app.database.forbid("mallory").await;
    let requests = (1..=40).map(|seat| {
        let (client, schedule) = (app.client(), &schedule);
        let customer = if seat % 10 == 0 { "mallory" } else { "anna" };
        async move { client.book(schedule, &[&format!("A-1-{seat}")], customer).await }
    });
    for (seat, answer) in (1..).zip(join_all(requests).await) {
        if seat % 10 == 0 {
            assert_eq!(answer.problem(500, "internal")["effect"], "none");
        } else {
            answer.expect(200);
        }
    }
    app.audit().await;
}
