//! Access rights of the SQLite files: only the user that runs the service may read them.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The mode of a private file: its owner may read and write it.
const PRIVATE: u32 = 0o600;

/// The mode bits of all users except the owner.
const OTHERS: u32 = 0o077;

/// The mode bits of a folder with which other users may create, rename and delete files in it. In a sticky folder
/// they may do so with their own files only.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Creates an empty private file, unless a file of that name exists. SQLite opens an empty file as a new database,
/// and creates the write-ahead log with the mode of the database file.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    let created = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path);
    match created {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// A warning for each file of this database that other users may read, and for its folder if they may replace
/// files there. Existing rights are not changed.
pub(crate) fn warnings(path: &Path) -> Vec<String> {
    let with_suffix = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let files = ["", "-wal", "-shm"].map(with_suffix);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let files = files.iter().filter_map(|file| file_warning(file, mode(file)?));
    files.chain(mode(folder).and_then(|mode| folder_warning(folder, mode))).collect()
}

fn mode(path: &Path) -> Option<u32> {
    Some(fs::metadata(path).ok()?.permissions().mode() & 0o7777)
}

fn file_warning(file: &Path, mode: u32) -> Option<String> {
    let shown = file.display();
    (mode & OTHERS != 0).then(|| {
        format!("other users may read {shown} (its mode is {mode:04o}): run chmod 600 {shown}")
    })
}

fn folder_warning(folder: &Path, mode: u32) -> Option<String> {
    let shown = folder.display();
    (mode & OTHERS_WRITE != 0 && mode & STICKY == 0).then(|| {
        format!("other users may replace files in {shown} (its mode is {mode:04o}): run chmod 700 {shown}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_others_may_read_are_named_with_the_remedy() {
        let warning = |mode| file_warning(Path::new("/data/s.db"), mode);
        assert_eq!(warning(0o600), None);
        assert_eq!(warning(0o400), None);
        assert_eq!(
            warning(0o644).as_deref(),
            Some("other users may read /data/s.db (its mode is 0644): run chmod 600 /data/s.db")
        );
        assert!(warning(0o640).is_some() && warning(0o602).is_some());
    }

    #[test]
    fn folders_in_which_others_may_replace_files_are_named() {
        let warning = |mode| folder_warning(Path::new("/data"), mode);
        assert_eq!([0o700, 0o755, 0o1777].map(warning), [None, None, None]);
        assert_eq!(
            warning(0o775).as_deref(),
            Some("other users may replace files in /data (its mode is 0775): run chmod 700 /data")
        );
    }
}
