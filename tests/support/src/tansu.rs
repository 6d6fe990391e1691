//! A tansu broker for one test process: the protocol of Kafka, with an SQLite file as its storage.

use std::fs;
use std::path::Path;

use crate::folder::Folder;
use crate::server::{Recipe, Server, server};
use crate::tool::command;

/// A new tansu on 127.0.0.1, with its data in its own folder.
///
/// The server is killed and its folder deleted on drop and when the test process ends.
pub struct Tansu {
    server: Server,
}

server!(Tansu);

impl Tansu {
    /// Starts a broker. `program` is the path of tansu (`make test-kafka` builds it).
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
}

/// The script that starts the broker on a port.
fn start_script(program: &Path, port: u16) -> String {
    let program = program.display();
    let address = format!("tcp://127.0.0.1:{port}");
    format!(
        "exec env RUST_LOG=warn '{program}' broker --cluster-id seatlock \\\n  \
         --listener-url {address} --advertised-listener-url {address} \\\n  \
         --storage-engine sqlite://tansu.db\n"
    )
}
