//! Assigns partitions to processes, for queues that do not assign partitions themselves.
//!
//! Each process computes the whole assignment from the list of all processes, with the same result.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Partition;

/// The partitions that the process `me` of `workers` consumes. The numbers of partitions of two processes differ by at
/// most one. When a process starts or stops, few partitions move between the other processes.
#[must_use]
pub fn assigned_partitions(me: Uuid, workers: &[Uuid], partitions: u16) -> BTreeSet<Partition> {
    let workers: BTreeSet<Uuid> = workers.iter().copied().collect();
    let count = workers.len().max(1);
    let floor = usize::from(partitions) / count;
    // This many processes get one partition more than the others.
    let mut larger = usize::from(partitions) % count;
    let mut loads: HashMap<Uuid, usize> = workers.iter().map(|worker| (*worker, 0)).collect();
    let mut mine = BTreeSet::new();
    for partition in Partition::all(partitions) {
        let has_room = |load: usize| load < floor || (load == floor && larger > 0);
        let chosen = loads
            .iter_mut()
            .filter(|(_, load)| has_room(**load))
            .max_by_key(|(worker, _)| rank(**worker, partition));
        let Some((worker, load)) = chosen else { continue };
        if *load == floor {
            larger = larger.saturating_sub(1);
        }
        *load += 1;
        if *worker == me {
            mine.insert(partition);
        }
    }
    mine
}

/// The rank of a process for a partition. The process with the highest rank gets the partition (rendezvous hashing).
fn rank(worker: Uuid, partition: Partition) -> ([u8; 8], Uuid) {
    let mut hash = Sha256::new();
    hash.update(worker.as_bytes());
    hash.update(partition.0.to_be_bytes());
    let mut rank = [0; 8];
    rank.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    (rank, worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: u128) -> Vec<Uuid> {
        (1..=count).map(Uuid::from_u128).collect()
    }

    #[test]
    fn each_partition_has_one_process_and_all_have_about_as_many() {
        for count in 1..=9 {
            for partitions in [0, 1, 2, 4, 7, 16, 64] {
                let all = workers(count);
                let shares: Vec<_> =
                    all.iter().map(|me| assigned_partitions(*me, &all, partitions)).collect();
                let mut together: Vec<Partition> = shares.iter().flatten().copied().collect();
                together.sort();
                assert_eq!(together, Partition::all(partitions).collect::<Vec<_>>());
                let sizes = || shares.iter().map(BTreeSet::len);
                assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1, "{shares:?}");
            }
        }
    }

    #[test]
    fn the_order_of_the_list_of_processes_does_not_matter() {
        let mut all = workers(5);
        let before = assigned_partitions(all[2], &all, 16);
        let me = all[2];
        all.reverse();
        all.push(me);
        assert_eq!(assigned_partitions(me, &all, 16), before);
    }

    #[test]
    fn few_partitions_move_when_a_process_starts() {
        let before = workers(4);
        let after = workers(5);
        let moved: usize = before
            .iter()
            .map(|me| {
                assigned_partitions(*me, &after, 64)
                    .difference(&assigned_partitions(*me, &before, 64))
                    .count()
            })
            .sum();
        // The new process gets 12 or 13 partitions. About as many may move between the other processes.
        assert!(moved <= 20, "{moved} of 64 move between processes that stay");
    }

    #[test]
    fn a_process_that_is_not_in_the_list_has_nothing() {
        assert!(assigned_partitions(Uuid::from_u128(99), &workers(3), 16).is_empty());
        assert!(assigned_partitions(Uuid::from_u128(1), &[], 16).is_empty());
    }
}
