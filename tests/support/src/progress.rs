//! The observed state of a running program: its output and the reports of its watchdog.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What was observed until now.
#[derive(Default)]
pub(crate) struct Progress {
    /// The process id; `None` until the program has been started.
    pub(crate) pid: Option<u32>,
    /// The lines that the program has printed on both streams, without line ends.
    pub(crate) lines: Vec<String>,
    /// Whether `lines` is complete: the program and its children have closed their output.
    pub(crate) output_ended: bool,
    /// How many signals have been sent.
    pub(crate) signals_sent: u64,
    /// The exit code as a shell returns it; `None` until the program has ended.
    pub(crate) exit_code: Option<i32>,
}

/// A [`Progress`] that background threads update, and for whose changes a caller can wait.
#[derive(Clone, Default)]
pub(crate) struct Watched(Arc<(Mutex<Progress>, Condvar)>);

impl Watched {
    /// Collects the output of the program until the output ends.
    pub(crate) fn collect_output(&self, output: impl Read + Send + 'static) {
        let watched = self.clone();
        thread::spawn(move || {
            each_line(output, |line| watched.update(|progress| progress.lines.push(line)));
            watched.update(|progress| progress.output_ended = true);
        });
    }

    /// Reads the reports of `process.sh` until they end.
    pub(crate) fn follow_reports(&self, reports: impl Read + Send + 'static) {
        let watched = self.clone();
        thread::spawn(move || {
            each_line(reports, |line| {
                watched.update(|progress| match line.split_once(' ') {
                    Some(("pid", number)) => progress.pid = number.parse().ok(),
                    Some(("exit", code)) => progress.exit_code = code.parse().ok(),
                    _ => progress.signals_sent += 1,
                });
            });
        });
    }

    /// Reads the current progress.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Progress) -> T) -> T {
        look(&self.lock())
    }

    /// Calls `look` each time the progress changes, until it returns a value or the timeout has passed.
    pub(crate) fn wait_for<T>(
        &self,
        timeout: Duration,
        mut look: impl FnMut(&Progress) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + timeout;
        let (_, changed) = &*self.0;
        let mut progress = self.lock();
        loop {
            if let Some(found) = look(&progress) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            progress =
                changed.wait_timeout(progress, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock());
        self.0.1.notify_all();
    }

    /// Ignores poisoning: a predicate of a test may panic while the mutex is locked, but it does not change the
    /// progress.
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn each_line(source: impl Read, mut with: impl FnMut(String)) {
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    while matches!(source.read_until(b'\n', &mut line), Ok(length) if length > 0) {
        with(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
        line.clear();
    }
}
