//! A Prometheus and an Alertmanager for one test process.

use std::fs;
use std::path::Path;

use crate::folder::Folder;
use crate::server::{Recipe, Server, server};
use crate::tool::{command, run};

/// A new Prometheus on 127.0.0.1.
///
/// The server is killed and its folder deleted on drop and when the test process ends.
pub struct Prometheus {
    server: Server,
}

server!(Prometheus);

impl Prometheus {
    /// Starts a server with these files in its folder, given by their relative paths and texts. Its configuration is
    /// the file `prometheus.yml`.
    #[must_use]
    pub fn start(files: &[(&str, &str)]) -> Self {
        let arguments = "prometheus --config.file=prometheus.yml --storage.tsdb.path=data";
        Self { server: serve(arguments, "Server is ready to receive web requests", files) }
    }

    /// Adds or replaces files in the folder of the server, and signals the server to read its configuration again. Does
    /// not wait until the server has read it.
    pub fn reload(&self, files: &[(&str, &str)]) {
        write(self.server.folder(), files);
        self.server.process().signal("HUP");
    }
}

/// A new Alertmanager on 127.0.0.1, the only member of its cluster.
///
/// The server is killed and its folder deleted on drop and when the test process ends.
pub struct Alertmanager {
    server: Server,
}

server!(Alertmanager);

impl Alertmanager {
    /// Starts a server with this text as its configuration.
    #[must_use]
    pub fn start(configuration: &str) -> Self {
        // In Debian the program has another name.
        let arguments = "$(command -v alertmanager prometheus-alertmanager | head -n 1) \
             --config.file=alertmanager.yml --storage.path=data --cluster.listen-address=";
        let files = [("alertmanager.yml", configuration)];
        Self { server: serve(arguments, "msg=\"Listening on\"", &files) }
    }
}

/// Runs `promtool` or `amtool` in `folder`, and returns its output.
pub fn monitoring_tool(folder: &Path, tool: &str, arguments: &[&str]) -> String {
    let mut line = command![tool].to_vec();
    line.extend(arguments.iter().map(Into::into));
    run(folder, &line)
}

/// Starts a server whose port is an argument. The command line reads the port from a file in the folder of the server.
fn serve(arguments: &str, ready: &'static str, files: &[(&str, &str)]) -> Server {
    let folder = Folder::new();
    write(folder.path(), files);
    let port_file = folder.path().join("port");
    let line = format!("exec {arguments} --web.listen-address=127.0.0.1:$(cat port)");
    let command = command!["bash", "-c", line].to_vec();
    Server::start(folder, Recipe { command, ready, tidy_up: "" }, |port| {
        fs::write(&port_file, port.to_string()).expect("the folder is ours to write");
    })
}

/// Writes files to a folder, given by their relative paths and texts.
fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        let parent = path.parent().expect("a file of the folder has one");
        fs::create_dir_all(parent).expect("the folder is ours to write");
        fs::write(&path, text).expect("the folder is ours to write");
    }
}
