//! A temporary folder, which is deleted when its owner is dropped or the test process ends.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::watchdog::Watchdog;

/// A new, empty folder in the temporary folder of the system, readable by all users.
///
/// It is deleted with its contents on drop, and when the test process ends for any reason.
pub struct Folder {
    path: PathBuf,
    _watchdog: Watchdog,
}

impl Folder {
    /// Creates the folder.
    #[must_use]
    pub fn new() -> Self {
        let parent = env::temp_dir();
        let mut watchdog =
            Watchdog::start(include_str!("folder.sh"), OsStr::new("/"), &[parent.clone().into()]);
        let mut path = String::new();
        let made = BufReader::new(watchdog.take_reports()).read_line(&mut path);
        if !matches!(made, Ok(length) if length > 0) {
            let mut reason = String::new();
            let _ = watchdog.take_output().read_to_string(&mut reason);
            panic!("cannot make a folder in {}: {reason}", parent.display());
        }
        Self { path: PathBuf::from(path.trim_end()), _watchdog: watchdog }
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}
