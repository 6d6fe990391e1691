//! Later releases of this program, as far as their schemas differ: a test plays a rolling update with one build.
//!
//! With the feature `faults`, `SEATLOCK_RELEASE=next` adds a step of the schema that extends it, and `after_next`
//! another one that removes something. Without the feature there is only this release.

use sea_orm_migration::MigrationTrait;

/// The steps of the played release beyond those of this one.
#[cfg(feature = "faults")]
#[must_use]
pub fn later_steps() -> Vec<Box<dyn MigrationTrait>> {
    let mut steps = migration::rehearsal::steps();
    steps.truncate(played().unwrap_or_default());
    steps
}

/// None: this is the released program.
#[cfg(not(feature = "faults"))]
#[must_use]
pub const fn later_steps() -> Vec<Box<dyn MigrationTrait>> {
    Vec::new()
}

/// Logs which release is played.
///
/// # Errors
/// The variable and its valid values.
#[cfg(feature = "faults")]
pub fn announce() -> Result<(), String> {
    let steps = played()?;
    if steps > 0 {
        log::warn!("playing a later release, with steps beyond this one's: {steps}");
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
