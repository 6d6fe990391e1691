//! The signals that end a command; the first one drains a service, a second one ends it immediately.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that follows another one within this time counts as the same signal: timeout(1) and other programs send a
/// signal to the process and to its group.
const SAME_SIGNAL_WINDOW: Duration = Duration::from_millis(100);

/// The signal with which a platform stops a process.
const TERMINATE: &str = "SIGTERM";

/// SIGTERM and SIGINT, received from now on.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for either signal and returns its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => TERMINATE,
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for a signal; afterwards another one ends the process. Returns how long requests are still accepted: for
    /// `delay` after SIGTERM, because a platform sends requests until it has noticed that the service is not ready; for
    /// no time after SIGINT, which a person sends.
    pub(crate) async fn drain(mut self, delay: Duration) -> Duration {
        let first = self.next().await;
        log::info!("{first}: draining; a second signal ends the process immediately");
        let began = Instant::now();
        actix_web::rt::spawn(async move {
            let mut second = self.next().await;
            while began.elapsed() < SAME_SIGNAL_WINDOW {
                second = self.next().await;
            }
            log::warn!("{second}: ending immediately");
            std::process::exit(1);
        });
        if first == TERMINATE { delay } else { Duration::ZERO }
    }
}
