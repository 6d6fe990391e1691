//! The pauses of an audit: in the background it leaves most of the machine to other work.

use std::time::{Duration, Instant};

/// How fast to audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditPace {
    /// Without pauses, for a caller that waits for the result.
    Full,
    /// After each page the audit pauses three times as long as the page took, so that it works a quarter of the
    /// time. A pause is never so long that PostgreSQL ends the idle transaction.
    Background,
}

/// The pauses of one audit.
pub(super) struct AuditPauses {
    pace: AuditPace,
    pause_max: Duration,
    page_began: Instant,
}

impl AuditPauses {
    /// `statement_timeout` is also how long a transaction may be idle before PostgreSQL ends it.
    pub(super) fn new(pace: AuditPace, statement_timeout: Duration) -> Self {
        Self { pace, pause_max: statement_timeout / 4, page_began: Instant::now() }
    }

    pub(super) async fn pause(&mut self) {
        let pause = self.pace.pause_after(self.page_began.elapsed(), self.pause_max);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        self.page_began = Instant::now();
    }
}

impl AuditPace {
    fn pause_after(self, worked: Duration, pause_max: Duration) -> Duration {
        match self {
            Self::Full => Duration::ZERO,
            Self::Background => pause_max.min(worked * 3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_background_an_audit_works_a_quarter_of_the_time() {
        let pause = |pace: AuditPace, worked| {
            let worked = Duration::from_millis(worked);
            let pause_max = Duration::from_millis(500);
            pace.pause_after(worked, pause_max).as_millis()
        };
        assert_eq!(pause(AuditPace::Background, 20), 60);
        assert_eq!(pause(AuditPace::Background, 60_000), 500, "PostgreSQL ends idle transactions");
        assert_eq!(pause(AuditPace::Full, 20), 0);
    }
}
