//! The signals that stop the service: the first one drains it, a second one ends it at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, received from now on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for either signal and gives its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Waits for a signal; from then on another one ends the process.
    pub(super) async fn drain(mut self) {
        let first = self.next().await;
        log::info!("{first}: draining; a second signal ends the process at once");
        actix_web::rt::spawn(async move {
            let second = self.next().await;
            log::warn!("{second}: ending at once");
            std::process::exit(1);
        });
    }
}
