//! A PostgreSQL cluster that Patroni manages, with etcd and HAProxy before it.

use std::ffi::OsString;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::folder::Folder;
use crate::haproxy::Haproxy;
use crate::patroni_files::{
    MEMBERS, Node, Replacement, SERVICE, in_node, local, name, start_etcd, start_haproxy,
};
use crate::port::free_port;
use crate::postgres::psql;
use crate::server::Server;
use crate::tool::{command, run, try_run};
use crate::wait::holds_within;

/// The longest time until a cluster has the wanted state, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The most lines of a log that a failure shows: the last ones.
const LINES_SHOWN: usize = 120;

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
        let clients: Vec<Replacement> = (1..)
            .zip(&etcd)
            .map(|(number, server)| (format!("10.0.0.1{number}:2379"), local(server.port())))
            .collect();
        // The first member creates the database, and the others copy it.
        let mut nodes = vec![Node::start(1, &clients)];
        thread::scope(|scope| {
            let clients = &clients;
            let others: Vec<_> = (2..=MEMBERS)
                .map(|number| scope.spawn(move || Node::start(number, clients)))
                .collect();
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
        let admin =
            format!("postgres://postgres:change-me-superuser@{}/postgres", self.write_address());
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
        let found =
            SERVICE.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| *key == name);
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
        let listed: Value =
            serde_json::from_str(&printed).map_err(|error| format!("{error}: {printed}"))?;
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
        let members =
            self.wait_for(role, |members| members.iter().any(|member| member.role == role));
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
            let run = members
                .iter()
                .all(|member| ["running", "streaming"].contains(&member.state.as_str()));
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
        let script =
            command!["bash", "--norc", "-c", include_str!("node.sh"), "node", folder, signal];
        run(Path::new("/"), &script);
    }

    /// Moves the leadership by `patronictl switchover`.
    pub fn switch_over(&self, from: usize, to: usize) {
        let (from, to) = (name(from + 1), name(to + 1));
        let switched =
            self.control(&["switchover", "--leader", &from, "--candidate", &to, "--force"]);
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
