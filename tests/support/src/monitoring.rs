//! A Prometheus and an Alertmanager of the test process's own.

use std::fs;
use std::path::Path;

use crate::folder::Folder;
use crate::server::{Recipe, Server, server};
use crate::tool::{command, run};

/// A fresh Prometheus on 127.0.0.1.
///
/// Server and folder are gone on drop and when the test process ends.
pub struct Prometheus {
    server: Server,
}

server!(Prometheus);

impl Prometheus {
    /// Starts a server with these files in its folder, each by its relative path and with its text. Its
    /// configuration is the one called `prometheus.yml`.
    #[must_use]
    pub fn start(files: &[(&str, &str)]) -> Self {
        let arguments = "prometheus --config.file=prometheus.yml --storage.tsdb.path=data";
        Self { server: serve(arguments, "Server is ready to receive web requests", files) }
    }

    /// Adds files to its folder, or replaces them, and signals it to read its configuration again. Does not wait
    /// until it has.
    pub fn reload(&self, files: &[(&str, &str)]) {
        write(self.server.folder(), files);
        self.server.process().signal("HUP");
    }
}

/// A fresh Alertmanager on 127.0.0.1, alone in its cluster.
///
/// Server and folder are gone on drop and when the test process ends.
pub struct Alertmanager {
    server: Server,
}

server!(Alertmanager);

impl Alertmanager {
    /// Starts a server with this text as its configuration.
    #[must_use]
    pub fn start(configuration: &str) -> Self {
        // Debian gives it a name of its own.
        let arguments = "$(command -v alertmanager prometheus-alertmanager | head -n 1) \
             --config.file=alertmanager.yml --storage.path=data --cluster.listen-address=";
        let files = [("alertmanager.yml", configuration)];
        Self { server: serve(arguments, "msg=\"Listening on\"", &files) }
    }
}

/// Runs `promtool` or `amtool` in `folder` and gives what it prints.
pub fn monitoring_tool(folder: &Path, tool: &str, arguments: &[&str]) -> String {
    let mut line = command![tool].to_vec();
    line.extend(arguments.iter().map(Into::into));
    run(folder, &line)
}

/// Starts a server that takes its port as an argument, which a file in its folder names.
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

/// Lays files into a folder, each by its relative path and with its text.
fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        let parent = path.parent().expect("a file of the folder has one");
        fs::create_dir_all(parent).expect("the folder is ours to write");
        fs::write(&path, text).expect("the folder is ours to write");
    }
}
