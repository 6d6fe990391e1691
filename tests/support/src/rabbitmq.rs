//! A RabbitMQ broker for one test process.

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

/// Bash code that runs the broker, or one of its tools, in the folder of the broker.
const SCRIPT: &str = include_str!("rabbitmq.sh");

/// Ends the epmd of a broker, which a broker that has ended by itself leaves behind.
const END_EPMD: &str = "grep -qs epmd /proc/$(cat log/epmd.pid)/comm && kill $(cat log/epmd.pid)";

/// A new RabbitMQ broker on 127.0.0.1: one node with its own epmd, in its own folder.
///
/// Starting takes about ten seconds. Confirmed messages survive [`Server::kill`] and [`Server::restart`] if their queue
/// is at least two seconds old: RabbitMQ 3.10 stores a new queue some time after it has confirmed the declaration.
/// Broker and epmd are killed and the folder is deleted on drop and when the test process ends.
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

    /// Starts a broker that accepts only encrypted connections.
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
            // The files are copied, because the user of the broker may not be allowed to read the originals.
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
        // The user of the broker could not write to files of root.
        if is_root() {
            run(&path, &command!["chown", "-R", "rabbitmq:", "."]);
        }
        let recipe = Recipe {
            command: as_broker(&["rabbitmq-server"]),
            ready: "Server startup complete",
            tidy_up: END_EPMD,
        };
        let server = Server::start(folder, recipe, |port| {
            // The search for a free port starts at a random port, so the two ports differ from each other.
            let ports = format!("epmd_port={}\ndist_port={}\n", free_port(), free_port());
            fs::write(path.join("ports"), ports).expect("the folder is ours to write");
            fs::write(path.join("rabbitmq.conf"), listener(port)).expect("as above");
        });
        Self { server, scheme, names: AtomicU32::new(0) }
    }

    /// The broker that the tests of this process share. The first call starts it.
    ///
    /// It must not be killed or paused. A test that does so must start its own broker.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RabbitMq> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The URL for clients: `amqp://127.0.0.1:PORT`, or `amqps://` if connections are encrypted.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port())
    }

    /// A new name for a queue.
    pub fn fresh_name(&self) -> String {
        format!("test-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs `rabbitmqctl` with these arguments (`["list_queues", "name", "messages"]`), and returns its output. Takes
    /// seconds.
    pub fn control(&self, arguments: &[&str]) -> String {
        run(self.server.folder(), &as_broker(&[&["rabbitmqctl", "-q"], arguments].concat()))
    }
}

/// The command line that runs a program with its arguments by the script; if the tests run as root, as the user that
/// RabbitMQ's package has created.
fn as_broker(program: &[&str]) -> Vec<OsString> {
    let script = ["--noprofile", "--norc", "-c", SCRIPT, "rabbitmq"];
    as_user("rabbitmq", PathBuf::from("bash"), &[&script[..], program].concat())
}
