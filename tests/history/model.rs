//! One seat as a machine with three states, and whether the claims in the rows are one of its runs.

/// What happened to a seat, by the rows of its claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A hold begins, to end at `until` unless something happens before.
    Hold { claim: String, until: i64 },
    /// The owner or the sweeper ends a hold.
    End { claim: String },
    /// A sale begins, perhaps of what a hold has kept.
    Sell { claim: String, from: Option<String> },
    /// A sale is given back.
    GiveBack { claim: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seat {
    Free,
    Held { claim: String, until: i64 },
    Sold { claim: String },
}

impl Seat {
    /// The state after a step, if the step is legal now. A hold that is over may be taken over, and its
    /// end be written later or never.
    fn after(&self, step: &Step, now: i64) -> Option<Self> {
        let free = match self {
            Self::Free => true,
            Self::Held { until, .. } => *until <= now,
            Self::Sold { .. } => false,
        };
        match step {
            Step::Hold { claim, until } => {
                free.then(|| Self::Held { claim: claim.clone(), until: *until })
            }
            Step::Sell { claim, from } => {
                let own = matches!(self, Self::Held { claim, .. } if Some(claim) == from.as_ref());
                (free || own).then(|| Self::Sold { claim: claim.clone() })
            }
            Step::End { claim } => match self {
                Self::Held { claim: held, .. } if held == claim => Some(Self::Free),
                _ => Some(self.clone()),
            },
            Step::GiveBack { claim } => match self {
                Self::Sold { claim: sold } if sold == claim => Some(Self::Free),
                _ => None,
            },
        }
    }
}

/// Searches for an order of the steps, each with its time, in which all are legal. Those of one millisecond
/// may have happened in any order. Gives the time at which there is none, if there is none.
pub(crate) fn illegal_at(steps: &[(i64, Step)]) -> Option<i64> {
    let mut sorted = steps.to_vec();
    sorted.sort_by_key(|(at, _)| *at);
    let mut states = vec![Seat::Free];
    for together in sorted.chunk_by(|one, other| one.0 == other.0) {
        let now = together[0].0;
        let steps: Vec<&Step> = together.iter().map(|(_, step)| step).collect();
        let mut reached = Vec::new();
        for state in &states {
            search(state, &steps, now, &mut reached);
        }
        if reached.is_empty() {
            return Some(now);
        }
        states = reached;
    }
    None
}

fn search(state: &Seat, steps: &[&Step], now: i64, reached: &mut Vec<Seat>) {
    if steps.is_empty() {
        if !reached.contains(state) {
            reached.push(state.clone());
        }
        return;
    }
    for at in 0..steps.len() {
        if let Some(next) = state.after(steps[at], now) {
            let mut rest = steps.to_vec();
            rest.remove(at);
            search(&next, &rest, now, reached);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(claim: &str, until: i64) -> Step {
        Step::Hold { claim: claim.to_owned(), until }
    }

    fn sell(claim: &str, from: Option<&str>) -> Step {
        Step::Sell { claim: claim.to_owned(), from: from.map(str::to_owned) }
    }

    fn end(claim: &str) -> Step {
        Step::End { claim: claim.to_owned() }
    }

    fn give_back(claim: &str) -> Step {
        Step::GiveBack { claim: claim.to_owned() }
    }

    #[test]
    fn a_seat_may_be_held_sold_given_back_and_sold_again() {
        let steps = [
            (1, hold("a", 100)),
            (2, sell("b", Some("a"))),
            (3, give_back("b")),
            (4, sell("c", None)),
        ];
        assert_eq!(illegal_at(&steps), None);
    }

    #[test]
    fn a_hold_that_is_over_may_be_taken_over_and_one_that_lives_may_not() {
        assert_eq!(illegal_at(&[(1, hold("a", 10)), (10, sell("b", None)), (11, end("a"))]), None);
        assert_eq!(illegal_at(&[(1, hold("a", 10)), (9, sell("b", None))]), Some(9));
        assert_eq!(illegal_at(&[(1, hold("a", 10)), (9, hold("b", 20))]), Some(9));
    }

    #[test]
    fn a_sold_seat_cannot_be_taken_until_it_is_given_back() {
        assert_eq!(illegal_at(&[(1, sell("a", None)), (2, sell("b", None))]), Some(2));
        assert_eq!(illegal_at(&[(1, sell("a", None)), (2, hold("b", 9))]), Some(2));
        assert_eq!(illegal_at(&[(1, give_back("a"))]), Some(1));
    }

    #[test]
    fn what_happened_in_one_millisecond_may_have_had_any_order() {
        let steps = [(5, sell("b", None)), (5, give_back("a")), (1, sell("a", None))];
        assert_eq!(illegal_at(&steps), None);
        let steps = [(5, sell("b", None)), (5, sell("c", None)), (5, give_back("c"))];
        assert_eq!(illegal_at(&steps), None);
        assert_eq!(illegal_at(&[(5, sell("b", None)), (5, sell("c", None))]), Some(5));
    }
}
