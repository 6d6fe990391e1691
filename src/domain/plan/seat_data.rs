//! The checks of what a plan says about its seats beyond names and labels: prices, attributes, ranks, positions, and the
//! groups of linked seats.

use std::collections::HashMap;

use super::{COORDINATE_MAX, PRICE_MAX, Point, RANK_MAX, SeatAttribute, quoted};

/// Refuses prices outside 0 to [`PRICE_MAX`].
pub(super) fn check_price(price: i64) -> Result<(), String> {
    if (0..=PRICE_MAX).contains(&price) {
        Ok(())
    } else {
        Err(format!("the price {price} must be 0 to {PRICE_MAX} minor units"))
    }
}

/// Refuses attributes that repeat or are not sorted.
pub(super) fn check_attributes(attributes: &[SeatAttribute]) -> Result<(), String> {
    let mut pairs = attributes.iter().zip(attributes.iter().skip(1));
    match pairs.find(|(one, next)| one >= next) {
        Some((one, next)) if one == next => {
            Err(format!("the attribute `{}` is named twice: name it once", one.name()))
        }
        Some((one, next)) => {
            Err(format!("`{}` comes after `{}`: put it before", next.name(), one.name()))
        }
        None => Ok(()),
    }
}

/// Refuses ranks outside 1 to [`RANK_MAX`].
pub(super) fn check_rank(rank: Option<u32>) -> Result<(), String> {
    match rank {
        Some(rank) if !(1..=RANK_MAX).contains(&rank) => {
            Err(format!("the rank {rank} must be 1 to {RANK_MAX}; 1 is best"))
        }
        _ => Ok(()),
    }
}

/// Refuses positions with one coordinate, and coordinates that are too far from the origin.
pub(super) fn check_position(x: Option<f64>, y: Option<f64>) -> Result<(), String> {
    let remedy = format!("give both x and y, each at most {COORDINATE_MAX} from 0, or neither");
    match x.zip(y) {
        Some((x, y)) => check_point(Point { x, y }).map_err(|_| remedy),
        None if x.is_none() && y.is_none() => Ok(()),
        None => Err(remedy),
    }
}

/// Refuses points that are too far from the origin.
pub(super) fn check_point(Point { x, y }: Point) -> Result<(), String> {
    if x.abs() <= COORDINATE_MAX && y.abs() <= COORDINATE_MAX {
        Ok(())
    } else {
        Err(format!("give x and y, each at most {COORDINATE_MAX} from 0"))
    }
}

/// The groups of linked seats of a plan, by name. `S` is the location of a seat.
pub(super) struct LinkedGroups<'p, S>(HashMap<&'p str, Group<S>>);

struct Group<S> {
    first: S,
    section: usize,
    count: usize,
    elsewhere: Option<S>,
}

impl<'p, S: Copy + Ord> LinkedGroups<'p, S> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// Adds a seat of the section with this index to a group.
    pub(super) fn add(&mut self, name: &'p str, section: usize, seat: S) {
        let group = Group { first: seat, section, count: 0, elsewhere: None };
        let group = self.0.entry(name).or_insert(group);
        group.count += 1;
        if group.section != section {
            group.elsewhere.get_or_insert(seat);
        }
    }

    /// The groups that no plan may have: seat, code and message of each, by seat.
    pub(super) fn faults(self, locate: impl Fn(S) -> String) -> Vec<(S, &'static str, String)> {
        let fault = |(name, group): (&str, Group<S>)| {
            if let Some(elsewhere) = group.elsewhere {
                let message = format!(
                    "the group {} has seats of another section at {}: give the groups of each section \
                     names of their own",
                    quoted(name),
                    locate(group.first)
                );
                return Some((elsewhere, "linked_across_sections", message));
            }
            (group.count == 1).then(|| {
                let message = format!(
                    "the group {} has only this seat: name the group at each of its seats, or at none",
                    quoted(name)
                );
                (group.first, "linked_alone", message)
            })
        };
        let mut faults: Vec<_> = self.0.into_iter().filter_map(fault).collect();
        faults.sort_unstable_by_key(|(seat, ..)| *seat);
        faults
    }
}
