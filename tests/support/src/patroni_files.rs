//! The servers of a cluster under Patroni, started with the shipped files of `packaging/patroni/`: other ports and folders
//! are in the place of those in the files.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use crate::cluster::{as_server_user, is_root, program};
use crate::folder::Folder;
use crate::haproxy::Haproxy;
use crate::port::free_port;
use crate::server::{Recipe, Server};
use crate::tool::{command, run};

/// The number of members of etcd, and of PostgreSQL.
pub(crate) const MEMBERS: usize = 3;

/// Sets the variables of the file `server.env` as systemd does, and runs the other arguments in the folder `node`.
const RUN: &str = "set -a; . ./server.env; set +a; cd node; exec \"$@\"";

/// Kills the PostgreSQL that Patroni has left behind, and removes its shared memory (see `postgres`).
const KILL_POSTGRESQL: &str = "
    while left=$(find /proc/[0-9]*/cwd -maxdepth 0 -lname \"$PWD/node*\" | cut -d/ -f3) && [ -n \"$left\" ]; do
        kill -s KILL $left; sleep 0.05
    done
    ipcrm -m $(awk 'NR == 7 { print $2 }' node/data/postmaster.pid)";

/// The files, as they are shipped.
const ETCD: &str = include_str!("../../../packaging/patroni/etcd.env");
const PATRONI: &str = include_str!("../../../packaging/patroni/patroni.yml");
const NODE: &str = include_str!("../../../packaging/patroni/patroni.env");
const HAPROXY: &str = include_str!("../../../packaging/patroni/haproxy.cfg");

/// The variables of the service, as they are shipped.
pub(crate) const SERVICE: &str = include_str!("../../../packaging/patroni/seatlock.env");

/// A text of a shipped file, and what is in its place here.
pub(crate) type Replacement = (String, String);

/// One member: Patroni, and the PostgreSQL that it starts.
pub(crate) struct Node {
    pub(crate) server: Server,
    api: u16,
}

impl Node {
    /// Starts a member. `clients` contains the addresses of etcd.
    pub(crate) fn start(number: usize, clients: &[Replacement]) -> Self {
        let folder = Folder::new();
        let node = own_folder(&folder);
        fs::write(
            node.join("patroni.yml"),
            replaced(PATRONI, &[("/var/run/postgresql".to_owned(), path(&node))]),
        )
        .expect("the folder is ours to write");
        let variables = folder.path().join("server.env");
        let programs = program("postgres");
        let programs = programs.parent().expect("programs are in a folder").to_owned();
        let api = free_port();
        let recipe = Recipe {
            command: in_node(as_server_user(PathBuf::from("patroni"), &["patroni.yml"])),
            ready: "no action. I am (pg-",
            tidy_up: KILL_POSTGRESQL,
        };
        let server = Server::start(folder, recipe, |port| {
            let mut here = clients.to_vec();
            here.extend([
                ("pg-1".to_owned(), name(number)),
                ("10.0.0.21:5432".to_owned(), local(port)),
                ("10.0.0.21:8008".to_owned(), local(api)),
                ("/usr/lib/postgresql/15/bin".to_owned(), path(&programs)),
                ("/var/lib/postgresql/15/seatlock".to_owned(), path(&node.join("data"))),
            ]);
            fs::write(&variables, replaced(NODE, &here)).expect("the folder is ours to write");
        });
        Self { server, api }
    }
}

/// Starts all members of etcd.
pub(crate) fn start_etcd() -> Vec<Server> {
    let peers: Vec<Replacement> = (1..=MEMBERS)
        .map(|number| (format!("10.0.0.1{number}:2380"), local(free_port())))
        .collect();
    thread::scope(|scope| {
        let peers = &peers;
        let starts =
            (1..=MEMBERS).map(|number| scope.spawn(move || start_etcd_member(number, peers)));
        let starts: Vec<_> = starts.collect();
        starts.into_iter().map(|start| start.join().expect("etcd starts")).collect()
    })
}

fn start_etcd_member(number: usize, peers: &[Replacement]) -> Server {
    let folder = Folder::new();
    let node = own_folder(&folder);
    let variables = folder.path().join("server.env");
    let recipe = Recipe {
        command: in_node(as_server_user(PathBuf::from("etcd"), &[])),
        ready: "ready to serve client requests",
        tidy_up: "",
    };
    Server::start(folder, recipe, |port| {
        // The line with all members stays as it is, but for the ports; the others are those of this member.
        let own = ETCD.lines().map(|line| match line.starts_with("ETCD_INITIAL_CLUSTER=") {
            true => line.to_owned(),
            false => line
                .replace("etcd-1", &format!("etcd-{number}"))
                .replace("10.0.0.11", &format!("10.0.0.1{number}")),
        });
        let own: Vec<String> = own.collect();
        let mut here = peers.to_vec();
        here.push((format!("10.0.0.1{number}:2379"), local(port)));
        here.push(("/var/lib/etcd/seatlock".to_owned(), path(&node.join("data"))));
        fs::write(&variables, replaced(&own.join("\n"), &here))
            .expect("the folder is ours to write");
    })
}

/// Starts HAProxy before the nodes; `read_port` leads to the standbys.
pub(crate) fn start_haproxy(folder: &Folder, nodes: &[Node], read_port: u16) -> Haproxy {
    let mut here: Vec<Replacement> = (1..)
        .zip(nodes)
        .map(|(number, node)| {
            let shipped = format!("10.0.0.2{number}:5432 port 8008");
            (shipped, format!("{} port {}", local(node.server.port()), node.api))
        })
        .collect();
    here.push(("127.0.0.1:5000".to_owned(), "\"${WRITE}\"".to_owned()));
    here.push(("127.0.0.1:5001".to_owned(), local(read_port)));
    let configuration = folder.path().join("haproxy.cfg");
    fs::write(&configuration, replaced(HAPROXY, &here)).expect("the folder is ours to write");
    Haproxy::start(&configuration, "WRITE", &[])
}

/// A command that runs in the folder `node` with the variables of a server.
pub(crate) fn in_node(command: Vec<OsString>) -> Vec<OsString> {
    [&command!["bash", "--norc", "-c", RUN, "node"][..], &command].concat()
}

/// The folder `node`, in which the user of PostgreSQL may write.
fn own_folder(folder: &Folder) -> PathBuf {
    let node = folder.path().join("node");
    fs::create_dir(&node).expect("the folder is ours to write");
    if is_root() {
        run(folder.path(), &command!["chown", "postgres:", "node"]);
    }
    node
}

/// A shipped file with all replacements. Each must be needed.
fn replaced(text: &str, replacements: &[Replacement]) -> String {
    replacements.iter().fold(text.to_owned(), |text, (shipped, here)| {
        assert!(text.contains(shipped), "the shipped file has no {shipped}");
        text.replace(shipped, here)
    })
}

/// The name of a member in the shipped files.
pub(crate) fn name(number: usize) -> String {
    format!("pg-{number}")
}

/// The address of a port.
pub(crate) fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
