//! Which partitions a process consumes, where processes share them out among themselves.
//!
//! Each process computes it for itself from the list of all, and all come to the same result.

use std::collections::{BTreeSet, HashMap};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Partition;

/// The partitions of `me` among the processes that work: as many as every other one has, or one more. When a
/// process comes or goes, few partitions move between those that stay.
#[must_use]
pub fn share_of(me: Uuid, workers: &[Uuid], partitions: u16) -> BTreeSet<Partition> {
    let workers: BTreeSet<Uuid> = workers.iter().copied().collect();
    let count = workers.len().max(1);
    let floor = usize::from(partitions) / count;
    // So many processes have one partition more than the others.
    let mut larger = usize::from(partitions) % count;
    let mut taken: HashMap<Uuid, usize> = HashMap::new();
    let mut mine = BTreeSet::new();
    for partition in Partition::all(partitions) {
        let load = |worker: &Uuid| taken.get(worker).copied().unwrap_or(0);
        let has_room = |worker: &&Uuid| match load(worker) {
            load if load < floor => true,
            load => load == floor && larger > 0,
        };
        let candidates = workers.iter().copied();
        let chosen = candidates
            .filter(|worker| has_room(&worker))
            .max_by_key(|worker| rank(*worker, partition));
        let Some(chosen) = chosen else { continue };
        let load = taken.entry(chosen).or_default();
        if *load == floor {
            larger = larger.saturating_sub(1);
        }
        *load += 1;
        if chosen == me {
            mine.insert(partition);
        }
    }
    mine
}

/// How much a process is preferred for a partition (rendezvous hashing: the highest rank has it).
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
                let shares: Vec<_> = all.iter().map(|me| share_of(*me, &all, partitions)).collect();
                let mut together: Vec<Partition> = shares.iter().flatten().copied().collect();
                together.sort();
                assert_eq!(together, Partition::all(partitions).collect::<Vec<_>>());
                let sizes = || shares.iter().map(BTreeSet::len);
                assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1, "{shares:?}");
            }
        }
    }

    #[test]
    fn the_order_in_which_processes_are_known_does_not_matter() {
        let mut all = workers(5);
        let before = share_of(all[2], &all, 16);
        let me = all[2];
        all.reverse();
        all.push(me);
        assert_eq!(share_of(me, &all, 16), before);
    }

    #[test]
    fn few_partitions_move_when_a_process_comes() {
        let (before, after) = (workers(4), workers(5));
        let moved: usize = before
            .iter()
            .map(|me| share_of(*me, &after, 64).difference(&share_of(*me, &before, 64)).count())
            .sum();
        // The newcomer gets 12 or 13; between the others about as many more may move.
        assert!(moved <= 20, "{moved} of 64 move between processes that stay");
    }

    #[test]
    fn a_process_that_is_not_in_the_list_has_nothing() {
        assert!(share_of(Uuid::from_u128(99), &workers(3), 16).is_empty());
        assert!(share_of(Uuid::from_u128(1), &[], 16).is_empty());
    }
}
