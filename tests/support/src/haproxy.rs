//! A load balancer (HAProxy) for one test process.

use std::fs;
use std::path::Path;

use crate::folder::Folder;
use crate::server::{Recipe, Server, server};
use crate::tool::command;

/// A new HAProxy on 127.0.0.1.
///
/// The server is killed and its folder deleted on drop and when the test process ends.
pub struct Haproxy {
    server: Server,
}

server!(Haproxy);

impl Haproxy {
    /// Starts HAProxy with this configuration file, which uses these environment variables. `front` is the name of the
    /// variable that contains the address on which HAProxy listens.
    #[must_use]
    pub fn start(configuration: &Path, front: &str, variables: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let address = folder.path().join("address");
        // A master process is used, because it logs when its worker is ready. A worker without a master does not.
        let line = format!("{front}=$(cat address) exec haproxy -W -db -f \"$0\"");
        let mut command = command!["env"].to_vec();
        command.extend(variables.iter().map(|(name, value)| format!("{name}={value}").into()));
        command.extend(command!["bash", "-c", line, configuration]);
        let recipe = Recipe { command, ready: "Loading success", tidy_up: "" };
        let server = Server::start(folder, recipe, |port| {
            fs::write(&address, format!("127.0.0.1:{port}")).expect("the folder is ours to write");
        });
        Self { server }
    }
}
