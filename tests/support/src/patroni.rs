//! A PostgreSQL cluster that Patroni manages, with etcd and HAProxy: the shipped files of `packaging/patroni/`, with
//! other ports and folders.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{as_server_user, is_root, program};
use crate::folder::Folder;
use crate::haproxy::Haproxy;
use crate::port::free_port;
use crate::postgres::psql;
use crate::server::{Recipe, Server};
use crate::tool::{command, run, try_run};
use crate::wait::holds_within;

/// The longest time until a cluster has the wanted state, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The number of members of etcd, and of PostgreSQL.
const MEMBERS: usize = 3;

/// The most lines of a log that a failure shows: the last ones.
const LINES_SHOWN: usize = 120;

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
const SERVICE: &str = include_str!("../../../packaging/patroni/seatlock.env");

/// Texts of the shipped files, and what is in their place here.
type Replacements = Vec<(String, String)>;

/// Three members of PostgreSQL under Patroni, three members of etcd, and HAProxy before them.
///
/// All of them are killed and their folders deleted on drop and when the test process ends.
pub struct Patroni {
    haproxy: Haproxy,
    _folder: Folder,
    read_port: u16,
    nodes: Vec<Node>,
    etcd: Vec<Server>,
}

/// One member: Patroni, and the PostgreSQL that it starts.
struct Node {
    server: Server,
    api: u16,
}

/// A member of the cluster, as `patronictl list` shows it.
#[derive(Debug)]
pub struct Member {
    /// The number of its node.
    pub node: usize,
    /// `Leader`, `Sync Standby` or `Replica`.
    pub role: String,
    /// `running`, `stopped`, …
    pub state: String,
}

impl Patroni {
    /// Starts a cluster, and waits until it has a synchronous standby.
    #[must_use]
    pub fn start() -> Self {
        let etcd = start_etcd();
        let clients: Replacements = (1..)
            .zip(&etcd)
            .map(|(number, server)| (format!("10.0.0.1{number}:2379"), local(server.port())))
            .collect();
        // The first member creates the database, and the others copy it.
        let mut nodes = vec![Node::start(1, &clients)];
        thread::scope(|scope| {
            let clients = &clients;
            let others: Vec<_> =
                (2..=MEMBERS).map(|number| scope.spawn(move || Node::start(number, clients))).collect();
            nodes.extend(others.into_iter().map(|other| other.join().expect("the member starts")));
        });
        let folder = Folder::new();
        let read_port = free_port();
        let haproxy = start_haproxy(&folder, &nodes, read_port);
        let cluster = Self { haproxy, _folder: folder, read_port, nodes, etcd };
        cluster.wait_for("a synchronous standby", |members| {
            members.iter().any(|member| member.role == "Sync Standby")
        });
        cluster
    }

    /// Creates the database of the service as docs/patroni.md does, and returns its address through HAProxy.
    pub fn create_database(&self) -> String {
        let admin = format!("postgres://postgres:change-me-superuser@{}/postgres", self.write_address());
        let written = || psql(&admin, "SELECT pg_is_in_recovery()").is_ok_and(|found| found == "f");
        assert!(holds_within(TIMEOUT, written), "HAProxy leads to no leader");
        for sql in [
            "CREATE ROLE seatlock LOGIN PASSWORD 'change-me-seatlock'",
            "CREATE DATABASE seatlock OWNER seatlock",
        ] {
            psql(&admin, sql).unwrap_or_else(|problem| panic!("{problem}"));
        }
        self.service_variable("WRITE_DB_URL")
    }

