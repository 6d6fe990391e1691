//! Faults on demand, for tests only: nothing of this is in a program built without the feature `faults`.
//!
//! [`points`] are places where a test makes something fail; [`release`] chooses the release that the program plays.

pub mod points;
pub mod release;

pub use points::{FailPoint, Injected, pass, reach};

/// Reads what the tests want, and says in the log that this is no program to sell with. Fails on a word that
/// means nothing.
#[cfg(feature = "faults")]
pub fn begin() -> Result<(), String> {
    log::warn!("built with the feature `faults`: for tests only, do not sell with it");
    release::announce()?;
    points::arm(&std::env::var("SEATLOCK_FAULTS").unwrap_or_default())
}

/// There is nothing to read and nothing to say.
#[cfg(not(feature = "faults"))]
pub const fn begin() -> Result<(), String> {
    Ok(())
}
