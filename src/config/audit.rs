//! The background audit.

use std::time::Duration;

use super::duration;
use super::macros::variables;

variables! {
    /// Settings of the background audit.
    pub struct AuditConfig {
        /// how often schedules that changed are audited in the background, or off
        interval: Option<Duration> = AUDIT_INTERVAL.setting(
            (Some(Duration::from_secs(300)), "300s"),
            format!("off, or {}", duration::EXPECTED),
            parse_interval,
        ),
    }
}

fn parse_interval(text: &str) -> Option<Option<Duration>> {
    match text.eq_ignore_ascii_case("off") {
        true => Some(None),
        false => duration::parse(text).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::tests::{config, problems};

    #[test]
    fn the_audit_can_be_slowed_down_and_switched_off() {
        let interval = |value| config(&[("AUDIT_INTERVAL", value)]).audit.interval;
        assert_eq!(config(&[]).audit.interval, Some(Duration::from_secs(300)));
        assert_eq!(interval("1h"), Some(Duration::from_secs(3_600)));
        assert_eq!(interval("OFF"), None);
        assert_eq!(problems(&[("AUDIT_INTERVAL", "never")]).len(), 1);
    }
}
