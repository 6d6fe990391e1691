//! A RabbitMQ broker of the test process's own.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::certificates::Certificates;
use crate::cluster::{as_user, is_root};
use crate::folder::Folder;
use crate::port::free_port;
use crate::server::{Recipe, Server, server};
use crate::tool::{command, run};

/// Bash code that runs the broker and its tools in their folder.
const SCRIPT: &str = include_str!("rabbitmq.sh");

/// A broker that ended by itself leaves its epmd behind.
const END_EPMD: &str = "grep -qs epmd /proc/$(cat log/epmd.pid)/comm && kill $(cat log/epmd.pid)";

/// A fresh RabbitMQ broker on 127.0.0.1: one node with its own epmd, in a folder of its own.
///
/// Starting takes about ten seconds. What queues have confirmed survives [`Server::kill`] and
/// [`Server::restart`], if the queue is two seconds old: RabbitMQ 3.10 stores a new queue later
/// than it confirms it. Broker, epmd and folder are gone on drop and when the test process ends.
pub struct RabbitMq {
    server: Server,
    scheme: &'static str,
    names: AtomicU32,
}

server!(RabbitMq);

impl RabbitMq {
    /// Starts a broker without plugins.
    #[must_use]
    pub fn start() -> Self {
        Self::run("amqp", Folder::new(), |port| format!("listeners.tcp.1 = 127.0.0.1:{port}\n"))
    }

    /// Starts a broker that takes encrypted connections only.
    #[must_use]
    pub fn start_encrypted(certificates: &Certificates) -> Self {
        let folder = Folder::new();
        let own = folder.path().join("tls");
        fs::create_dir(&own).expect("the folder is ours to write");
        let mut lines = "listeners.tcp = none\nssl_options.verify = verify_none\n".to_owned();
        for (name, file) in [
            ("cacertfile", certificates.ca()),
            ("certfile", certificates.certificate()),
            ("keyfile", certificates.key()),
        ] {
            // The broker's user may not read the originals.
            fs::copy(file, own.join(name)).expect("the folder is ours to write");
            lines += &format!("ssl_options.{name} = {}\n", own.join(name).display());
        }
        let listener = move |port| format!("listeners.ssl.1 = 127.0.0.1:{port}\n{lines}");
        Self::run("amqps", folder, listener)
    }

    fn run(scheme: &'static str, folder: Folder, listener: impl Fn(u16) -> String) -> Self {
        let path = folder.path().to_owned();
        for own in ["home", "data", "log"] {
            fs::create_dir(path.join(own)).expect("the folder is ours to write");
        }
        fs::write(path.join("plugins"), "[].\n").expect("the folder is ours to write");
        // What root has made the broker's user could not write.
        if is_root() {
            run(&path, &command!["chown", "-R", "rabbitmq:", "."]);
        }
        let recipe = Recipe {
            command: as_broker(&["rabbitmq-server"]),
            ready: "Server startup complete",
            tidy_up: END_EPMD,
        };
        let server = Server::start(folder, recipe, |port| {
            // The other two are looked for from a random place on, and so differ from each other.
            let ports = format!("epmd_port={}\ndist_port={}\n", free_port(), free_port());
            fs::write(path.join("ports"), ports).expect("the folder is ours to write");
            fs::write(path.join("rabbitmq.conf"), listener(port)).expect("as above");
        });
        Self { server, scheme, names: AtomicU32::new(0) }
    }

    /// The broker that the tests of this process share, started when it is first asked for.
    ///
    /// Not to be killed or paused: a test that does has a broker of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RabbitMq> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Where clients connect: `amqp://127.0.0.1:PORT`, or `amqps://` if it is encrypted.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port())
    }

    /// A new name for a queue.
    pub fn fresh_name(&self) -> String {
        format!("test-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs `rabbitmqctl` with these arguments (`["list_queues", "name", "messages"]`) and gives what it
    /// prints. Takes seconds.
    pub fn control(&self, arguments: &[&str]) -> String {
        run(self.server.folder(), &as_broker(&[&["rabbitmqctl", "-q"], arguments].concat()))
    }
}

/// The script with a program and its arguments, as the user that RabbitMQ's package makes if we are root.
fn as_broker(program: &[&str]) -> Vec<OsString> {
    let script = ["--noprofile", "--norc", "-c", SCRIPT, "rabbitmq"];
    as_user("rabbitmq", PathBuf::from("bash"), &[&script[..], program].concat())
}
