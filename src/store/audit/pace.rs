//! How much of its time an audit works. In the background it leaves most of the machine to other work.

use std::time::{Duration, Instant};

/// How fast to audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditPace {
    /// Without pauses, for a caller that waits for the result.
    Full,
    /// At most a quarter of the time: after each page it pauses three times as long as the page took.
    Background,
}

/// The pauses of one audit.
pub(super) struct AuditPauses {
    pace: AuditPace,
    longest: Duration,
    page_began: Instant,
}

impl AuditPauses {
    /// `statement_timeout` is also how long a transaction may be idle before PostgreSQL ends it.
    pub(super) fn new(pace: AuditPace, statement_timeout: Duration) -> Self {
        Self { pace, longest: statement_timeout / 4, page_began: Instant::now() }
    }

    pub(super) async fn pause(&mut self) {
        let pause = self.pace.pause_after(self.page_began.elapsed(), self.longest);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        self.page_began = Instant::now();
    }
}

impl AuditPace {
    fn pause_after(self, worked: Duration, longest: Duration) -> Duration {
        match self {
            Self::Full => Duration::ZERO,
            Self::Background => longest.min(worked * 3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_background_an_audit_works_a_quarter_of_the_time() {
        let pause = |pace: AuditPace, worked| {
            let (worked, longest) = (Duration::from_millis(worked), Duration::from_millis(500));
            pace.pause_after(worked, longest).as_millis()
        };
        assert_eq!(pause(AuditPace::Background, 20), 60);
        assert_eq!(pause(AuditPace::Background, 60_000), 500, "an idle transaction is ended");
        assert_eq!(pause(AuditPace::Full, 20), 0);
    }
}
