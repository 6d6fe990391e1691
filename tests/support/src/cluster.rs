//! The files of a PostgreSQL server (PostgreSQL calls them a cluster), and the programs that create them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::tool::{command, run};

/// Creates the files of a new cluster in `folder`/data.
pub(crate) fn create(folder: &Path) {
    // initdb need not flush the files, because an empty cluster may be lost. The server flushes its data.
    let settings = ["--no-sync", "--auth=trust", "--username=app", "--encoding=UTF8", "--locale=C"];
    make(folder, as_server_user(program("initdb"), &settings));
}

/// Copies the cluster of the server on `port` to `folder`/data, for a standby of this server. Because of the new
/// replication slot `slot`, the server does not delete its log before the standby has received it.
pub(crate) fn copy_to_follow(folder: &Path, port: u16, slot: &str) {
    copy(folder, port, &["--write-recovery-conf", "--create-slot", "--slot", slot]);
}

/// Copies the cluster of the server on `port` to `folder`/data, with these additional arguments.
pub(crate) fn copy(folder: &Path, port: u16, more: &[&str]) {
    let port = port.to_string();
    let server = ["--host=127.0.0.1", "--port", &port, "--username=app"];
    let settings = ["--no-sync", "--wal-method=stream", "--checkpoint=fast"];
    let arguments = [&server[..], &settings, more].concat();
    let copy = as_server_user(program("pg_basebackup"), &arguments);
    // Unlike initdb, pg_basebackup may be killed, and must be killed if the server is paused and never answers.
    make(folder, [&command!["env", "--default-signal"][..], &copy].concat());
}

/// Runs the command `maker`, to which the script adds the folder of the cluster.
fn make(folder: &Path, maker: Vec<OsString>) {
    let owner = if is_root() { "postgres" } else { "" };
    let script = command!["bash", "--norc", "-c", include_str!("cluster.sh"), "cluster", owner];
    run(folder, &[&script[..], &maker].concat());
}

/// A command that runs a PostgreSQL program. PostgreSQL refuses to run as root; so if the tests run as root, it runs as
/// the user that its package has created.
pub(crate) fn as_server_user(program: PathBuf, arguments: &[&str]) -> Vec<OsString> {
    as_user("postgres", program, arguments)
}

/// Runs a program as the user of its package, if the tests run as root.
pub(crate) fn as_user(user: &str, program: PathBuf, arguments: &[&str]) -> Vec<OsString> {
    let (uid, gid) = (format!("--reuid={user}"), format!("--regid={user}"));
    let switch = ["setpriv", &uid, &gid, "--clear-groups", "--"];
    let prefix = if is_root() { &switch[..] } else { &[] };
    let program = iter::once(program.into_os_string());
    let arguments = arguments.iter().map(OsString::from);
    prefix.iter().map(OsString::from).chain(program).chain(arguments).collect()
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The variable that names a folder with `initdb` and `postgres` of another version, with which servers are started.
const OTHER_VERSION: &str = "SEATLOCK_TEST_POSTGRES";

/// A program of the version that [`OTHER_VERSION`] names, if it has this program; or of the newest PostgreSQL in the
/// folders of Debian, whose `PATH` contains only `psql`; on other systems the program in `PATH`.
pub(crate) fn program(name: &str) -> PathBuf {
    if let Some(programs) = env::var_os(OTHER_VERSION).filter(|programs| !programs.is_empty()) {
        let other = Path::new(&programs).join(name);
        assert!(name != "postgres" || other.exists(), "there is no {}", other.display());
        if other.exists() {
            return other;
        }
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions
        .filter_map(|version| {
            let number: u32 = version.file_name().to_str()?.parse().ok()?;
            Some((number, version.path().join("bin")))
        })
        .filter(|(_, programs)| programs.join("initdb").exists())
        .max()
        .map_or_else(|| PathBuf::from(name), |(_, programs)| programs.join(name))
}
