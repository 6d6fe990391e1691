//! A list of commands, sent to whoever has their slots, and their answers.
//!
//! Each round is one pipeline per server, all at the same time. What a server sends away without having
//! executed it (MOVED, ASK, TRYAGAIN, NOSCRIPT) goes out again in the next round. The order of commands is
//! kept per slot, except that those sent away come after those of the same list that were executed: while
//! a slot moves, or when another process loads a script between two commands.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::{self, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind};
use futures_util::future::join_all;
use tokio::time::error::Elapsed;
use tokio::time::timeout_at;

use super::discovery::wrong;
use super::failure::topology_moved;
use super::node::{Answer, Answers};
use super::script::Script;
use super::settings::Address;
use super::slots::{SlotMap, slot_of};
use super::topology::Topology;

/// The pause before a command is sent again that its server wants to be asked later, and between servers
/// that send it back and forth because they have not heard of each other yet.
const PAUSE: Duration = Duration::from_millis(2);

/// From this round on there is always a pause.
const BACK_AND_FORTH: u32 = 4;

/// Sends the commands and gives each one's own answer. An error means that none was answered.
pub(super) async fn exchange(
    topology: &Arc<Topology>,
    commands: &[Cmd],
    scripts: &[&Script],
) -> Result<Answers, RedisError> {
    let mut answers: Vec<Option<Answer>> = Vec::new();
    answers.resize_with(commands.len(), || None);
    let mut doubt = Doubt { topology, cleared: false };
    let cluster = topology.is_cluster();
    let mut waiting: Vec<Waiting<'_>> = commands
        .iter()
        .enumerate()
        .map(|(place, command)| {
            let slot = if cluster { slot_of(command) } else { None };
            Waiting { place, command, slot, asked_at: None, unknown: false }
        })
        .collect();
    let mut unreachable = Vec::new();
    let deadline = Instant::now() + topology.connector().round_trip;
    for round in 1.. {
        let slots = timeout_at(deadline.into(), topology.slots()).await.unwrap_or_else(late);
        let slots = match slots {
            Ok(slots) => slots,
            Err(error) if round == 1 => return Err(error),
            // The others keep their answers, and what was to go out again why it was sent away.
            Err(_) => break,
        };
        let groups = Group::of(waiting, &slots).into_iter();
        let sent = groups.map(|group| async {
            let answers = timeout_at(deadline.into(), group.send(topology, scripts)).await;
            (group, answers.unwrap_or_else(late))
        });
        let sent = join_all(sent).await;
        let mut again = Again::default();
        for (group, outcome) in sent {
            match outcome {
                Ok(got) => {
                    group.judge(topology, got, !scripts.is_empty(), (&mut answers, &mut again));
                }
                Err(error) => unreachable.push((group, error)),
            }
        }
        waiting = again.waiting;
        waiting.sort_unstable_by_key(|command| command.place);
        if waiting.is_empty() || Instant::now() >= deadline {
            break;
        }
        if again.later || round >= BACK_AND_FORTH {
            tokio::time::sleep(PAUSE).await;
        }
    }
    doubt.cleared = unreachable.is_empty() && !answers.iter().flatten().any(is_doubtful);
    if let Some((_, error)) = unreachable.first()
        && answers.iter().all(Option::is_none)
    {
        return Err(error.clone());
    }
    for (group, error) in unreachable {
        for command in group.commands {
            if let Some(answer) = answers.get_mut(command.place) {
                *answer = Some(Err(error.clone()));
            }
        }
    }
    let silent = || Err(wrong("redis gave fewer answers than commands".to_owned()));
    Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(silent)).collect())
}

fn late<T>(_: Elapsed) -> Result<T, RedisError> {
    Err(io::Error::from(io::ErrorKind::TimedOut).into())
}

fn is_doubtful(answer: &Answer) -> bool {
    answer.as_ref().is_err_and(topology_moved)
}

/// Until it is cleared, what is known of the servers becomes doubtful when this goes out of scope: after
/// a failure, and after a call that its caller gave up.
struct Doubt<'a> {
    topology: &'a Topology,
    cleared: bool,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.cleared {
            self.topology.doubt();
        }
    }
}

/// A command that has no answer yet.
struct Waiting<'a> {
    place: usize,
    command: &'a Cmd,
    slot: Option<u16>,
    /// Where a server that is giving its slot away has sent this one command.
    asked_at: Option<Address>,
    /// Its script was not known.
    unknown: bool,
}

/// What goes out again.
#[derive(Default)]
struct Again<'a> {
    waiting: Vec<Waiting<'a>>,
    /// After a pause.
    later: bool,
}

