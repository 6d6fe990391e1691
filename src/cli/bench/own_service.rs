//! The service that a measurement starts for itself: this program, in a temporary folder, with default settings.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use loadgen::Report;
use serde_json::Value;
use uuid::Uuid;

use crate::cli::Failed;

/// What the service prints before its address.
const LISTENS: &str = "listens on http://";

/// The file with the warnings of the service.
const LOG: &str = "log";

/// A service with SQLite and seat locks in its process. It ends and its folder is removed on drop.
pub(super) struct OwnService {
    process: Child,
    address: String,
    // Dropped last.
    folder: Folder,
}

impl OwnService {
    /// Starts the service on a free port and waits until it listens. With `queued` it has a queue in its database.
    pub(super) fn start(queued: bool) -> Result<Self, Failed> {
        let failed = |error: io::Error| {
            Failed::Work(format!("a service to be measured cannot be started: {error}"))
        };
        let folder = Folder::create().map_err(failed)?;
        let mut command = in_folder(&folder.0).map_err(failed)?;
        command.args(["serve"]).envs([("BIND", "127.0.0.1:0"), ("RUST_LOG", "warn")]);
        if queued {
            command.envs([("QUEUE_MODE", "prefer"), ("QUEUE_URL", "db://")]);
        }
        let log = File::create(folder.0.join(LOG)).map_err(failed)?;
        let process = command.stdout(Stdio::piped()).stderr(log).spawn().map_err(failed)?;
        let mut own = Self { process, address: String::new(), folder };
        let output = own.process.stdout.take().map(BufReader::new);
        for line in output.into_iter().flat_map(BufReader::lines) {
            if let Some((_, address)) = line.map_err(failed)?.split_once(LISTENS) {
                address.trim().clone_into(&mut own.address);
                return Ok(own);
            }
        }
        let log = fs::read_to_string(own.folder.0.join(LOG)).unwrap_or_default();
        Err(failed(io::Error::other(log)))
    }

    /// The address at which it listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Audits its database by `seatlock verify`, and adds the result to the report.
    pub(super) fn verify(&self, report: &mut Report) -> Result<(), Failed> {
        let failed = |why: &dyn std::fmt::Display| {
            Failed::Work(format!("the database of the measured service cannot be verified: {why}"))
        };
        let command = in_folder(&self.folder.0);
        let output = command
            .and_then(|mut command| command.args(["verify", "--format", "json"]).output())
            .map_err(|error| failed(&error))?;
        let document: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| failed(&String::from_utf8_lossy(&output.stderr)))?;
        let violations = document.get("violations").and_then(Value::as_array);
        let violations = violations.ok_or_else(|| failed(&document))?;
        report.violations.extend(violations.iter().map(Value::to_string));
        let count = violations.len();
        let text = format!("seatlock verify, the whole database: {count} violations\n");
        report.text.push_str(&text);
        if let Some(fields) = report.document.as_object_mut() {
            fields.insert("verify".to_owned(), document);
        }
        Ok(())
    }
}

impl Drop for OwnService {
    fn drop(&mut self) {
        // It fails only if the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// This program in a folder, with an empty environment: variables of the caller could name a real database.
fn in_folder(folder: &Path) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    Ok(command)
}

/// A folder that is deleted with its contents on drop.
struct Folder(PathBuf);

impl Folder {
    fn create() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("seatlock-bench-{}", Uuid::now_v7()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be deleted is in the system's folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
