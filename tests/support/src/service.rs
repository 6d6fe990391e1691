//! The service under test as a separate process, as it is shipped.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;

use crate::client::Client;
use crate::port::free_port;
use crate::process::Process;
use crate::wait::eventually;

/// The longest time until a process is ready, on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A process of the service, on a port that it keeps when it is started again.
pub struct Service {
    process: Mutex<Arc<Process>>,
    command: Vec<OsString>,
    client: Client,
}

impl Service {
    /// Starts `command` (the program and its arguments) with these variables; the last of a name counts. Does not wait.
    pub fn start(command: &[&str], variables: &[(&str, impl AsRef<str>)]) -> Self {
        let client = Client::of((Ipv4Addr::LOCALHOST, free_port()).into());
        let command: Vec<OsString> = command.iter().map(Into::into).collect();
        let process = spawn(&command, client.address(), variables);
        Self { process: Mutex::new(process), command, client }
    }

    /// Starts the command again, on the same port and with these variables. Kills the process first if it still runs,
    /// and does not wait for the next.
    pub fn restart(&self, variables: &[(&str, impl AsRef<str>)]) {
        self.process().kill();
        *self.process.lock().unwrap() = spawn(&self.command, self.address(), variables);
    }

    /// The process that was started last.
    pub fn process(&self) -> Arc<Process> {
        Arc::clone(&self.process.lock().unwrap())
    }

    /// A client of this process.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The address at which the process serves.
    pub fn address(&self) -> SocketAddr {
        self.client.address()
    }

    /// Shares the seen versions: clients of each process require maps as new as those of the other have seen.
    pub fn shares_customers_with(&mut self, other: &Self) {
        self.client.shares_versions_with(&other.client);
    }

    /// Waits until the process is ready, and returns it.
    pub async fn up(self) -> Self {
        self.ready().await;
        self
    }

    /// Waits until the process is ready.
    pub async fn ready(&self) {
        let process = self.process();
        eventually("the process is ready", START_TIMEOUT, async || {
            assert!(process.is_running(), "{}", process.output());
            if self.is_ready().await { Ok(()) } else { Err(process.output()) }
        })
        .await;
    }

    /// Whether the process answers that it is ready.
    pub async fn is_ready(&self) -> bool {
        let answer = self.client.try_send(self.client.request(Method::GET, "/readyz")).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until the process has ended, and returns its exit code.
    pub fn ended(&self, timeout: Duration) -> i32 {
        tokio::task::block_in_place(|| self.process().wait_exit(timeout))
    }
}

fn spawn(
    command: &[OsString],
    address: SocketAddr,
    variables: &[(&str, impl AsRef<str>)],
) -> Arc<Process> {
    let bind = address.to_string();
    let usual = [("BIND", bind.as_str()), ("LOG_FORMAT", "text")];
    let variables = variables.iter().map(|(name, value)| (*name, value.as_ref()));
    let variables: Vec<_> = usual.into_iter().chain(variables).collect();
    Arc::new(Process::spawn_command(command, &variables))
}
