//! Notifications to the service manager that started the process, by sd_notify(3): ready, stopping, alive. Nothing is
//! sent if there is no such manager.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt;
use sd_notify::NotifyState;
use seatlock::telemetry::health::Health;

/// Watchdog notifications in one timeout of the manager. `sd_watchdog_enabled(3)` recommends two; with three, one may
/// be late.
const NOTIFICATIONS_PER_TIMEOUT: u32 = 3;

/// Notifies that requests are answered, and at which address.
pub(super) fn ready(scheme: &str, address: SocketAddr) {
    let status = format!("listening on {scheme}://{address}");
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Notifies that the process has begun to stop.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Sends watchdog notifications for as long as the health loop runs, if the manager expects them (`WatchdogSec=`). A
/// degraded service still sends them: a restart would not repair its database.
pub(super) fn keep_alive(health: Arc<Health>) {
    let Some(timeout) = sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero()) else {
        return;
    };
    let mut ticks = tokio::time::interval(watchdog_interval(timeout));
    rt::spawn(async move {
        loop {
            ticks.tick().await;
            if health.is_monitored() {
                notify(&[NotifyState::Watchdog]);
            }
        }
    });
}

fn watchdog_interval(timeout: Duration) -> Duration {
    (timeout / NOTIFICATIONS_PER_TIMEOUT).max(Duration::from_millis(1))
}

/// Sends a notification. A failure is logged and does not stop the service.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager could not be notified ({error}): look at NOTIFY_SOCKET");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_interval_is_a_third_of_the_timeout_and_never_zero() {
        assert_eq!(watchdog_interval(Duration::from_secs(30)), Duration::from_secs(10));
        assert_eq!(watchdog_interval(Duration::from_nanos(1)), Duration::from_millis(1));
    }
}
