//! Fail points: steps of a booking's way at which a test makes the process die, stall or fail.
//!
//! Without the cargo feature `faults` a point is nothing. With it `SEATLOCK_FAULTS` says at the start what
//! happens where: `after_commit=kill@3,before_unlock=pause:40s` kills the process when a batch has been
//! committed for the third time, and stalls each release of seat locks for 40 seconds. `error` makes the
//! step fail, or panic where it has no way to fail.

/// A step of a booking's way, in the order in which they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPoint {
    /// A request has its seat locks.
    AfterLock,
    /// A batch's transaction has begun.
    AfterBegin,
    /// The seats' rows are locked.
    AfterRowLock,
    /// The schedules' version rows are locked.
    AfterVersionLock,
    /// Everything is written, COMMIT has not been sent.
    BeforeCommit,
    /// COMMIT has been answered.
    AfterCommit,
    /// The map in memory has not heard of the commit.
    BeforeSnapshot,
    /// The seat locks have not been given up.
    BeforeUnlock,
    /// The outcome has not reached the caller.
    BeforeAnswer,
    /// Requests of the queue have had their effect, and the queue has not heard of it.
    BeforeSettle,
}

/// A failure that a test has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fault was injected {0:?}")]
pub struct Injected(pub FailPoint);

/// A step is reached that can fail.
///
/// # Errors
/// The failure that a test has asked for; never without the feature.
#[cfg(not(feature = "faults"))]
#[inline]
pub async fn reach(_: FailPoint) -> Result<(), Injected> {
    Ok(())
}

/// A step is reached that cannot fail.
#[cfg(not(feature = "faults"))]
#[inline]
pub async fn pass(_: FailPoint) {}

#[cfg(feature = "faults")]
pub use armed::{arm, pass, reach};

#[cfg(feature = "faults")]
mod armed {
    //! What the points do in a process that was built to be hurt.

    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::{FailPoint, Injected};

    /// The names of the points in `SEATLOCK_FAULTS`.
    const NAMES: [(&str, FailPoint); 10] = [
        ("after_lock", FailPoint::AfterLock),
        ("after_begin", FailPoint::AfterBegin),
        ("after_row_lock", FailPoint::AfterRowLock),
        ("after_version_lock", FailPoint::AfterVersionLock),
        ("before_commit", FailPoint::BeforeCommit),
        ("after_commit", FailPoint::AfterCommit),
        ("before_snapshot", FailPoint::BeforeSnapshot),
        ("before_unlock", FailPoint::BeforeUnlock),
        ("before_answer", FailPoint::BeforeAnswer),
        ("before_settle", FailPoint::BeforeSettle),
    ];

    /// What happens at a point.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum FaultAction {
        Kill,
        Pause(Duration),
        Error,
    }

    /// What happens where; `nth` is the one time at which it does, each time if absent.
    #[derive(Debug)]
    struct Fault {
        point: FailPoint,
        deed: FaultAction,
        nth: Option<u64>,
        reached: AtomicU64,
    }

    static PLAN: OnceLock<Vec<Fault>> = OnceLock::new();

    /// Selects the faults of this process, once; an empty text selects none.
    ///
    /// # Errors
    /// Says which part of the text is not understood, and what would be.
    pub fn arm(text: &str) -> Result<(), String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let plan = parts.map(fault).collect::<Result<Vec<_>, _>>()?;
        if !plan.is_empty() {
            log::warn!("its faults are {plan:?}");
        }
        PLAN.set(plan).map_err(|_| "faults are armed once, at the start".to_owned())
    }

    fn fault(text: &str) -> Result<Fault, String> {
        let wrong = || {
            let names = NAMES.map(|(name, _)| name).join(", ");
            format!(
                "SEATLOCK_FAULTS has {text:?}; expected point=kill, point=pause:250ms or \
                 point=error, perhaps with @3 behind it; the points are {names}"
            )
        };
        let (name, what) = text.split_once('=').ok_or_else(wrong)?;
        let (deed, nth) = match what.split_once('@') {
            Some((deed, nth)) => (deed, Some(nth.parse().map_err(|_| wrong())?)),
            None => (what, None),
        };
        let deed = match deed.split_once(':') {
            None if deed == "kill" => FaultAction::Kill,
            None if deed == "error" => FaultAction::Error,
            Some(("pause", time)) => FaultAction::Pause(duration(time).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        let named = NAMES.iter().find(|(known, _)| *known == name);
        let (_, point) = named.copied().ok_or_else(wrong)?;
        Ok(Fault { point, deed, nth, reached: AtomicU64::new(0) })
    }

    fn duration(text: &str) -> Option<Duration> {
        match text.strip_suffix("ms") {
            Some(number) => number.parse().ok().map(Duration::from_millis),
            None => text.strip_suffix('s')?.parse().ok().map(Duration::from_secs),
        }
    }

    /// A step is reached that can fail.
    ///
    /// # Errors
    /// The failure that the plan has for it.
    pub async fn reach(point: FailPoint) -> Result<(), Injected> {
        for fault in PLAN.get().into_iter().flatten().filter(|fault| fault.point == point) {
            let time = fault.reached.fetch_add(1, Ordering::SeqCst) + 1;
            if fault.nth.is_some_and(|nth| nth != time) {
                continue;
            }
            log::warn!("a fault: {:?} at {point:?}", fault.deed);
            match fault.deed {
                FaultAction::Kill => die(),
                FaultAction::Pause(time) => tokio::time::sleep(time).await,
                FaultAction::Error => return Err(Injected(point)),
            }
        }
        Ok(())
    }

    /// A step is reached that cannot fail: a failure in the plan is a panic.
    #[expect(clippy::panic, reason = "a test asked for it")]
    pub async fn pass(point: FailPoint) {
        if let Err(injected) = reach(point).await {
            panic!("{injected}");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test asked for the death of the process")]
    fn die() {
        std::process::abort();
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_fault_names_a_point_a_deed_and_perhaps_the_time_at_which_it_strikes() {
            let third = fault("after_commit=kill@3").unwrap();
            let read = (third.point, third.deed, third.nth);
            assert_eq!(read, (FailPoint::AfterCommit, FaultAction::Kill, Some(3)));
            let each = fault("before_unlock=pause:40s").unwrap();
            assert_eq!((each.deed, each.nth), (FaultAction::Pause(Duration::from_secs(40)), None));
            for wrong in
                ["after_commit", "after_lunch=kill", "after_lock=pause:4", "after_lock=kill@x"]
            {
                assert!(fault(wrong).is_err(), "{wrong}");
            }
        }
    }
}
