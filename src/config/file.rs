//! Files that the configuration names: secrets, certificates, `.env`. They are read up to a limit.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The most bytes of a file that the configuration names: keys, certificates and variables are far smaller.
const FILE_MAX: u64 = 1 << 20;

/// What problems say that a file must be.
pub(super) const READABLE_FILE: &str = "a readable text file of at most 1 MiB";

/// The text of a file of at most [`FILE_MAX`] bytes; of a longer one, such as a device, no more is read.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let not_text = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    String::from_utf8(read_bounded(path)?).map_err(not_text)
}

pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}
