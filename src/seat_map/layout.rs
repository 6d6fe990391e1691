//! The packed layout of a schedule, which translates between labels and numbers of seats and is needed to write a map.
//! For a plan of 50,000 seats it takes about 2 MB.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use crate::domain::ids::SeatNumber;
use crate::domain::plan::SeatPlan;

/// The layout: all texts in one string, one small record per seat, and a table of seats by the hash of their labels.
#[derive(Debug)]
pub struct Layout {
    /// The label and the number of each seat, without separators.
    texts: String,
    seats: Vec<PackedSeat>,
    rows: Vec<(u32, String)>,
    sections: Vec<String>,
    prices: Vec<i64>,
    hasher: RandomState,
    by_label: HashTable<u32>,
    groups: Groups,
}

/// The groups of linked seats. Most plans have none.
#[derive(Debug, Default)]
struct Groups {
    /// The name of each group, and its seats in plan order.
    seats: Vec<(String, Vec<SeatNumber>)>,
    by_seat: HashMap<SeatNumber, usize>,
}

/// A group of linked seats of which a list has some seats and lacks others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialGroup<'a> {
    /// The name of the group.
    pub name: &'a str,
    /// Its first seat in the list.
    pub named: SeatNumber,
    /// The labels of its seats that are not in the list.
    pub missing: Vec<&'a str>,
}

#[derive(Debug)]
struct PackedSeat {
    at: u32,
    label: u16,
    number: u16,
    row: u32,
    price: u32,
}

/// A seat of the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayoutSeat<'a> {
    /// The public name.
    pub label: &'a str,
    /// The section's name.
    pub section: &'a str,
    /// The row's name.
    pub row: &'a str,
    /// The seat's number in its row.
    pub number: &'a str,
    /// The price in minor units.
    pub price: i64,
}

/// Converts an index. The bounds of a plan ensure that it fits.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Layout {
    /// Packs a plan.
    #[must_use]
    pub fn new(plan: &SeatPlan) -> Self {
        let mut layout = Self {
            texts: String::new(),
            seats: Vec::with_capacity(plan.seat_count()),
            rows: Vec::new(),
            sections: Vec::new(),
            prices: Vec::new(),
            hasher: RandomState::new(),
            by_label: HashTable::with_capacity(plan.seat_count()),
            groups: Groups::of(plan),
        };
        let mut prices: HashMap<i64, u32> = HashMap::new();
        for section in plan.sections() {
            layout.sections.push(section.name.clone());
            for row in &section.rows {
                layout.rows.push((index(layout.sections.len() - 1), row.name.clone()));
                for seat in &row.seats {
                    let price = *prices.entry(seat.price).or_insert_with(|| {
                        layout.prices.push(seat.price);
                        index(layout.prices.len() - 1)
                    });
                    layout.push(&seat.label, &seat.number, price);
                }
            }
        }
        layout.texts.shrink_to_fit();
        layout
    }

    fn push(&mut self, label: &str, number: &str, price: u32) {
        let short = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX);
        let at = index(self.texts.len());
        let row = index(self.rows.len().saturating_sub(1));
        self.texts.push_str(label);
        self.texts.push_str(number);
        let seat = index(self.seats.len());
        self.seats.push(PackedSeat { at, label: short(label), number: short(number), row, price });
        let hash = self.hasher.hash_one(label);
        let hasher = &self.hasher;
        let texts = &self.texts;
        let seats = &self.seats;
        let rehash = |index: &u32| hasher.hash_one(label_of(texts, seats, *index));
        self.by_label.insert_unique(hash, seat, rehash);
    }

    /// How many seats it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether it has no seat, which no stored plan has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// The number of the seat with this label.
    #[must_use]
    pub fn number(&self, label: &str) -> Option<SeatNumber> {
        let same = |index: &u32| label_of(&self.texts, &self.seats, *index) == label;
        self.by_label.find(self.hasher.hash_one(label), same).copied().map(SeatNumber)
    }

    /// The seat with this number.
    #[must_use]
    pub fn seat(&self, number: SeatNumber) -> Option<LayoutSeat<'_>> {
        let seat = self.seats.get(number.0 as usize)?;
        let (section, row) = self.rows.get(seat.row as usize)?;
        let middle = seat.at as usize + usize::from(seat.label);
        Some(LayoutSeat {
            label: self.texts.get(seat.at as usize..middle)?,
            section: self.sections.get(*section as usize)?,
            row,
            number: self.texts.get(middle..middle + usize::from(seat.number))?,
            price: *self.prices.get(seat.price as usize)?,
        })
    }

    /// The groups of linked seats that the list has in part, by their first seat in it. `seats` is ascending.
    #[must_use]
    pub fn partial_groups(&self, seats: &[SeatNumber]) -> Vec<PartialGroup<'_>> {
        let mut found = Vec::new();
        if self.groups.seats.is_empty() {
            return found;
        }
        let mut seen = HashSet::new();
        for named in seats {
            let Some(group) = self.groups.by_seat.get(named) else { continue };
            let Some((name, all)) = self.groups.seats.get(*group) else { continue };
            if !seen.insert(*group) {
                continue;
            }
            let missing = all.iter().filter(|seat| seats.binary_search(seat).is_err());
            let missing: Vec<_> =
                missing.filter_map(|seat| Some(self.seat(*seat)?.label)).collect();
            if !missing.is_empty() {
                found.push(PartialGroup { name, named: *named, missing });
            }
        }
        found
    }

    /// All seats in plan order.
    pub fn seats(&self) -> impl Iterator<Item = (SeatNumber, LayoutSeat<'_>)> {
        (0..index(self.seats.len()))
            .filter_map(|index| Some((SeatNumber(index), self.seat(SeatNumber(index))?)))
    }

    /// The approximate number of bytes in memory, for the bound of the cache.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.texts.capacity()
            + self.seats.capacity() * size_of::<PackedSeat>()
            + self.by_label.capacity() * (size_of::<u32>() + 1)
            + self.rows.capacity() * 64
            + self.sections.capacity() * 64
            + self.prices.capacity() * size_of::<i64>()
            + self.groups.seats.capacity() * 64
            + self.groups.by_seat.capacity() * 32
    }
}

