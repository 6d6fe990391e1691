//! Fail points: steps of a booking at which a test kills the process, pauses the step or makes it fail.
//!
//! Without the cargo feature `faults` a fail point does nothing. With the feature, `SEATLOCK_FAULTS` configures the
//! points: `after_commit=kill@3,before_unlock=pause:40s` kills the process after the third commit of a batch, and
//! pauses each release of seat locks for 40 seconds. `error` makes the step fail, or panic if it cannot fail.

/// The steps of a booking, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum FailPoint {
    /// A request has acquired its seat locks.
    AfterLock,
    /// A batch's transaction has begun.
    AfterBegin,
    /// The rows of the seats and the version rows of the schedules are locked.
    AfterRowLock,
    /// Everything is written, and COMMIT has not been sent.
    BeforeCommit,
    /// COMMIT has been answered.
    AfterCommit,
    /// The commit has not been applied to the map in memory.
    BeforeSnapshot,
    /// The seat locks have not been released.
    BeforeUnlock,
    /// The outcome has not been returned to the caller.
    BeforeAnswer,
    /// Queued requests have had their effect and are not settled yet.
    BeforeSettle,
}

/// An error that a test has injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fault was injected {0:?}")]
pub struct Injected(pub FailPoint);

/// Marks a step that can fail.
///
/// # Errors
/// The injected error; never without the feature.
#[cfg(not(feature = "faults"))]
#[inline]
pub async fn reach(_: FailPoint) -> Result<(), Injected> {
    Ok(())
}

/// Marks a step that cannot fail.
#[cfg(not(feature = "faults"))]
#[inline]
pub async fn pass(_: FailPoint) {}

#[cfg(feature = "faults")]
pub use armed::{arm, pass, reach};

#[cfg(feature = "faults")]
mod armed {
    //! The points with the feature.

    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use strum::VariantNames as _;

    use super::{FailPoint, Injected};

    /// The action at a point.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum FaultAction {
        Kill,
        Pause(Duration),
        Error,
    }

    /// A configured action. It happens at the `nth` hit of the point only, or at every hit if `nth` is `None`.
    #[derive(Debug)]
    struct Fault {
        point: FailPoint,
        action: FaultAction,
        nth: Option<u64>,
        hits: AtomicU64,
    }

    static PLAN: OnceLock<Vec<Fault>> = OnceLock::new();

    /// Sets the faults of this process; an empty text means no faults. Must be called only once.
    ///
    /// # Errors
    /// Names the invalid part of the text and the valid forms.
    pub fn arm(text: &str) -> Result<(), String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let plan = parts.map(fault).collect::<Result<Vec<_>, _>>()?;
        if !plan.is_empty() {
            log::warn!("configured faults: {plan:?}");
        }
        PLAN.set(plan).map_err(|_| "faults are armed once, at the start".to_owned())
    }

    fn fault(text: &str) -> Result<Fault, String> {
        let invalid = || {
            let names = FailPoint::VARIANTS.join(", ");
            format!(
                "SEATLOCK_FAULTS has {text:?}; expected point=kill, point=pause:250ms or \
                 point=error, perhaps with @3 behind it; the points are {names}"
            )
        };
        let (name, action) = text.split_once('=').ok_or_else(invalid)?;
        let (action, nth) = match action.split_once('@') {
            Some((action, nth)) => (action, Some(nth.parse().map_err(|_| invalid())?)),
            None => (action, None),
        };
        let action = match action.split_once(':') {
            None if action == "kill" => FaultAction::Kill,
            None if action == "error" => FaultAction::Error,
            Some(("pause", time)) => FaultAction::Pause(duration(time).ok_or_else(invalid)?),
            _ => return Err(invalid()),
        };
        let point = name.parse().map_err(|_| invalid())?;
        Ok(Fault { point, action, nth, hits: AtomicU64::new(0) })
    }

    fn duration(text: &str) -> Option<Duration> {
        match text.strip_suffix("ms") {
            Some(number) => number.parse().ok().map(Duration::from_millis),
            None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
        }
    }

    /// Marks a step that can fail.
    ///
    /// # Errors
    /// The configured error.
    pub async fn reach(point: FailPoint) -> Result<(), Injected> {
        for fault in PLAN.get().into_iter().flatten().filter(|fault| fault.point == point) {
            let hit = fault.hits.fetch_add(1, Ordering::SeqCst) + 1;
            if fault.nth.is_some_and(|nth| nth != hit) {
                continue;
            }
            log::warn!("a fault: {:?} at {point:?}", fault.action);
            match fault.action {
                FaultAction::Kill => abort(),
                FaultAction::Pause(time) => tokio::time::sleep(time).await,
                FaultAction::Error => return Err(Injected(point)),
            }
        }
        Ok(())
    }

    /// Marks a step that cannot fail. A configured error is a panic.
    #[expect(clippy::panic, reason = "a test asked for it")]
    pub async fn pass(point: FailPoint) {
        if let Err(injected) = reach(point).await {
            panic!("{injected}");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test asked for the end of the process")]
    fn abort() {
        std::process::abort();
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_fault_has_a_point_an_action_and_perhaps_the_one_time_at_which_it_happens() {
            let third = fault("after_commit=kill@3").unwrap();
            let parsed = (third.point, third.action, third.nth);
            assert_eq!(parsed, (FailPoint::AfterCommit, FaultAction::Kill, Some(3)));
            let each = fault("before_unlock=pause:40s").unwrap();
            assert_eq!(
                (each.action, each.nth),
                (FaultAction::Pause(Duration::from_secs(40)), None)
            );
            for wrong in
                ["after_commit", "after_lunch=kill", "after_lock=pause:4", "after_lock=kill@x"]
            {
                assert!(fault(wrong).is_err(), "{wrong}");
            }
        }
    }
}
