//! Bounded lists in documents.

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// A list of at most `MAX` items. Deserialising a longer list fails at the first item above the limit, which bounds
/// the memory for a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtMost<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for AtMost<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Weighed { weight: |_: &T| 1, max: MAX }).map(Self)
    }
}

/// Deserialises a list. The sum of the weights of its items is at most `max`.
pub(crate) struct Weighed<T> {
    /// The weight of an item.
    pub(crate) weight: fn(&T) -> usize,
    /// The largest sum.
    pub(crate) max: usize,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Weighed<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut read = Vec::new();
        let mut weight = 0usize;
        while let Some(item) = items.next_element()? {
            weight = weight.saturating_add((self.weight)(&item));
            if weight > self.max {
                let message = format!("has more than {} entries: send fewer", self.max);
                return Err(serde::de::Error::custom(message));
            }
            read.push(item);
        }
        Ok(read)
    }
}
