//! What is known of a running program: its lines and its watchdog's reports, as they come in.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What has happened up to now.
#[derive(Default)]
pub(crate) struct Progress {
    /// The process id, once the program has been started.
    pub(crate) pid: Option<u32>,
    /// What the program has printed, on either stream, without line ends.
    pub(crate) lines: Vec<String>,
    /// Whether all of `lines` is there: the program and its children have closed their output.
    pub(crate) output_ended: bool,
    /// How many signals have been sent.
    pub(crate) signals_sent: u64,
    /// The exit code as a shell gives it, once the program has ended.
    pub(crate) exit_code: Option<i32>,
}

/// A [`Progress`] that grows in the background and can be waited for.
#[derive(Clone, Default)]
pub(crate) struct Watched(Arc<(Mutex<Progress>, Condvar)>);

impl Watched {
    /// Collects the program's output until it ends.
    pub(crate) fn collect_output(&self, output: impl Read + Send + 'static) {
        let watched = self.clone();
        thread::spawn(move || {
            each_line(output, |line| watched.update(|progress| progress.lines.push(line)));
            watched.update(|progress| progress.output_ended = true);
        });
    }

    /// Follows the reports of `process.sh` until they end.
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

    /// Looks at the progress as it is now.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Progress) -> T) -> T {
        look(&self.lock())
    }

    /// Looks at the progress each time it changes, until `look` finds something or the time is over.
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

    /// A test's own predicate may panic while it looks; what it looked at is still true.
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
