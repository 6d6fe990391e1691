//! The effect on the locks of nodes that fail and of slots that move.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seatlock::domain::ids::ScheduleId;
use seatlock::lock::{LockReply, SeatLocks};
use test_support::{Access, RedisCluster};
use tokio::task::block_in_place;

use super::fixtures::{
    LONG_ROUND_TRIP, RECOVERY_MAX, ROUND_TRIP, ask, assert_locked_without_failure, fresh, guarded,
    of_cluster,
};
use super::fixtures::{schedule_of, tag, until_locked};

/// A cluster, and one schedule for each of its masters.
fn start(access: &Access, replicas: bool) -> (RedisCluster, Vec<ScheduleId>) {
    block_in_place(|| {
        let cluster = RedisCluster::start(access, replicas);
        let schedules = (0..RedisCluster::MASTERS).map(|master| schedule_of(&cluster, master));
        let schedules = schedules.collect();
        (cluster, schedules)
    })
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_a_node_only_its_slots_are_not_locked_until_it_is_back() {
        let (cluster, schedules) = start(&Access::default(), false);
        let locks = guarded(&of_cluster(&cluster, &Access::default(), ROUND_TRIP));
        for schedule in &schedules {
            until_locked(&*locks, *schedule).await;
        }
        block_in_place(|| cluster.nodes()[0].kill());
        for _ in 0..50 {
            let requests: Vec<_> = schedules.iter().map(|one| fresh(*one, 2)).collect();
            let replies = locks.run(&requests).await.unwrap();
            assert!(matches!(replies[0], LockReply::Failed(_)), "{replies:?}");
            assert_eq!(replies[1..], [LockReply::Acquired, LockReply::Acquired]);
        }
        block_in_place(|| {
            cluster.nodes()[0].restart();
            cluster.wait_until_whole();
        });
        let waited = until_locked(&*locks, schedules[0]).await;
        assert!(waited < RECOVERY_MAX, "{waited:?}");
        assert_locked_without_failure(&*locks, &schedules).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_node_that_hangs_does_not_delay_the_answers_of_the_others() {
        let (cluster, schedules) = start(&Access::default(), false);
        let locks = guarded(&of_cluster(&cluster, &Access::default(), ROUND_TRIP));
        for schedule in &schedules {
            until_locked(&*locks, *schedule).await;
        }
        cluster.nodes()[2].pause();
        for _ in 0..5 {
            let requests: Vec<_> = schedules.iter().map(|one| fresh(*one, 2)).collect();
            let replies = locks.run(&requests).await.unwrap();
            assert_eq!(replies[..2], [LockReply::Acquired, LockReply::Acquired]);
            assert!(matches!(replies[2], LockReply::Failed(_)), "{replies:?}");
        }
        cluster.nodes()[2].resume();
        block_in_place(|| cluster.wait_until_whole());
        let waited = until_locked(&*locks, schedules[2]).await;
        assert!(waited < RECOVERY_MAX, "{waited:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_replica_of_a_killed_node_is_used_once_it_is_promoted() {
        let access = Access::by_password("sesame");
        let (cluster, schedules) = start(&access, true);
        let locks = guarded(&of_cluster(&cluster, &access, ROUND_TRIP));
        for schedule in &schedules {
            until_locked(&*locks, *schedule).await;
        }
        // The node that the settings name.
        block_in_place(|| cluster.nodes()[1].kill());
        assert!(ask(&*locks, fresh(schedules[1], 2)).await.is_err());
        block_in_place(|| cluster.wait_until_replaced(1));
        let waited = until_locked(&*locks, schedules[1]).await;
        assert!(waited < RECOVERY_MAX, "{waited:?}");
        assert_locked_without_failure(&*locks, &schedules).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_replica_of_a_hanging_node_is_used_once_it_is_promoted() {
        let (cluster, schedules) = start(&Access::default(), true);
        let locks = guarded(&of_cluster(&cluster, &Access::default(), ROUND_TRIP));
        for schedule in &schedules {
            until_locked(&*locks, *schedule).await;
        }
        // Its connections stay open.
        cluster.nodes()[0].pause();
        block_in_place(|| cluster.wait_until_replaced(0));
        let waited = until_locked(&*locks, schedules[0]).await;
        assert!(waited < RECOVERY_MAX, "{waited:?}");
        assert_locked_without_failure(&*locks, &schedules).await;
        cluster.nodes()[0].resume();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_slot_that_moves_causes_no_error() {
        let access = Access::by_password("sesame");
        let (cluster, schedules) = start(&access, false);
        let show = schedules[0];
        let locks = guarded(&of_cluster(&cluster, &access, LONG_ROUND_TRIP));
        until_locked(&*locks, show).await;
        let over = Arc::new(AtomicBool::new(false));
        let buyers: Vec<_> = (0..4)
            .map(|seats| {
                let (locks, stop) = (Arc::clone(&locks), Arc::clone(&over));
                tokio::spawn(async move {
                    let mut asked = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let reply = ask(&*locks, fresh(show, seats + 1)).await;
                        assert_eq!(reply, Ok(LockReply::Acquired), "{} seats", seats + 1);
                        asked += 1;
                        // A pause, because each lock has to be moved, too.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    asked
                })
            })
            .collect();
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let slot = block_in_place(|| cluster.slot_of(&tag(show)));
            block_in_place(|| cluster.begin_move(slot, from, to));
            // Single seats are locked at the new node already; several seats have to wait.
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(ask(&*locks, fresh(show, 1)).await, Ok(LockReply::Acquired));
            block_in_place(|| cluster.end_move(slot, from, to));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        over.store(true, Ordering::Relaxed);
        for buyer in buyers {
            assert!(buyer.await.unwrap() > 10);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lock_moves_with_its_slot() {
        let (cluster, schedules) = start(&Access::default(), false);
        let show = schedules[0];
        let locks = guarded(&of_cluster(&cluster, &Access::default(), LONG_ROUND_TRIP));
        let request = fresh(show, 1);
        assert_eq!(ask(&*locks, request.clone()).await, Ok(LockReply::Acquired));
        let slot = block_in_place(|| cluster.slot_of(&tag(show)));
        block_in_place(|| {
            cluster.begin_move(slot, 0, 2);
            cluster.end_move(slot, 0, 2);
        });
        let seatlock::lock::LockRequest::Acquire { schedule, seats, token, ttl } = request else {
            panic!("not an acquire")
        };
        let other = seatlock::lock::LockToken { prefix: 0, ..token };
        let wanted = seatlock::lock::LockRequest::Acquire {
            schedule,
            seats: seats.clone(),
            token: other,
            ttl,
        };
        assert_eq!(ask(&*locks, wanted).await, Ok(LockReply::Busy(vec![(seats[0], token)])));
    }
}