impl Groups {
    fn of(plan: &SeatPlan) -> Self {
        let mut groups = Self::default();
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for (number, placed) in plan.seats() {
            let Some(name) = placed.seat.linked.as_deref() else { continue };
            let group = *by_name.entry(name).or_insert_with(|| {
                groups.seats.push((name.to_owned(), Vec::new()));
                groups.seats.len() - 1
            });
            if let Some((_, seats)) = groups.seats.get_mut(group) {
                seats.push(number);
            }
            groups.by_seat.insert(number, group);
        }
        groups
    }
}

fn label_of<'a>(texts: &'a str, seats: &[PackedSeat], index: u32) -> &'a str {
    let Some(seat) = seats.get(index as usize) else { return "" };
    let at = seat.at as usize;
    texts.get(at..at + usize::from(seat.label)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::InlineSection;

    fn plan(rows: u32, seats_per_row: u32) -> SeatPlan {
        let section = |name: &str, price| InlineSection {
            name: name.to_owned(),
            rows,
            seats_per_row,
            price,
            ..InlineSection::default()
        };
        SeatPlan::from_inline(&[section("A", 9900), section("Bühne", 100)]).unwrap()
    }

    #[test]
    fn a_packed_layout_has_what_the_plan_has() {
        let plan = plan(7, 11);
        let layout = Layout::new(&plan);
        assert_eq!(layout.len(), plan.seat_count());
        for ((number, placed), (packed, seat)) in plan.seats().zip(layout.seats()) {
            assert_eq!(number, packed);
            assert_eq!(seat.label, placed.seat.label);
            assert_eq!((seat.section, seat.row), (placed.section, placed.row));
            assert_eq!((seat.number, seat.price), (placed.seat.number.as_str(), placed.seat.price));
            assert_eq!(layout.number(seat.label), Some(number));
        }
        assert_eq!(layout.number("A-1-12"), None);
        assert_eq!(layout.seat(SeatNumber(154)), None);
    }

    #[test]
    fn a_group_that_is_named_in_part_lacks_the_others() {
        let tables = InlineSection {
            name: "T".to_owned(),
            rows: 2,
            seats_per_row: 3,
            linked_rows: true,
            ..InlineSection::default()
        };
        let chairs = InlineSection { name: "C".to_owned(), linked_rows: false, ..tables.clone() };
        let layout = Layout::new(&SeatPlan::from_inline(&[chairs, tables]).unwrap());
        let partial = |seats: &[u32]| {
            let seats: Vec<_> = seats.iter().copied().map(SeatNumber).collect();
            let groups = layout.partial_groups(&seats);
            let shown = groups.iter().map(|g| (g.name.to_owned(), g.named.0, g.missing.join(" ")));
            shown.collect::<Vec<_>>()
        };
        assert_eq!(partial(&[]), []);
        assert_eq!(partial(&[0, 2, 6, 7, 8]), [], "whole, and beside single seats");
        assert_eq!(partial(&[6, 7, 8, 9, 10, 11]), []);
        assert_eq!(
            partial(&[1, 7, 9, 11]),
            [("T-1".into(), 7, "T-1-1 T-1-3".into()), ("T-2".into(), 9, "T-2-2".into())]
        );
    }

    #[test]
    fn fifty_thousand_seats_take_about_two_megabytes() {
        let layout = Layout::new(&plan(250, 100));
        assert_eq!(layout.len(), 50_000);
        assert!(layout.weight() < 2_500_000, "{}", layout.weight());
    }
}
