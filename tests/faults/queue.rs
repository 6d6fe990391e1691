//! The queue in front, with workers that are killed, stopped and terminated, and without the primary: an accepted
//! request is executed once, in order and in time, or not at all, and its outcome says which.

mod line;
mod on_sale;
mod orders;
mod workers;

use line::{
    a_request_is_answered_in_time_while_the_primary_hangs,
    more_is_offered_than_can_be_sold_in_time, requests_keep_their_order_when_workers_die,
    what_waits_longer_than_its_deadline_is_never_sold,
};
use on_sale::{Backend, seats};
use orders::Order;
use workers::{
    a_terminated_worker_settles_what_it_has_begun, a_worker_dies_between_commit_and_settlement,
    a_worker_stalls_for_longer_than_its_turn, workers_die_again_and_again,
};

/// Each scenario on each queue; those named first are part of the smoke.
macro_rules! on_every_queue {
    (smoke: $($quick:ident),+; $($name:ident),+ $(,)?) => {
        pub(crate) mod smoke {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $quick() {
                    super::$quick(super::Backend::database()).await;
                }
            )+
        }

        mod database {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(super::Backend::database()).await;
                }
            )+
        }
    };
}

on_every_queue![
    smoke: a_worker_dies_between_commit_and_settlement;
    workers_die_again_and_again,
    requests_keep_their_order_when_workers_die,
    what_waits_longer_than_its_deadline_is_never_sold,
    a_request_is_answered_in_time_while_the_primary_hangs,
    more_is_offered_than_can_be_sold_in_time,
    a_worker_stalls_for_longer_than_its_turn,
    a_terminated_worker_settles_what_it_has_begun,
];

/// Slows a worker down by this time for each batch, so that requests wait.
fn slowly(ms: u64) -> String {
    format!("before_commit=pause:{ms}ms")
}

/// Many customers who want seats of a row of `seats`: one to three each, or only one; half of them under a
/// key.
fn customers(
    (schedule, row): (&str, u32),
    name: &str,
    numbers: std::ops::Range<u32>,
    most: u32,
) -> Vec<Order> {
    let order = |number: u32| {
        let count = fastrand::u32(1..=most);
        let wanted = seats(fastrand::u32(1..=row + 1 - count), count);
        Order::of(
            &format!("{name}-{schedule}-{number}"),
            schedule,
            &wanted,
            number.is_multiple_of(2),
        )
    };
    numbers.map(order).collect()
}