/// What goes to one server in one round.
struct Group<'a> {
    /// `None` where nobody has the slot.
    address: Option<Address>,
    commands: Vec<Waiting<'a>>,
}

impl<'a> Group<'a> {
    fn of(waiting: Vec<Waiting<'a>>, slots: &SlotMap) -> Vec<Self> {
        let masters = slots.masters();
        // Whoever has the slot of another command is asked anyway.
        let with_key = waiting.iter().find_map(|command| command.slot);
        let anybody = with_key
            .and_then(|slot| slots.master_of(slot))
            .or_else(|| fastrand::choice(&masters).copied());
        let mut groups: Vec<Self> = Vec::new();
        for command in waiting {
            let owner = match command.slot {
                Some(slot) => slots.master_of(slot),
                None => anybody,
            };
            let address = command.asked_at.as_ref().or(owner).cloned();
            match groups.iter_mut().find(|group| group.address == address) {
                Some(group) => group.commands.push(command),
                None => groups.push(Self { address, commands: vec![command] }),
            }
        }
        groups
    }

    /// One pipeline: the scripts if one was not known, then each command, behind ASKING where it was sent
    /// here for once.
    async fn send(&self, topology: &Topology, scripts: &[&Script]) -> Result<Answers, RedisError> {
        let nobody = || wrong("no server has the slot; look at the cluster".to_owned());
        let node = topology.node(self.address.as_ref().ok_or_else(nobody)?)?;
        let loads = if self.commands.iter().any(|command| command.unknown) { scripts } else { &[] };
        let mut pipeline = Pipeline::with_capacity(loads.len() + self.commands.len());
        for script in loads {
            pipeline.add_command(script.load());
        }
        for command in &self.commands {
            if command.asked_at.is_some() {
                pipeline.add_command(redis::cmd("ASKING"));
            }
            pipeline.add_command(command.command.clone());
        }
        let mut answers = node.send(&mut pipeline).await?.into_iter().skip(loads.len());
        let own = self.commands.iter().map_while(|command| {
            if command.asked_at.is_some() {
                drop(answers.next());
            }
            answers.next()
        });
        Ok(own.collect())
    }

    /// Keeps the answers, and notes what goes out again.
    fn judge(
        self,
        topology: &Topology,
        got: Answers,
        can_load: bool,
        (answers, again): (&mut [Option<Answer>], &mut Again<'a>),
    ) {
        let host = self.address.map(|address| address.host).unwrap_or_default();
        for (mut waiting, answer) in self.commands.into_iter().zip(got) {
            let next = answer.as_ref().err().and_then(|error| Next::after(error, &host));
            // Also what goes out again: there may be no time left.
            if let Some(kept) = answers.get_mut(waiting.place) {
                *kept = Some(answer);
            }
            let in_vain = std::mem::take(&mut waiting.unknown);
            let asked_here = waiting.asked_at.take();
            match next {
                None => continue,
                Some(Next::Load) if in_vain || !can_load => continue,
                Some(Next::Load) => {
                    waiting.unknown = true;
                    // The slot's owner would send it here again.
                    waiting.asked_at = asked_here;
                }
                Some(Next::Later) => again.later = true,
                Some(Next::Ask(address)) => waiting.asked_at = Some(address),
                Some(Next::Moved(slot, master)) => {
                    topology.moved(slot, master);
                    // Seldom alone.
                    topology.doubt();
                }
            }
            again.waiting.push(waiting);
        }
    }
}

/// What to do about a command that its server sent away.
enum Next {
    /// The slot is there for good.
    Moved(u16, Address),
    /// This once, ask there.
    Ask(Address),
    /// The keys of this command are on their way, some here, some there.
    Later,
    /// The script has to be loaded.
    Load,
}

impl Next {
    /// `None` for errors that are the command's answer.
    fn after(error: &RedisError, host: &str) -> Option<Self> {
        let ErrorKind::Server(kind) = error.kind() else { return None };
        let elsewhere = || {
            let (address, slot) = error.redirect_node()?;
            Some((slot, Address::redirected(address, host)?))
        };
        match kind {
            ServerErrorKind::Moved => elsewhere().map(|(slot, address)| Self::Moved(slot, address)),
            ServerErrorKind::Ask => elsewhere().map(|(_, address)| Self::Ask(address)),
            ServerErrorKind::TryAgain => Some(Self::Later),
            ServerErrorKind::NoScript => Some(Self::Load),
            _ => None,
        }
    }
}
