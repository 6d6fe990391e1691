//! Faults on demand, for tests only: a program built without the feature `faults` has none of this.
//!
//! [`points`] are places where a test makes something fail; [`release`] chooses the release that the program plays.

pub mod points;
pub mod release;

pub use points::{FailPoint, Injected, pass, reach};

/// Reads the configured faults, and warns in the log that this program must not sell. Fails on an invalid
/// configuration.
#[cfg(feature = "faults")]
pub fn begin() -> Result<(), String> {
    log::warn!("built with the feature `faults`: for tests only, do not sell with it");
    release::announce()?;
    points::arm(&std::env::var("SEATLOCK_FAULTS").unwrap_or_default())
}

/// Does nothing.
#[cfg(not(feature = "faults"))]
pub const fn begin() -> Result<(), String> {
    Ok(())
}
