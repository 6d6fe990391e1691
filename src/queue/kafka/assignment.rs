//! The partitions that are assigned to this process, and the lease to read one of them.

use crate::queue::Partition;

/// Identifies one assignment of a partition to this process. A generation is never used twice in a process.
pub(super) type Generation = u64;

/// The partitions that are assigned to this process.
#[derive(Default)]
pub(super) struct Assignment {
    /// The generation of each partition while it is assigned.
    generations: Vec<Option<Generation>>,
    last: Generation,
    /// The process has left the group.
    pub(super) closed: bool,
}

impl Assignment {
    /// An assignment without partitions.
    pub(super) fn none(partitions: usize) -> Self {
        Self { generations: vec![None; partitions], ..Self::default() }
    }

    /// The generation of a partition. `None` if it is not assigned.
    pub(super) fn generation(&self, partition: Partition) -> Option<Generation> {
        self.generations.get(usize::from(partition.0)).copied().flatten()
    }

    /// Assigns partitions. All of them get the same new generation.
    pub(super) fn assign(&mut self, partitions: &[usize]) {
        self.last += 1;
        for partition in partitions {
            if let Some(generation) = self.generations.get_mut(*partition) {
                *generation = Some(self.last);
            }
        }
    }

    /// Revokes a partition.
    pub(super) fn revoke(&mut self, partition: usize) {
        if let Some(generation) = self.generations.get_mut(partition) {
            *generation = None;
        }
    }
}

/// The read position of a partition. The consumer of the partition in this process locks the mutex around it.
#[derive(Default)]
pub(super) struct PartitionLease {
    /// The generation to which `next` belongs.
    pub(super) generation: Generation,
    /// The offset of the oldest unsettled message, or of the next one if all delivered ones are settled; `None` if
    /// nothing was delivered in this generation.
    pub(super) next: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_is_assigned_again_has_another_generation() {
        let mut assignment = Assignment::none(3);
        assert_eq!(assignment.generation(Partition(1)), None);
        assignment.assign(&[1, 2, 9]);
        let first = assignment.generation(Partition(1));
        assert!(first.is_some());
        assert_eq!(assignment.generation(Partition(0)), None);
        assert_eq!(assignment.generation(Partition(9)), None, "there is no such partition");
        assignment.revoke(1);
        assert_eq!(assignment.generation(Partition(1)), None);
        assert_eq!(assignment.generation(Partition(2)), first, "the others stay assigned");
        assignment.assign(&[1]);
        assert!(assignment.generation(Partition(1)) > first);
    }
}
