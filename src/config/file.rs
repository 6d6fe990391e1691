//! Files that the configuration names: secrets, certificates, `.env`. Their size is limited.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The most bytes of a file that the configuration names: keys, certificates and variables are far smaller.
const FILE_MAX: u64 = 1 << 20;

/// The description of a file that can be read, for problems.
pub(super) const READABLE_FILE: &str = "a readable text file of at most 1 MiB";

/// The text of a file of at most [`FILE_MAX`] bytes. Of a longer file, such as a device, no more than that is read.
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
