//! The queue in front, with workers that are killed, stopped and terminated, and without the primary: an accepted
//! request is executed once, in order and in time, or not at all, and its outcome says which.

mod line;
mod on_sale;
mod orders;
mod workers;

use on_sale::seats;
use orders::Order;

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
