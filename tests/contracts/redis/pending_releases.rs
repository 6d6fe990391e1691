//! Locks of requests whose answer was lost.

use std::sync::Arc;
use std::time::Duration;

use seatlock::domain::ids::ScheduleId;
use seatlock::lock::guarded::Guarded;
use seatlock::lock::redis::RedisLocks;
use seatlock::lock::{LockError, LockReply, LockRequest, LockToken, SeatLocks};
use seatlock::redis::Topology;
use test_support::{Access, eventually};

use super::fixtures::{RECOVERY_MAX, at, fresh, guarded, settings};

/// The round trip of the service, without a margin: the answers are to come too late.
const ROUND_TRIP: Duration = Duration::from_millis(40);

/// Runs lists of requests until one gets no answer, and returns that list.
async fn first_list_without_an_answer(locks: Arc<Guarded<RedisLocks>>) -> Vec<LockRequest> {
    loop {
        let requests: Vec<_> = (0..200).map(|_| fresh(ScheduleId(7), 2)).collect();
        match locks.run(&requests).await {
            Ok(_) | Err(LockError::Bypassed) => tokio::task::yield_now().await,
            Err(LockError::Timeout | LockError::Backend(_)) => return requests,
        }
    }
}

/// The same request of another buyer.
fn of_another_buyer(request: LockRequest) -> LockRequest {
    let LockRequest::Acquire { schedule, seats, ttl, .. } = request else {
        panic!("not an acquire")
    };
    let token = LockToken { prefix: 0xa11a, attempt: 1 };
    LockRequest::Acquire { schedule, seats, token, ttl }
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn locks_of_requests_without_an_answer_are_released_after_an_outage() {
        let server = test_support::Redis::start(&[]);
        let topology = Topology::Standalone { address: at(server.port()), db: 0 };
        let locks = guarded(&settings(topology, &Access::default(), ROUND_TRIP));
        // Several at a time, so that one of them is being executed when the server stops.
        let buyers = (0..4).map(|_| tokio::spawn(first_list_without_an_answer(Arc::clone(&locks))));
        let buyers: Vec<_> = buyers.collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.pause();
        let mut requests = Vec::new();
        for buyer in buyers {
            requests.extend(buyer.await.unwrap().into_iter().map(of_another_buyer));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.resume();
        // The TTL of the locks is 30 s.
        let acquired = Ok(vec![LockReply::Acquired; requests.len()]);
        eventually("the locks of other buyers", RECOVERY_MAX, async || {
            let replies = locks.run(&requests).await;
            if replies == acquired { Ok(()) } else { Err(replies) }
        })
        .await;
    }
}
