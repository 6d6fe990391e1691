//! A tansu broker of the test process's own: Kafka's protocol over an SQLite file.

use std::fs;
use std::path::Path;

use crate::folder::Folder;
use crate::server::{Recipe, Server};
use crate::tool::command;

/// A fresh tansu on 127.0.0.1, with what it keeps in a folder of its own.
///
/// Server and folder are gone on drop and when the test process ends.
pub struct Tansu {
    server: Server,
}

impl Tansu {
    /// Starts a broker. `program` is the tansu to run (`make test-kafka` builds it).
    ///
    /// # Panics
    /// When it does not start; shows what it said.
    #[must_use]
    pub fn start(program: &Path) -> Self {
        let folder = Folder::new();
        let script = folder.path().join("start.sh");
        let recipe = Recipe {
            command: command!["bash", "start.sh"].to_vec(),
            ready: "ready in ",
            tidy_up: "",
        };
        let server = Server::start(folder, recipe, |port| {
            fs::write(&script, start_script(program, port)).expect("the folder is ours to write");
        });
        Self { server }
    }

    /// The port on 127.0.0.1. It stays the same over a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// What the broker has said since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.process().output()
    }

    /// Kills the broker (SIGKILL).
    pub fn kill(&self) {
        self.server.process().kill();
    }

    /// Starts the broker again, on its port and with what it has kept; kills it first if it still runs.
    ///
    /// # Panics
    /// When it does not start; shows what it said.
    pub fn restart(&self) {
        self.server.restart();
    }
}

/// The port is in the command line, which is otherwise the same for every start.
fn start_script(program: &Path, port: u16) -> String {
    let program = program.display();
    let address = format!("tcp://127.0.0.1:{port}");
    format!(
        "exec env RUST_LOG=warn '{program}' broker --cluster-id seatlock \\\n  \
         --listener-url {address} --advertised-listener-url {address} \\\n  \
         --storage-engine sqlite://tansu.db\n"
    )
}
