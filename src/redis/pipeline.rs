//! Executes a list of commands on the masters of their slots.
//!
//! Each round sends one pipeline to each server concerned, all at the same time. Commands that a server has refused
//! without executing them (MOVED, ASK, TRYAGAIN, NOSCRIPT) are sent again in the next round. Commands of one slot are
//! executed in order, with one exception: a refused command is executed after later commands of the list that were not
//! refused. This happens while a slot moves, and when another process loads a script between two commands.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{self, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind};
use futures_util::future::join_all;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::failure::{is_topology_error, other_error};
use super::node::{RedisReplies, RedisReply};
use super::script::Script;
use super::servers::Servers;
use super::settings::Address;
use super::slots::{SlotMap, slot_of};

/// The pause before a round that follows TRYAGAIN, and before each round from [`PAUSE_FROM_ROUND`] on.
const PAUSE: Duration = Duration::from_millis(2);

/// A command that is still pending in this round was redirected several times, by servers whose topologies differ.
const PAUSE_FROM_ROUND: u32 = 4;

/// Executes the commands and returns the answer to each. An error means that none was answered.
pub(super) async fn execute(
    servers: &Arc<Servers>,
    commands: &[Cmd],
    scripts: &[&Script],
) -> Result<RedisReplies, RedisError> {
    let mut invalidation = InvalidateOnDrop { servers, armed: true };
    let deadline = Instant::now() + servers.connector().round_trip;
    let mut execution = Execution::new(servers, commands, scripts);
    for round in 1.. {
        let slots = timeout_at(deadline, servers.slots()).await.unwrap_or_else(timed_out);
        let slots = match slots {
            Ok(slots) => slots,
            Err(error) if round == 1 => return Err(error),
            // The answer to a refused command is then the refusal.
            Err(_) => break,
        };
        let try_again_later = execution.run_round(&slots, deadline).await;
        if execution.pending.is_empty() || Instant::now() >= deadline {
            break;
        }
        if try_again_later || round >= PAUSE_FROM_ROUND {
            tokio::time::sleep(PAUSE).await;
        }
    }
    invalidation.armed = execution.topology_may_have_changed();
    execution.into_answers()
}

fn timed_out<T>(_: Elapsed) -> Result<T, RedisError> {
    Err(io::Error::from(io::ErrorKind::TimedOut).into())
}

/// Invalidates the known servers on drop, unless it is disarmed. It stays armed after a failure, and when the caller
/// drops the call.
struct InvalidateOnDrop<'a> {
    servers: &'a Servers,
    armed: bool,
}

impl Drop for InvalidateOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.servers.invalidate();
        }
    }
}

/// The execution of a list of commands.
struct Execution<'a> {
    servers: &'a Arc<Servers>,
    scripts: &'a [&'a Script],
    /// The answer to each command, by the index of the command.
    answers: Vec<Option<RedisReply>>,
    /// The commands that the next round sends, in the order of the list.
    pending: Vec<PendingCommand<'a>>,
    /// Whether any server has answered.
    answered: bool,
    /// The error of the first pipeline that was not answered.
    failure: Option<RedisError>,
}

/// A command that has no final answer yet.
struct PendingCommand<'a> {
    index: usize,
    command: &'a Cmd,
    slot: Option<u16>,
    /// The server that ASK has named for this command.
    ask_at: Option<Address>,
    /// Whether the server has refused the command because it does not know its script.
    needs_script: bool,
}

impl<'a> Execution<'a> {
    fn new(servers: &'a Arc<Servers>, commands: &'a [Cmd], scripts: &'a [&'a Script]) -> Self {
        let is_cluster = servers.is_cluster();
        let pending = commands.iter().enumerate().map(|(index, command)| {
            let slot = if is_cluster { slot_of(command) } else { None };
            PendingCommand { index, command, slot, ask_at: None, needs_script: false }
        });
        let answers = commands.iter().map(|_| None).collect();
        let pending = pending.collect();
        Self { servers, scripts, answers, pending, answered: false, failure: None }
    }

    /// Sends the pending commands once. Returns whether a server has asked to send a command again later.
    async fn run_round(&mut self, slots: &SlotMap, deadline: Instant) -> bool {
        let servers = self.servers;
        let scripts = self.scripts;
        let pipelines = NodePipeline::split(std::mem::take(&mut self.pending), slots);
        let sent = pipelines.into_iter().map(|pipeline| async {
            let answers = timeout_at(deadline, pipeline.send(servers, scripts)).await;
            (pipeline, answers.unwrap_or_else(timed_out))
        });
        let mut try_again_later = false;
        for (pipeline, result) in join_all(sent).await {
            match result {
                Ok(answers) => try_again_later |= self.take_answers(pipeline, answers),
                Err(error) => {
                    for command in pipeline.commands {
                        self.set_answer(command.index, Err(error.clone()));
                    }
                    self.failure.get_or_insert(error);
                }
            }
        }
        self.pending.sort_unstable_by_key(|command| command.index);
        try_again_later
    }

    fn set_answer(&mut self, index: usize, answer: RedisReply) {
        if let Some(entry) = self.answers.get_mut(index) {
            *entry = Some(answer);
        }
    }

    /// Stores the answers, and makes refused commands pending again. Returns whether one of them was TRYAGAIN.
    fn take_answers(&mut self, pipeline: NodePipeline<'a>, answers: RedisReplies) -> bool {
        let mut try_again_later = false;
        let host = pipeline.address.map(|address| address.host).unwrap_or_default();
        for (mut command, answer) in pipeline.commands.into_iter().zip(answers) {
            let refusal = answer.as_ref().err().and_then(|error| Rejection::of(error, &host));
            // A refusal is stored too, because there may be no time for another round.
            self.set_answer(command.index, answer);
            self.answered = true;
            let was_loaded = std::mem::take(&mut command.needs_script);
            let asked_at = command.ask_at.take();
            match refusal {
                None => continue,
                Some(Rejection::NoScript) if was_loaded || self.scripts.is_empty() => continue,
                Some(Rejection::NoScript) => {
                    command.needs_script = true;
                    // The owner of the slot would answer with ASK again.
                    command.ask_at = asked_at;
                }
                Some(Rejection::TryAgain) => try_again_later = true,
                Some(Rejection::Ask(address)) => command.ask_at = Some(address),
                Some(Rejection::Moved(slot, master)) => {
                    self.servers.redirect(slot, master);
                    // Other slots have probably moved, too.
                    self.servers.invalidate();
                }
            }
            self.pending.push(command);
        }
        try_again_later
    }

    /// Whether an error indicates that the known masters may be outdated.
    fn topology_may_have_changed(&self) -> bool {
        let is_topology_error = |answer: &RedisReply| answer.as_ref().is_err_and(is_topology_error);
        self.failure.is_some() || self.answers.iter().flatten().any(is_topology_error)
    }

    fn into_answers(self) -> Result<RedisReplies, RedisError> {
        if let Some(error) = self.failure.filter(|_| !self.answered) {
            return Err(error);
        }
        let missing = || Err(other_error("redis gave fewer answers than commands".to_owned()));
        Ok(self.answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect())
    }
}

