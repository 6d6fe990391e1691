//! Mutants: single guards that a test switches off, to prove that the checks of a recorded history notice.
//!
//! With the feature `faults`, `SEATLOCK_MUTANT` names the guards that are off, separated by commas. Without
//! it every question is answered by a constant, and the compiler removes what depends on it.

#[cfg(feature = "faults")]
use std::sync::OnceLock;

/// A guard that can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Seats are read without their row locks.
    NoRowLock,
    /// Seats are locked, and decided on by what was read before that.
    StaleRows,
    /// The unique index on live sales is dropped.
    NoIndex,
    /// Locks are released and rewritten whoever's they are.
    NoTokenCompare,
    /// The answer leaves before COMMIT.
    AnswerBeforeCommit,
    /// Answers are not recorded under their keys.
    NoRecord,
    /// Of several seats those that are free are taken.
    PartialSeats,
    /// The clock is read at BEGIN.
    ClockAtBegin,
    /// The sweeper ends holds whose time has not come.
    HastySweeper,
    /// A map is believed however old it is.
    UnversionedMap,
    /// A hold that has ended is confirmed as if it had not.
    ConfirmAfterEnd,
    /// A hold that has ended is extended as if it had not.
    ExtendAfterEnd,
}

impl Mutant {
    /// Whether this program can switch guards off at all.
    pub const ANY: bool = cfg!(feature = "faults");

    /// All of them, with their names.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("no_row_lock", Self::NoRowLock),
        ("stale_rows", Self::StaleRows),
        ("no_index", Self::NoIndex),
        ("no_token_compare", Self::NoTokenCompare),
        ("answer_before_commit", Self::AnswerBeforeCommit),
        ("no_record", Self::NoRecord),
        ("partial_seats", Self::PartialSeats),
        ("clock_at_begin", Self::ClockAtBegin),
        ("hasty_sweeper", Self::HastySweeper),
        ("unversioned_map", Self::UnversionedMap),
        ("confirm_after_end", Self::ConfirmAfterEnd),
        ("extend_after_end", Self::ExtendAfterEnd),
    ];

    /// Whether the guard is off.
    #[cfg(feature = "faults")]
    #[must_use]
    pub fn is_on(self) -> bool {
        chosen().as_ref().is_ok_and(|chosen| chosen.contains(&self))
    }

    /// Every guard is on: this program was built without the feature `faults`.
    #[cfg(not(feature = "faults"))]
    #[must_use]
    pub const fn is_on(self) -> bool {
        false
    }
}

/// The guards that are off, read once; the word that is no guard's name otherwise.
#[cfg(feature = "faults")]
fn chosen() -> &'static Result<Vec<Mutant>, String> {
    static CHOSEN: OnceLock<Result<Vec<Mutant>, String>> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let names = std::env::var("SEATLOCK_MUTANT").unwrap_or_default();
        let words = names.split(',').map(str::trim).filter(|word| !word.is_empty());
        words
            .map(|word| {
                let named = Mutant::ALL.iter().find(|(name, _)| *name == word);
                named.map(|(_, mutant)| *mutant).ok_or_else(|| word.to_owned())
            })
            .collect()
    })
}

/// Says in the log that this is no program to sell with; fails on the name of no guard.
#[cfg(feature = "faults")]
pub fn announce() -> Result<(), String> {
    match chosen() {
        Ok(chosen) if chosen.is_empty() => {}
        Ok(chosen) => log::warn!("guards switched off: {chosen:?}"),
        Err(word) => return Err(format!("SEATLOCK_MUTANT: there is no guard called {word}")),
    }
    Ok(())
}
