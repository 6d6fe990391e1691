//! The effect on the locks of a master that is killed, paused or demoted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use seatlock::domain::ids::ScheduleId;
use seatlock::lock::LockReply;
use test_support::{Access, Sentinels};
use tokio::task::block_in_place;

use super::fixtures::until_locked;
use super::fixtures::{
    LONG_ROUND_TRIP, RECOVERY_MAX, ROUND_TRIP, ask, assert_locked_without_failure, by_sentinels,
    fresh, guarded, locks,
};

const SHOW: ScheduleId = ScheduleId(7);

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_killed_master_is_replaced_and_the_locks_are_used_again() {
        let access = Access::by_password("sesame");
        let all = block_in_place(|| Sentinels::start(&access, None));
        let locks = guarded(&by_sentinels(&all, &access, None, ROUND_TRIP));
        until_locked(&*locks, SHOW).await;
        let over = Arc::new(AtomicBool::new(false));
        let (buyer, stop) = (Arc::clone(&locks), Arc::clone(&over));
        let buying = tokio::spawn(async move {
            let (mut locked, mut without) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                match ask(&*buyer, fresh(SHOW, 2)).await {
                    Ok(LockReply::Acquired) => locked += 1,
                    Ok(reply) => panic!("a lock of random seats: {reply:?}"),
                    Err(_) => without += 1,
                }
                tokio::task::yield_now().await;
            }
            (locked, without)
        });
        let old = all.master();
        block_in_place(|| {
            old.kill();
            all.wait_for_another_master(old.port());
        });
        let waited = until_locked(&*locks, SHOW).await;
        assert!(waited < RECOVERY_MAX, "{waited:?}");
        assert_locked_without_failure(&*locks, &[SHOW]).await;
        over.store(true, Ordering::Relaxed);
        let (locked, without) = buying.await.unwrap();
        assert!(locked > 0 && without > 0, "{locked} locked, {without} without");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_paused_master_is_replaced_and_not_used_again_when_it_resumes() {
        let all = block_in_place(|| Sentinels::start(&Access::default(), None));
        let locks = guarded(&by_sentinels(&all, &Access::default(), None, ROUND_TRIP));
        until_locked(&*locks, SHOW).await;
        let old = all.master();
        block_in_place(|| {
            old.pause();
            all.wait_for_another_master(old.port());
        });
        let waited = until_locked(&*locks, SHOW).await;
        assert!(waited < RECOVERY_MAX, "{waited:?}");
        old.resume();
        assert_locked_without_failure(&*locks, &[SHOW]).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn after_a_manual_failover_the_locks_are_used_again() {
        let all = block_in_place(|| Sentinels::start(&Access::default(), None));
        let locks = guarded(&by_sentinels(&all, &Access::default(), None, ROUND_TRIP));
        until_locked(&*locks, SHOW).await;
        block_in_place(|| all.fail_over());
        let waited = until_locked(&*locks, SHOW).await;
        assert!(waited < RECOVERY_MAX, "{waited:?}");
        assert_locked_without_failure(&*locks, &[SHOW]).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn connections_to_a_demoted_master_are_closed() {
        let all = block_in_place(|| Sentinels::start(&Access::default(), None));
        let locks = locks(&by_sentinels(&all, &Access::default(), None, LONG_ROUND_TRIP));
        assert_eq!(ask(&locks, fresh(SHOW, 2)).await, Ok(LockReply::Acquired));
        // Not by the Sentinels, which would close its connections.
        block_in_place(|| {
            let (old, new) = (all.master(), all.replica());
            let (old_port, new_port) = (old.port(), new.port().to_string());
            for sentinel in all.sentinels() {
                sentinel.cli(&["sentinel", "remove", all.name()]);
            }
            new.cli(&["replicaof", "no", "one"]);
            old.cli(&["replicaof", "127.0.0.1", &new_port]);
            for sentinel in all.sentinels() {
                let name = all.name();
                sentinel.cli(&["sentinel", "monitor", name, "127.0.0.1", &new_port, "2"]);
            }
            assert_ne!(all.master().port(), old_port);
        });
        let refused = ask(&locks, fresh(SHOW, 2)).await;
        assert!(format!("{refused:?}").contains("ReadOnly"), "{refused:?}");
        assert_eq!(ask(&locks, fresh(SHOW, 2)).await, Ok(LockReply::Acquired));
        let clients = block_in_place(|| all.replica().cli(&["client", "list", "type", "normal"]));
        assert!(!clients.contains("lib-name=redis-rs"), "{clients}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_sentinels_the_known_master_is_used() {
        let all = block_in_place(|| Sentinels::start(&Access::default(), None));
        let locks = locks(&by_sentinels(&all, &Access::default(), None, LONG_ROUND_TRIP));
        assert_eq!(ask(&locks, fresh(SHOW, 2)).await, Ok(LockReply::Acquired));
        let master = all.master();
        block_in_place(|| {
            all.sentinels().iter().for_each(|sentinel| sentinel.kill());
            master.cli(&["client", "kill", "type", "normal"]);
        });
        let first = ask(&locks, fresh(SHOW, 2)).await;
        let again = ask(&locks, fresh(SHOW, 2)).await;
        assert_eq!(again, Ok(LockReply::Acquired), "after {first:?}");
    }
}
