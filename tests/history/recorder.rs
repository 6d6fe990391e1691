//! Records each operation before it starts and after it ends, in order of time.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::history::{Event, Micros, What};

/// The record of a run: a file of one event a line, and the same in memory.
pub(crate) struct Recorder {
    path: PathBuf,
    began: Instant,
    epoch: Micros,
    next_op: AtomicU64,
    record: Mutex<(BufWriter<File>, Vec<Event>)>,
}

impl Recorder {
    pub(crate) fn create(path: &Path) -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self {
            path: path.to_owned(),
            began: Instant::now(),
            epoch: epoch.as_micros().try_into().unwrap(),
            next_op: AtomicU64::new(0),
            record: Mutex::new((BufWriter::new(File::create(path).unwrap()), Vec::new())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn next_op(&self) -> u64 {
        self.next_op.fetch_add(1, Ordering::Relaxed)
    }

    /// The time is taken where the order is: no event is older than the one before it.
    pub(crate) fn note(&self, process: &str, what: What) {
        let mut record = self.record.lock().unwrap();
        let since: Micros = self.began.elapsed().as_micros().try_into().unwrap();
        let event = Event { t: self.epoch + since, process: process.to_owned(), what };
        serde_json::to_writer(&mut record.0, &event).unwrap();
        record.0.write_all(b"\n").unwrap();
        record.1.push(event);
    }

    /// Everything so far; the file has it, too.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut record = self.record.lock().unwrap();
        record.0.flush().unwrap();
        record.1.clone()
    }
}