    /// A variable of the service, from its shipped file.
    pub fn service_variable(&self, name: &str) -> String {
        let found = SERVICE.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| *key == name);
        let (_, value) = found.unwrap_or_else(|| panic!("seatlock.env has no {name}"));
        value
            .replace("127.0.0.1:5000", &self.write_address())
            .replace("127.0.0.1:5001", &local(self.read_port))
    }

    /// The port of HAProxy that leads to the leader.
    pub fn write_port(&self) -> u16 {
        self.haproxy.port()
    }

    fn write_address(&self) -> String {
        local(self.haproxy.port())
    }

    /// The members, as `patronictl list` shows them.
    pub fn members(&self) -> Vec<Member> {
        self.try_members().unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn try_members(&self) -> Result<Vec<Member>, String> {
        let printed = self.control(&["list", "-f", "json"])?;
        let listed: Value = serde_json::from_str(&printed).map_err(|error| format!("{error}: {printed}"))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let members = listed.as_array().into_iter().flatten().map(|member| Member {
            node: text(&member["Member"])[3..].parse::<usize>().expect("pg-N") - 1,
            role: text(&member["Role"]),
            state: text(&member["State"]),
        });
        Ok(members.collect())
    }

    /// The node with this role. There must be one.
    pub fn node_with(&self, role: &str) -> usize {
        let members = self.wait_for(role, |members| members.iter().any(|member| member.role == role));
        members.iter().find(|member| member.role == role).expect("as just seen").node
    }

    /// Waits until the members fulfil a condition, and returns them.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&[Member]) -> bool) -> Vec<Member> {
        let mut last = Ok(Vec::new());
        let holds = holds_within(TIMEOUT, || {
            last = self.try_members();
            last.as_ref().is_ok_and(|members| wanted(members))
        });
        assert!(holds, "{what}: {last:?}\n{}", self.logs());
        last.expect("it holds")
    }

    /// Waits until all members run, one of them as the leader and one as its synchronous standby.
    pub fn wait_until_complete(&self) {
        self.wait_for("a complete cluster", |members| {
            let of = |role| members.iter().filter(|member| member.role == role).count();
            let run = members.iter().all(|member| ["running", "streaming"].contains(&member.state.as_str()));
            members.len() == MEMBERS && run && of("Leader") == 1 && of("Sync Standby") == 1
        });
    }

    /// Kills Patroni and PostgreSQL of a node (SIGKILL), as a power failure of its machine does.
    pub fn kill(&self, node: usize) {
        self.nodes[node].server.kill();
    }

    /// Kills PostgreSQL of a node, and not Patroni.
    pub fn kill_postgresql(&self, node: usize) {
        let folder = self.nodes[node].server.folder();
        run(folder, &command!["bash", "-c", "kill -s KILL $(head -n 1 node/data/postmaster.pid)"]);
    }

    /// Starts a killed node again.
    pub fn restart(&self, node: usize) {
        self.nodes[node].server.restart();
    }

    /// Stops all processes of a node (SIGSTOP), as a hypervisor does that pauses its machine: connections stay open, but
    /// nothing is answered.
    pub fn freeze(&self, node: usize) {
        self.signal(node, "STOP");
    }

    /// Continues a frozen node.
    pub fn thaw(&self, node: usize) {
        self.signal(node, "CONT");
    }

    fn signal(&self, node: usize, signal: &str) {
        let folder = self.nodes[node].server.folder().join("node");
        let script = command!["bash", "--norc", "-c", include_str!("node.sh"), "node", folder, signal];
        run(Path::new("/"), &script);
    }

    /// Moves the leadership by `patronictl switchover`.
    pub fn switch_over(&self, from: usize, to: usize) {
        let (from, to) = (name(from + 1), name(to + 1));
        let switched = self.control(&["switchover", "--leader", &from, "--candidate", &to, "--force"]);
        let printed = switched.unwrap_or_else(|problem| panic!("{problem}"));
        assert!(printed.contains("Successfully switched over"), "{printed}");
    }

    /// Runs SQL on one node, past HAProxy. An error is returned as a text.
    pub fn psql_on(&self, node: usize, sql: &str) -> Result<String, String> {
        let address = local(self.nodes[node].server.port());
        psql(&format!("postgres://postgres:change-me-superuser@{address}/seatlock"), sql)
    }

    /// Kills all members of etcd.
    pub fn kill_etcd(&self) {
        self.etcd.iter().for_each(Server::kill);
    }

    /// Starts all members of etcd again.
    pub fn restart_etcd(&self) {
        thread::scope(|scope| {
            for server in &self.etcd {
                scope.spawn(|| server.restart());
            }
        });
    }

    /// Runs `patronictl` on a node whose Patroni runs or is only stopped: it asks etcd and the leader.
    fn control(&self, arguments: &[&str]) -> Result<String, String> {
        let tool = [&["patronictl", "-c", "patroni.yml"][..], arguments].concat();
        try_run(self.nodes[0].server.folder(), &in_node(tool.iter().map(OsString::from).collect()))
    }

    /// The last lines of Patroni and PostgreSQL on each node.
    pub fn logs(&self) -> String {
        let last = |log: String| {
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
        };
        self.nodes.iter().map(|node| last(node.server.log()) + "\n\n").collect()
    }
}

impl Node {
    fn start(number: usize, clients: &Replacements) -> Self {
        let folder = Folder::new();
        let node = own_folder(&folder);
        fs::write(
            node.join("patroni.yml"),
            replaced(PATRONI, &vec![("/var/run/postgresql".to_owned(), path(&node))]),
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
            let mut here = clients.clone();
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

fn start_etcd() -> Vec<Server> {
    let peers: Replacements = (1..=MEMBERS)
        .map(|number| (format!("10.0.0.1{number}:2380"), local(free_port())))
        .collect();
    thread::scope(|scope| {
        let peers = &peers;
        let starts = (1..=MEMBERS).map(|number| scope.spawn(move || start_etcd_member(number, peers)));
        let starts: Vec<_> = starts.collect();
        starts.into_iter().map(|start| start.join().expect("etcd starts")).collect()
    })
}

fn start_etcd_member(number: usize, peers: &Replacements) -> Server {
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
        let mut here = peers.clone();
        here.push((format!("10.0.0.1{number}:2379"), local(port)));
        here.push(("/var/lib/etcd/seatlock".to_owned(), path(&node.join("data"))));
        fs::write(&variables, replaced(&own.join("\n"), &here)).expect("the folder is ours to write");
    })
}

fn start_haproxy(folder: &Folder, nodes: &[Node], read_port: u16) -> Haproxy {
    let mut here: Replacements = (1..)
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
fn in_node(command: Vec<OsString>) -> Vec<OsString> {
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
fn replaced(text: &str, replacements: &Replacements) -> String {
    replacements.iter().fold(text.to_owned(), |text, (shipped, here)| {
        assert!(text.contains(shipped), "the shipped file has no {shipped}");
        text.replace(shipped, here)
    })
}

fn name(number: usize) -> String {
    format!("pg-{number}")
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
