//! The signals that end a command; of a service the first one drains it, a second one ends it at once.

use std::io;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What comes so soon after a signal is the same one: timeout(1) and others send it to the process
/// and once more to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(100);

/// What a platform stops a process with.
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

    /// Waits for either signal and gives its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => TERMINATE,
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for a signal; from then on another one ends the process. Gives how long requests are still
    /// welcome: `delay` if a platform asks, which sends requests here until it has noticed; not at all if
    /// a person does.
    pub(crate) async fn drain(mut self, delay: Duration) -> Duration {
        let first = self.next().await;
        log::info!("{first}: draining; a second signal ends the process at once");
        let began = Instant::now();
        actix_web::rt::spawn(async move {
            let mut second = self.next().await;
            while began.elapsed() < SAME_SIGNAL {
                second = self.next().await;
            }
            log::warn!("{second}: ending at once");
            std::process::exit(1);
        });
        if first == TERMINATE { delay } else { Duration::ZERO }
    }
}