/// The commands for one server in one round.
struct NodePipeline<'a> {
    /// `None` for slots without a master.
    address: Option<Address>,
    commands: Vec<PendingCommand<'a>>,
}

impl<'a> NodePipeline<'a> {
    /// Splits the commands by their servers, each list in the order given.
    fn split(commands: Vec<PendingCommand<'a>>, slots: &SlotMap) -> Vec<Self> {
        // Commands without a key are sent to a server that gets another command anyway, or to a random server.
        let for_keyless = commands
            .iter()
            .find_map(|command| command.slot)
            .and_then(|slot| slots.master_of(slot))
            .or_else(|| fastrand::choice(slots.masters()));
        let mut pipelines: Vec<Self> = Vec::new();
        for command in commands {
            let master = match command.slot {
                Some(slot) => slots.master_of(slot),
                None => for_keyless,
            };
            let address = command.ask_at.as_ref().or(master).cloned();
            match pipelines.iter_mut().find(|pipeline| pipeline.address == address) {
                Some(pipeline) => pipeline.commands.push(command),
                None => pipelines.push(Self { address, commands: vec![command] }),
            }
        }
        pipelines
    }

    /// Sends the scripts if a command needs one, then the commands. ASKING is sent before a command for which ASK has
    /// named this server.
    async fn send(
        &self,
        servers: &Servers,
        scripts: &[&Script],
    ) -> Result<RedisReplies, RedisError> {
        let no_master = || other_error("no server has the slot; check the cluster".to_owned());
        let node = servers.node(self.address.as_ref().ok_or_else(no_master)?)?;
        let loads =
            if self.commands.iter().any(|command| command.needs_script) { scripts } else { &[] };
        let mut pipeline = Pipeline::with_capacity(loads.len() + self.commands.len());
        for script in loads {
            pipeline.add_command(script.load());
        }
        for command in &self.commands {
            if command.ask_at.is_some() {
                pipeline.add_command(redis::cmd("ASKING"));
            }
            pipeline.add_command(command.command.clone());
        }
        let mut answers = node.send(&mut pipeline).await?.into_iter().skip(loads.len());
        let of_commands = self.commands.iter().map_while(|command| {
            if command.ask_at.is_some() {
                drop(answers.next());
            }
            answers.next()
        });
        Ok(of_commands.collect())
    }
}

/// The reason why a server has refused a command without executing it.
enum Rejection {
    /// Another server has the slot.
    Moved(u16, Address),
    /// Another server may have the keys of this command; the slot is moving there.
    Ask(Address),
    /// The slot is moving, and the keys of this command are on both servers.
    TryAgain,
    /// The server does not know the script.
    NoScript,
}

impl Rejection {
    /// The refusal in an error. `None` for an error that is the final answer to the command.
    fn of(error: &RedisError, host: &str) -> Option<Self> {
        let ErrorKind::Server(kind) = error.kind() else { return None };
        let redirection = || {
            let (address, slot) = error.redirect_node()?;
            Some((slot, Address::of_redirection(address, host)?))
        };
        match kind {
            ServerErrorKind::Moved => redirection().map(|(slot, node)| Self::Moved(slot, node)),
            ServerErrorKind::Ask => redirection().map(|(_, node)| Self::Ask(node)),
            ServerErrorKind::TryAgain => Some(Self::TryAgain),
            ServerErrorKind::NoScript => Some(Self::NoScript),
            _ => None,
        }
    }
}
