//! Later releases of this program, as far as the schema tells them apart: a test plays a rolling update with
//! one build.
//!
//! With the feature `faults`, `SEATLOCK_RELEASE=next` makes the process one that knows one step of the schema
//! more, which adds something, and `after_next` one that knows yet another, which takes something away. Without
//! the feature there is only this release.

use sea_orm_migration::MigrationTrait;

/// The steps that the release played knows beyond this one's.
#[cfg(feature = "faults")]
#[must_use]
pub fn later_steps() -> Vec<Box<dyn MigrationTrait>> {
    let mut steps = migration::rehearsal::steps();
    steps.truncate(played().unwrap_or_default());
    steps
}

/// None: this is the release that it is.
#[cfg(not(feature = "faults"))]
#[must_use]
pub fn later_steps() -> Vec<Box<dyn MigrationTrait>> {
    Vec::new()
}

/// Says in the log which release is played; fails on the name of none.
///
/// # Errors
/// The variable and what it may be.
#[cfg(feature = "faults")]
pub fn announce() -> Result<(), String> {
    match played()? {
        0 => {}
        steps => log::warn!("playing a later release, with steps beyond this one's: {steps}"),
    }
    Ok(())
}

/// How many releases after this one the process plays.
#[cfg(feature = "faults")]
fn played() -> Result<usize, String> {
    match std::env::var("SEATLOCK_RELEASE").as_deref() {
        Err(_) | Ok("") => Ok(0),
        Ok("next") => Ok(1),
        Ok("after_next") => Ok(2),
        Ok(other) => Err(format!("SEATLOCK_RELEASE={other}: it may be next or after_next")),
    }
}
