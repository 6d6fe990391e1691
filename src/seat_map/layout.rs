//! The packed layout of a schedule, which translates between labels and numbers of seats and is needed to write a map.
//! For a plan of 50,000 seats it takes about 2 MB.

use std::collections::HashMap;
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
        let section =
            |name: &str, price| InlineSection { name: name.to_owned(), rows, seats_per_row, price };
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
    fn fifty_thousand_seats_take_about_two_megabytes() {
        let layout = Layout::new(&plan(250, 100));
        assert_eq!(layout.len(), 50_000);
        assert!(layout.weight() < 2_500_000, "{}", layout.weight());
    }
}
