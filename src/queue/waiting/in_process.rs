//! Waiting lists in the memory of this process.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::domain::clock::EpochMs;
use crate::domain::ids::{RequestId, ScheduleId};

use super::{Entry, QueueEntry, WaitingListLimits};

/// The waiting list of each schedule.
#[derive(Debug, Default)]
pub(super) struct InProcessWaitingLists {
    lists: Mutex<HashMap<ScheduleId, ScheduleList>>,
}

#[derive(Debug, Default)]
struct ScheduleList {
    /// The number of the first entry.
    first: u64,
    /// Oldest first. `None` for a request that was removed before an older one.
    entries: VecDeque<Option<QueueEntry>>,
    numbers: HashMap<RequestId, u64>,
    /// The newest running request. UUIDs of version 7 sort by their time.
    running: Option<RequestId>,
    /// The number of entries of each customer.
    customers: HashMap<String, u32>,
}

impl InProcessWaitingLists {
    pub(super) fn add(&self, entry: QueueEntry, limits: WaitingListLimits) -> Entry {
        let mut lists = self.lists.lock();
        let list = lists.entry(entry.id.schedule).or_default();
        list.remove_expired(entry.now);
        let of_customer = list.customers.get(&entry.customer).copied().unwrap_or(0);
        if of_customer >= limits.customer_max {
            return Entry::CustomerFull;
        }
        if list.numbers.len() as u64 >= limits.max {
            return Entry::Full;
        }
        *list.customers.entry(entry.customer.clone()).or_default() += 1;
        list.numbers.insert(entry.id, list.first + list.entries.len() as u64);
        list.entries.push_back(Some(entry));
        Entry::At(list.entries.len() as u64)
    }

    pub(super) fn mark_running(&self, id: RequestId) {
        if let Some(list) = self.lists.lock().get_mut(&id.schedule) {
            list.running = list.running.max(Some(id));
        }
    }

    pub(super) fn remove(&self, requests: &[(RequestId, String)]) {
        let mut lists = self.lists.lock();
        for (id, _) in requests {
            let Some(list) = lists.get_mut(&id.schedule) else { continue };
            list.remove(*id);
            if list.numbers.is_empty() {
                lists.remove(&id.schedule);
            }
        }
    }

    /// The position of a request, from 1, and whether the request is running.
    pub(super) fn position(&self, id: RequestId) -> Option<(u64, bool)> {
        let lists = self.lists.lock();
        let list = lists.get(&id.schedule)?;
        let number = list.numbers.get(&id)?;
        Some((number - list.first + 1, Some(id) <= list.running))
    }
}

impl ScheduleList {
    fn remove(&mut self, id: RequestId) {
        let Some(number) = self.numbers.remove(&id) else { return };
        let index = usize::try_from(number - self.first).ok();
        let entry = index.and_then(|index| self.entries.get_mut(index)).and_then(Option::take);
        if let Some(QueueEntry { customer, .. }) = entry
            && let Some(count) = self.customers.get_mut(&customer)
        {
            *count -= 1;
            if *count == 0 {
                self.customers.remove(&customer);
            }
        }
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
        }
    }

    /// Removes the oldest entries as far as their deadlines have passed, because these requests are not executed any
    /// more.
    fn remove_expired(&mut self, now: EpochMs) {
        while let Some(Some(entry)) = self.entries.front()
            && entry.until <= now
        {
            let id = entry.id;
            self.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const LIMITS: WaitingListLimits = WaitingListLimits { max: 4, customer_max: 2 };

    fn id(number: u128) -> RequestId {
        RequestId { schedule: ScheduleId(1), uuid: Uuid::from_u128(number) }
    }

    fn entry(number: u128, customer: &str, now: i64) -> QueueEntry {
        let (now, until) = (EpochMs(now), EpochMs(now + 100));
        QueueEntry { id: id(number), customer: customer.to_owned(), now, until }
    }

    fn removed(number: u128) -> (RequestId, String) {
        (id(number), String::new())
    }

    #[test]
    fn positions_move_up_as_others_are_removed() {
        let lists = InProcessWaitingLists::default();
        for (number, customer) in [(1, "a"), (2, "b"), (3, "c")] {
            let result = lists.add(entry(number, customer, 0), LIMITS);
            assert_eq!(result, Entry::At(u64::try_from(number).unwrap()));
        }
        lists.mark_running(id(1));
        assert_eq!(lists.position(id(1)), Some((1, true)));
        assert_eq!(lists.position(id(3)), Some((3, false)));
        lists.remove(&[removed(2)]);
        assert_eq!(
            lists.position(id(3)),
            Some((3, false)),
            "a removed request counts until all before it are removed"
        );
        lists.remove(&[removed(1), removed(1), removed(9)]);
        assert_eq!(lists.position(id(3)), Some((1, false)));
        assert_eq!(lists.position(id(1)), None);
        lists.remove(&[removed(3)]);
        assert!(lists.lists.lock().is_empty(), "an empty list is removed");
    }

    #[test]
    fn the_requests_of_a_customer_and_of_a_list_are_bounded() {
        let lists = InProcessWaitingLists::default();
        let add = |number, customer, now| lists.add(entry(number, customer, now), LIMITS);
        assert_eq!(add(1, "a", 0), Entry::At(1));
        assert_eq!(add(2, "a", 0), Entry::At(2));
        assert_eq!(add(3, "a", 0), Entry::CustomerFull);
        assert_eq!(add(4, "b", 50), Entry::At(3));
        assert_eq!(add(5, "c", 50), Entry::At(4));
        assert_eq!(add(6, "d", 50), Entry::Full);
        lists.remove(&[removed(1)]);
        assert_eq!(add(7, "a", 50), Entry::At(4));
        assert_eq!(add(8, "a", 100), Entry::At(4), "the first has expired by now");
        assert_eq!(lists.position(id(2)), None);
    }
}
