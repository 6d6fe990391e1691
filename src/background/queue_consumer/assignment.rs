//! Which partitions this process consumes: all, where the queue assigns partitions itself; otherwise its share
//! among the processes that write heartbeats.
//!
//! This decides only which process asks for messages. The queue makes sure that a partition has one consumer at a
//! time, also while two processes consider a partition theirs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use crate::queue::{Partition, assigned_partitions};
use crate::store::Store;

/// Between two heartbeats of a process; each reads which other processes are alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a heartbeat counts: the partitions of a killed process are reassigned after this time.
const HEARTBEAT_LIFE: Duration = Duration::from_secs(5);

/// The longest that removing the own heartbeat may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// What this process consumes.
#[derive(Debug, Default)]
pub(crate) struct WorkerAssignment {
    partitions: BTreeSet<Partition>,
    /// The process stops: no message is taken any more.
    pub(crate) stopped: bool,
}

impl WorkerAssignment {
    /// Whether the partition is assigned to this process, and the process runs.
    pub(crate) fn includes(&self, partition: Partition) -> bool {
        !self.stopped && self.partitions.contains(&partition)
    }
}

/// Keeps the assignment of this process up to date.
pub(crate) struct AssignmentTask {
    pub(crate) store: Arc<Store>,
    pub(crate) assignment: watch::Sender<WorkerAssignment>,
    pub(crate) partitions: u16,
    /// The number of assigned partitions.
    pub(crate) gauge: IntGauge,
}

impl AssignmentTask {
    /// Runs until the process stops. `group` is the name under which processes share the partitions; without one
    /// every process is assigned all.
    pub(crate) async fn run(self, group: Option<String>) {
        let Some(group) = group else {
            return self.assign(Partition::all(self.partitions).collect());
        };
        let me = Uuid::now_v7();
        let mut assignment = self.assignment.subscribe();
        let mut failing = false;
        while !assignment.borrow_and_update().stopped {
            match self.store.queue_worker_heartbeat(group.clone(), me, HEARTBEAT_LIFE).await {
                Ok(workers) => {
                    self.assign(assigned_partitions(me, &workers, self.partitions));
                    failing = false;
                }
                // The assignment stays. Nothing is executed anyway while the database is unavailable.
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        log::warn!("cannot read which processes consume the queue: {error}");
                    }
                }
            }
            // Both results lead to the next check above.
            let _ = timeout(HEARTBEAT_INTERVAL, assignment.wait_for(|now| now.stopped)).await;
        }
        // If this fails, the heartbeat expires by itself.
        let _ = timeout(LEAVE_LIMIT, self.store.queue_worker_remove(group, me)).await;
        self.gauge.set(0);
    }

    fn assign(&self, partitions: BTreeSet<Partition>) {
        self.gauge.set(i64::try_from(partitions.len()).unwrap_or(i64::MAX));
        self.assignment.send_if_modified(|assignment| {
            let changed = assignment.partitions != partitions;
            if changed {
                let numbers: Vec<u16> = partitions.iter().map(|partition| partition.0).collect();
                log::info!("this process consumes the partitions {numbers:?} of the queue");
                assignment.partitions = partitions;
            }
            changed
        });
    }
}
