//! Simulated later releases of this program, which differ in their schemas, so that a test can run a rolling update
//! with one build.
//!
//! With the cargo feature `faults`, `SEATLOCK_RELEASE=next` adds a migration that extends the schema, and `after_next`
//! adds another one that removes something. Without the feature nothing is simulated.

use sea_orm_migration::MigrationTrait;

/// The migrations that the simulated release has in addition to those of this release.
#[cfg(feature = "faults")]
#[must_use]
pub fn later_steps() -> Vec<Box<dyn MigrationTrait>> {
    let mut steps = migration::rehearsal::steps();
    steps.truncate(simulated().unwrap_or_default());
    steps
}

/// No migrations, because nothing is simulated without the feature.
#[cfg(not(feature = "faults"))]
#[must_use]
pub const fn later_steps() -> Vec<Box<dyn MigrationTrait>> {
    Vec::new()
}

/// Logs which release is simulated.
///
/// # Errors
/// Names the variable and its valid values.
#[cfg(feature = "faults")]
pub fn announce() -> Result<(), String> {
    let steps = simulated()?;
    if steps > 0 {
        log::warn!("simulating a later release, additional migrations: {steps}");
    }
    Ok(())
}

/// The number of the simulated release, counted from this one (0).
#[cfg(feature = "faults")]
fn simulated() -> Result<usize, String> {
    match std::env::var("SEATLOCK_RELEASE").as_deref() {
        Err(_) | Ok("") => Ok(0),
        Ok("next") => Ok(1),
        Ok("after_next") => Ok(2),
        Ok(other) => Err(format!("SEATLOCK_RELEASE={other}: it may be next or after_next")),
    }
}
