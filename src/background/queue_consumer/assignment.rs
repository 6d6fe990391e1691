//! The partitions that this process consumes: all of them if the queue itself assigns partitions to processes,
//! otherwise its share among the processes that write heartbeats.
//!
//! The assignment only decides which process opens a partition. The queue guarantees that a partition has one consumer
//! at a time, even while two processes consider the same partition assigned to them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use crate::queue::{Partition, assigned_partitions};
use crate::store::Store;

/// The time between two heartbeats of a process. With each heartbeat the process reads which other ones are alive.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a heartbeat is valid. The partitions of a killed process are reassigned after this time.
const HEARTBEAT_LIFE: Duration = Duration::from_secs(5);

/// The longest time to remove the heartbeat of this process when it stops.
const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// The partitions that this process consumes.
#[derive(Debug, Default)]
pub(crate) struct WorkerAssignment {
    partitions: BTreeSet<Partition>,
    /// The process is stopping and receives no further messages.
    pub(crate) stopped: bool,
}

impl WorkerAssignment {
    /// Whether the partition is assigned to this process and the process is not stopping.
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
    /// Runs until the process stops. `group` is the name under which processes share the partitions. Without a group
    /// every process is assigned all partitions.
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
                // The assignment is not changed: while the database is unavailable, no request is executed.
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        log::warn!("cannot read which processes consume the queue: {error}");
                    }
                }
            }
            // After the time-out and after a change, the loop checks `stopped` again.
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
