//! The updates that the listeners of one schedule get.

use super::*;

fn states(version: i64, codes: &[u8]) -> Arc<SeatStates> {
    Arc::new(SeatStates::new(at(version), codes.to_vec()))
}

fn at(version: i64) -> InHistory<i64> {
    InHistory { history: HistoryId::TEST, at: version }
}

fn seen(version: i64) -> LastSeen {
    LastSeen { history: Some(HistoryId::TEST), version }
}

fn content(update: &Update) -> (i64, Option<Vec<u32>>) {
    match &update.event {
        StreamEvent::Snapshot(states) => (states.version, None),
        StreamEvent::Changes(seats, states) => {
            (states.version, Some(seats.iter().map(|seat| seat.0).collect()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn listeners_get_what_differs_however_many_versions_lie_between() {
    let channel = Channel::new(states(1, &[0, 0, 0]));
    let mut listener = channel.listen();
    assert_eq!(content(&listener.opening), (1, None));
    assert!(channel.advance(&states(4, &[0, 2, 1])));
    assert!(!channel.advance(&states(3, &[0, 2, 0])), "an older version");
    assert!(channel.advance(&states(5, &[0, 2, 0])));
    let mut next = || content(&listener.updates.try_recv().unwrap());
    assert_eq!((next(), next()), ((4, Some(vec![1, 2])), (5, Some(vec![2]))));
    assert!(listener.updates.try_recv().is_err());
}

#[test]
fn a_listener_resumes_with_what_it_missed_and_with_all_if_it_is_ahead() {
    let channel = Channel::new(states(1, &[0, 0, 0]));
    channel.advance(&states(2, &[1, 0, 0]));
    channel.advance(&states(3, &[2, 0, 0]));
    assert_eq!(content(&channel.resume(seen(3)).unwrap().opening), (3, Some(vec![])));
    assert_eq!(content(&channel.resume(seen(1)).unwrap().opening), (3, Some(vec![0])));
    assert_eq!(content(&channel.resume(seen(9)).unwrap().opening), (3, None));
    assert_eq!(channel.resume(seen(0)).unwrap_err(), Missed { newest: at(3) });
    let resumed = channel.resume_with(0, 3, vec![SeatNumber(2), SeatNumber(0)]);
    assert_eq!(content(&resumed.opening), (3, Some(vec![0, 2])));
    assert_eq!(content(&channel.resume(seen(0)).unwrap().opening), (3, Some(vec![0, 2])));
}

#[test]
fn a_listener_of_another_history_gets_all_states() {
    let channel = Channel::new(states(1, &[0, 0]));
    channel.advance(&states(3, &[1, 0]));
    for history in [None, "00000000".parse().ok()] {
        for version in [1, 3] {
            let resumed = channel.resume(LastSeen { history, version }).unwrap();
            assert_eq!(content(&resumed.opening), (3, None), "{history:?} {version}");
        }
    }
}

#[test]
fn a_listener_that_saw_a_change_elsewhere_gets_its_reversal() {
    let channel = Channel::new(states(1, &[0, 0]));
    // At version 2, which only another process has sent, the second seat was held.
    channel.advance(&states(3, &[0, 0]));
    assert_eq!(channel.resume(seen(2)).unwrap_err(), Missed { newest: at(3) });
    channel.advance(&states(4, &[2, 0]));
    let resumed = channel.resume_with(2, 3, vec![SeatNumber(1)]);
    assert_eq!(content(&resumed.opening), (4, Some(vec![0, 1])));
}

#[test]
fn changes_that_are_larger_than_a_snapshot_are_sent_as_a_snapshot() {
    let channel = Channel::new(states(1, &[0; 200]));
    let mut codes = [0; 200];
    codes[..CHANGES_MIN].fill(2);
    channel.advance(&states(2, &codes));
    assert!(content(&channel.resume(seen(1)).unwrap().opening).1.is_some());
    channel.advance(&states(3, &[2; 200]));
    assert_eq!(content(&channel.resume(seen(1)).unwrap().opening), (3, None));
}

#[test]
fn a_frame_is_written_once_for_all_listeners() {
    static WRITTEN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let write = |_: &StreamEvent| {
        WRITTEN.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        b"frame".to_vec()
    };
    let channel = Channel::new(states(1, &[0]));
    let mut listeners: Vec<Listener> = (0..5).map(|_| channel.listen()).collect();
    channel.advance(&states(2, &[1]));
    for listener in &mut listeners {
        assert_eq!(listener.opening.frame(write), "frame");
        assert_eq!(listener.updates.try_recv().unwrap().frame(write), "frame");
    }
    assert_eq!(WRITTEN.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[test]
fn seats_of_every_block_are_compared() {
    let before = SeatStates::new(at(1), vec![0; 1_000]);
    let mut codes = vec![0; 1_000];
    for seat in [0, 255, 256, 511, 999] {
        codes[seat] = 1;
    }
    let changed = difference(&before, &SeatStates::new(at(2), codes));
    let changed: Vec<u32> = changed.into_iter().map(|seat| seat.0).collect();
    assert_eq!(changed, [0, 255, 256, 511, 999]);
}
