//! A small disk that a test can fill: a tmpfs in a separate mount namespace, which ends with the process that holds it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::Process;
use crate::tool::command;

/// The longest time to mount, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Mounts a tmpfs of `$1` MiB over the folder `$2`, copies the contents of the folder to it, and keeps it mounted.
const HOLD: &str = "set -e
    cp -a \"$2\" \"$2.kept\"
    mount -t tmpfs -o \"size=$1m,mode=700\" tmpfs \"$2\"
    chown --reference=\"$2.kept\" \"$2\"
    cp -a \"$2.kept/.\" \"$2\"
    rm -rf \"$2.kept\"
    echo mounted
    exec sleep infinity";

/// A folder with little disk space. Only programs that are started by [`SmallDisk::command`] see the small disk; all
/// others see the original folder. Requires root.
pub struct SmallDisk {
    holder: Process,
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of `mebibytes` MiB over `folder`, with the contents of the folder.
    pub(crate) fn over(folder: &Path, mebibytes: u32) -> Self {
        let workplace = folder.parent().expect("a folder is in another");
        let unshare = command!["unshare", "--mount", "bash", "--norc", "-c", HOLD, "disk"];
        let arguments = command![mebibytes.to_string(), folder];
        let command = [&unshare[..], &arguments].concat();
        let holder = Process::spawn_in(workplace, &command, &[]);
        holder.wait_for_line(|line| line == "mounted", TIMEOUT);
        Self { holder, folder: folder.to_owned() }
    }

    /// The command line that runs `command` in the folder `workplace`, in the mount namespace of the disk.
    pub(crate) fn command(&self, workplace: &Path, command: &[OsString]) -> Vec<OsString> {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.pid());
        let mut place = OsString::from("--wdns=");
        place.push(workplace);
        [&command!["nsenter", namespace, place][..], command].concat()
    }

    /// Fills the free space with a file.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("root may write there");
        // Writes smaller and smaller pieces until not even one byte can be written.
        for size in [1 << 20, 1 << 12, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Removes the file.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("the disk was filled");
    }

    /// The path of the file, as it is seen outside of the mount namespace.
    fn ballast(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        root.join(self.folder.strip_prefix("/").unwrap_or(&self.folder)).join("ballast")
    }
}
