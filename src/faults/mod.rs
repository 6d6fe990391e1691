//! Fault injection, for tests only: a program built without the cargo feature `faults` injects no faults.
//!
//! [`points`] are steps at which a test injects a failure; [`release`] selects the release that the program simulates.

pub mod points;
pub mod release;

pub use points::{FailPoint, Injected, pass, reach};

/// Reads the configured faults, and logs a warning that this program must not be used in production. Fails on an
/// invalid configuration.
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
