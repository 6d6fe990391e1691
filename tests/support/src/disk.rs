//! A small disk that a test can fill: a tmpfs in a mount namespace of its own, which ends with its holder.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::Process;
use crate::tool::command;

/// How long mounting may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Mounts a tmpfs of `$1` MiB over the folder `$2` with its contents, and holds it.
const HOLD: &str = "set -e
    cp -a \"$2\" \"$2.kept\"
    mount -t tmpfs -o \"size=$1m,mode=700\" tmpfs \"$2\"
    chown --reference=\"$2.kept\" \"$2\"
    cp -a \"$2.kept/.\" \"$2\"
    rm -rf \"$2.kept\"
    echo mounted
    exec sleep infinity";

/// A folder with little room. Only programs started by [`SmallDisk::command`] see it; all others see
/// the folder underneath. Needs root.
pub struct SmallDisk {
    holder: Process,
    folder: PathBuf,
}

impl SmallDisk {
    /// Puts a disk of so many mebibytes over `folder`, which keeps its contents.
    pub(crate) fn over(folder: &Path, mebibytes: u32) -> Self {
        let workplace = folder.parent().expect("a folder is in another");
        let unshare = command!["unshare", "--mount", "bash", "--norc", "-c", HOLD, "disk"];
        let arguments = command![mebibytes.to_string(), folder];
        let command = [&unshare[..], &arguments].concat();
        let holder = Process::spawn_in(workplace, &command, &[]);
        holder.wait_for_line(|line| line == "mounted", TIMEOUT);
        Self { holder, folder: folder.to_owned() }
    }

    /// `command`, run in `workplace` where the disk is seen.
    pub(crate) fn command(&self, workplace: &Path, command: &[OsString]) -> Vec<OsString> {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.holder.pid());
        let mut place = OsString::from("--wdns=");
        place.push(workplace);
        [&command!["nsenter", namespace, place][..], command].concat()
    }

    /// Fills what is free with a ballast.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("root may write there");
        // Until nothing fits any more, not even a small piece.
        for size in [1 << 20, 1 << 12, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Removes the ballast.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("the disk was filled");
    }

    /// From outside, through the holder's root.
    fn ballast(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        root.join(self.folder.strip_prefix("/").unwrap_or(&self.folder)).join("ballast")
    }
}
