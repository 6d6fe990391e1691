//! What the service manager that started the process is told, by sd_notify(3): that it serves, that it stops, and
//! that it is not stuck. Without such a manager nobody is told anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt;
use sd_notify::NotifyState;
use seatlock::telemetry::health::Health;

/// Of the time after which the manager believes the process to be stuck, the share between two signs of life
/// (`sd_watchdog_enabled(3)` asks for a half; a third forgives one that is late).
const SIGNS_IN_TIME: u32 = 3;

/// Says that requests are answered, and where.
pub(super) fn ready(address: SocketAddr) {
    let status = format!("listening on http://{address}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Says that the process has begun to stop.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Gives signs of life for as long as the health loop runs, if the manager waits for them (`WatchdogSec=`). A
/// process that is merely degraded is not stuck: restarting it would bring back no database.
pub(super) fn keep_alive(health: Arc<Health>) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
    else {
        return;
    };
    let mut signs = tokio::time::interval(between_signs(patience));
    rt::spawn(async move {
        loop {
            signs.tick().await;
            if health.is_kept() {
                tell(&[NotifyState::Watchdog]);
            }
        }
    });
}

fn between_signs(patience: Duration) -> Duration {
    (patience / SIGNS_IN_TIME).max(Duration::from_millis(1))
}

/// Whoever is away or refuses must not keep the service from selling.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager could not be told ({error}): look at NOTIFY_SOCKET");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_come_more_than_twice_in_time_and_never_without_a_pause() {
        assert_eq!(between_signs(Duration::from_secs(30)), Duration::from_secs(10));
        assert_eq!(between_signs(Duration::from_nanos(1)), Duration::from_millis(1));
    }
}
