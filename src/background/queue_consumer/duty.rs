//! Which partitions this process consumes: all, where the queue gives each process its share; otherwise its
//! share among the processes that say that they work.
//!
//! What is said here decides only who asks for messages. That a partition has one consumer at a time is the
//! queue's affair, also while two processes take a partition for theirs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::watch;
use uuid::Uuid;

use crate::queue::{Partition, share_of};
use crate::store::Store;

/// How often a process says that it works, and looks which others do.
const BEAT: Duration = Duration::from_secs(1);

/// For how long others believe it: when a process was killed, its partitions are shared out after this time.
const LIFE: Duration = Duration::from_secs(5);

/// The longest that saying that one leaves may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// What this process has to consume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Duty {
    mine: BTreeSet<Partition>,
    over: bool,
}

impl Duty {
    /// Whether a partition is this process's.
    pub(crate) fn includes(&self, partition: Partition) -> bool {
        !self.over && self.mine.contains(&partition)
    }

    /// Whether the process stops.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Nothing is begun any more.
    pub(crate) fn end(&mut self) {
        self.over = true;
    }

    /// Takes over a share; whether it is another one than before.
    fn take(&mut self, share: BTreeSet<Partition>) -> bool {
        let changed = share != self.mine;
        self.mine = share;
        changed
    }
}

/// Sees to it that this process has its share, until its duty is over.
pub(crate) struct Sharing {
    pub(crate) store: Arc<Store>,
    pub(crate) duty: watch::Sender<Duty>,
    pub(crate) partitions: u16,
    /// How many partitions are this process's.
    pub(crate) gauge: IntGauge,
}

impl Sharing {
    /// Where the processes share, it is under the name of their queue.
    pub(crate) async fn run(self, queue: Option<String>) {
        match queue {
            None => self.take(Partition::all(self.partitions).collect()),
            Some(queue) => self.share(queue).await,
        }
    }

    async fn share(self, queue: String) {
        let me = Uuid::now_v7();
        let mut duty = self.duty.subscribe();
        let mut failing = false;
        while !duty.borrow_and_update().is_over() {
            match self.store.queue_worker_renew(queue.clone(), me, LIFE).await {
                Ok(workers) => {
                    self.take(share_of(me, &workers, self.partitions));
                    failing = false;
                }
                // The share stays as it was. Nothing is executed anyway while the database is away.
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    log::warn!("cannot see which processes consume the queue: {error}");
                }
                Err(_) => {}
            }
            let over = duty.wait_for(Duty::is_over);
            // Its end is looked for above.
            let _ = tokio::time::timeout(BEAT, over).await;
        }
        let leaving = self.store.queue_worker_leave(queue, me);
        // Left undone, the others wait for the end of its life.
        let _ = tokio::time::timeout(LEAVE_LIMIT, leaving).await;
        self.gauge.set(0);
    }

    fn take(&self, share: BTreeSet<Partition>) {
        self.gauge.set(i64::try_from(share.len()).unwrap_or(i64::MAX));
        self.duty.send_if_modified(|duty| {
            let changed = duty.take(share);
            if changed {
                let numbers: Vec<u16> = duty.mine.iter().map(|partition| partition.0).collect();
                log::info!("this process consumes the partitions {numbers:?} of the queue");
            }
            changed
        });
    }
}
