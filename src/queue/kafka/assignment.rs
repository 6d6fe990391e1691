//! What this process has been given of the queue: its partitions, and whose turn it is to read one.

use crate::queue::Partition;

/// One stretch of having been given a partition; no two of a process are the same.
pub(super) type Generation = u64;

/// What this process has been given.
#[derive(Default)]
pub(super) struct Assignment {
    /// For each partition the term, while it is ours.
    terms: Vec<Option<Generation>>,
    last_term: Generation,
    /// Nothing is given any more.
    pub(super) closed: bool,
}

impl Assignment {
    /// Nothing, of a queue of so many partitions.
    pub(super) fn of_none(partitions: usize) -> Self {
        Self { terms: vec![None; partitions], ..Self::default() }
    }

    /// The term in which the partition is ours.
    pub(super) fn term(&self, partition: Partition) -> Option<Generation> {
        self.terms.get(usize::from(partition.0)).copied().flatten()
    }

    /// A new term begins for these.
    pub(super) fn give(&mut self, partitions: &[usize]) {
        self.last_term += 1;
        for partition in partitions {
            if let Some(term) = self.terms.get_mut(*partition) {
                *term = Some(self.last_term);
            }
        }
    }

    /// The partition's term is over.
    pub(super) fn take(&mut self, partition: usize) {
        if let Some(term) = self.terms.get_mut(partition) {
            *term = None;
        }
    }
}

/// Where a partition is to be read on; whoever has this in hand is its consumer here.
#[derive(Default)]
pub(super) struct PartitionLease {
    /// The term of which `next` speaks.
    pub(super) term: Generation,
    /// The oldest message that was given out and not settled, or the next one after all that were; `None` if
    /// nothing was given out in the term.
    pub(super) next: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_comes_back_comes_in_another_term() {
        let mut share = Assignment::of_none(3);
        assert_eq!(share.term(Partition(1)), None);
        share.give(&[1, 2, 9]);
        let first = share.term(Partition(1));
        assert!(first.is_some());
        assert_eq!(share.term(Partition(0)), None);
        assert_eq!(share.term(Partition(9)), None, "it is none of the queue's");
        share.take(1);
        assert_eq!(share.term(Partition(1)), None);
        assert_eq!(share.term(Partition(2)), first, "the others are kept");
        share.give(&[1]);
        assert!(share.term(Partition(1)) > first);
    }
}
