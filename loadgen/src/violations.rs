//! Differences between what the service confirmed and what it has.

/// The most violations that are described; the others are counted.
pub(crate) const DESCRIBED_MAX: usize = 20;

/// Violations; the first ones are described.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    pub(crate) count: usize,
    pub(crate) described: Vec<String>,
}

impl Violations {
    pub(crate) fn add(&mut self, description: impl FnOnce() -> String) {
        self.count += 1;
        if self.described.len() < DESCRIBED_MAX {
            self.described.push(description());
        }
    }

    /// Adds those of another list.
    pub(crate) fn append(&mut self, other: Self) {
        self.count += other.count;
        let more = DESCRIBED_MAX.saturating_sub(self.described.len());
        self.described.extend(other.described.into_iter().take(more));
    }
}
