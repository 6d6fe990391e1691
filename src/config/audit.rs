//! The background audit: how often it looks.

use std::time::Duration;

use super::duration;
use super::reader::{Reader, ValueFormat};

/// Settings of the background audit.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// `AUDIT_INTERVAL`, default `300s`: how often changed schedules are audited; `None` for `off`.
    pub interval: Option<Duration>,
}

impl AuditConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Duration::from_secs(300);
        let shown = duration::show(default);
        let form = ValueFormat::new(format!("off, or {}", duration::EXPECTED), shown.clone());
        let interval = reader.setting(
            "AUDIT_INTERVAL",
            (Some(default), &shown),
            "how often schedules that changed are audited in the background, or off",
            form,
            |text| match text.eq_ignore_ascii_case("off") {
                true => Some(None),
                false => duration::parse(text).map(Some),
            },
        );
        Self { interval }
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
