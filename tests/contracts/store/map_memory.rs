//! The memory of the seat maps is bounded.

use std::sync::Arc;

use seatlock::seat_map::{ContentEncoding, Representation, SeatMaps};

use super::stage::Stage;

const SEATS: u32 = 500;

/// The bytes of each encoded answer.
const ANSWER: usize = 40_000;

/// Less than four schedules with one answer each, and more than three.
const BYTES_MAX: u64 = 200_000;

super::on_both_databases![maps_over_the_bound_are_dropped_and_read_again];

async fn maps_over_the_bound_are_dropped_and_read_again(stage: Stage) {
    let store = Arc::clone(&stage.store);
    let maps = SeatMaps::new(store, None, Arc::clone(&stage.metrics), BYTES_MAX);
    let metrics = &stage.metrics.map;
    let mut schedules = Vec::new();
    for _ in 0..8 {
        schedules.push(stage.schedule(SEATS).await);
    }
    // The first schedule is read again at the end.
    for id in schedules.iter().chain(schedules.first()) {
        let loaded = maps.schedule(*id).await.unwrap().unwrap();
        assert_eq!(loaded.layout.len(), SEATS as usize);
        maps.record_size();
        let before = metrics.memory_bytes.get();
        let kind = (Representation::Seats, ContentEncoding::Identity);
        let answer = maps.answer(&loaded, kind, 0, |_, _| vec![b'x'; ANSWER]).await.unwrap();
        assert_eq!(answer.encoded.body.len(), ANSWER);
        maps.record_size();
        let after = metrics.memory_bytes.get();
        assert!(u64::try_from(after).unwrap() <= BYTES_MAX, "{after} bytes");
        let is_full = metrics.evictions_total.get() > 0;
        assert!(is_full || after - before == ANSWER as i64, "{before} and then {after} bytes");
    }
    assert_eq!(metrics.loaded.get(), 3);
    assert_eq!(metrics.evictions_total.get(), 6);
}
