//! `seatlock queue`: the dead letters of the queue in front, looked at, sent back or dropped.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use seatlock::app::{open_queue, store_settings};
use seatlock::http::time;
use seatlock::queue::{self, DeadLetter, Fate, LetterCounts, Queue};
use seatlock::store::Store;
use seatlock::telemetry::metrics::Metrics;

use super::signals::Signals;
use super::{Failed, logging, print, read_config};

/// How often the progress is shown.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);

/// How many reasons are printed of those for which letters are still there.
const REASONS_MAX: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct QueueArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the dead letters, oldest first: when, partition, id, reason
    List {
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// With what they say
        #[arg(long)]
        body: bool,
    },
    /// Put dead letters back into the queue; a request whose time is over will expire
    Retry(LetterSelection),
    /// Delete dead letters for good
    Drop(LetterSelection),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct LetterSelection {
    /// Their ids
    ids: Vec<String>,
    /// All there are
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(arguments: &QueueArguments) -> Result<(), Failed> {
    let config = read_config()?;
    logging::init(&config.log);
    let work = async {
        let failed = |error: String| Failed::Work(error);
        let metrics = Metrics::new().map_err(|error| failed(error.to_string()))?;
        let store = Store::open(store_settings(&config), Arc::new(metrics)).await;
        let store = store.map_err(|error| failed(error.to_string()))?;
        let queue = open_queue(&config.queue, &store).map_err(|error| failed(error.to_string()))?;
        let done = obey(&*queue, &arguments.command).await;
        queue.close().await;
        store.close().await;
        done
    };
    System::new().block_on(work)
}

async fn obey(queue: &dyn Queue, command: &Command) -> Result<(), Failed> {
    match command {
        Command::List { limit, body } => {
            let letters = queue.letters(*limit).await;
            let letters = letters.map_err(|error| Failed::Work(error.to_string()))?;
            print(&list(&letters, *body))
        }
        Command::Retry(which) => settle(queue, which, Fate::Retry).await,
        Command::Drop(which) => settle(queue, which, Fate::Drop).await,
    }
}

/// Takes letters away, and says how many were, whatever happens: the rest is an error.
async fn settle(queue: &dyn Queue, which: &LetterSelection, fate: Fate) -> Result<(), Failed> {
    let tally = LetterCounts::default();
    let ended = take(queue, which, fate, &tally).await;
    let summary = Summary::of(fate, &which.ids, &tally, ended);
    print(&format!("{}\n", summary.counts))?;
    summary.remedy.map_or(Ok(()), |remedy| Err(Failed::Work(remedy)))
}

/// Works until the end, an error or a signal; shows on a terminal how far it is.
async fn take(
    queue: &dyn Queue,
    which: &LetterSelection,
    fate: Fate,
    tally: &LetterCounts,
) -> Result<(), String> {
    let mut signals = Signals::listen().map_err(|error| error.to_string())?;
    let chosen = match which.all {
        true => queue::LetterSelection::All,
        false => queue::LetterSelection::Ids(which.ids.iter().cloned().collect()),
    };
    // Nothing is shown where the standard error is no terminal.
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg}") {
        bar.set_style(style.tick_chars("|/-\\ "));
    }
    bar.set_message(done(fate));
    let mut taking = queue.take(chosen, fate, tally);
    let ended = loop {
        tokio::select! {
            ended = &mut taking => break ended.map_err(|error| error.to_string()),
            signal = signals.next() => break Err(format!("it was ended by {signal}")),
            () = tokio::time::sleep(SHOW_INTERVAL) => {
                bar.set_position(u64::try_from(tally.done()).unwrap_or(u64::MAX));
                bar.tick();
            }
        }
    };
    bar.finish_and_clear();
    ended
}

/// What is said at the end.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    counts: String,
    /// Why not everything was done, and what to do about it.
    remedy: Option<String>,
}

fn done(fate: Fate) -> &'static str {
    match fate {
        Fate::Retry => "put back",
        Fate::Drop => "dropped",
    }
}

impl Summary {
    /// Ids that were named and not seen are not there, if the work came to its end; else nothing is known of
    /// them.
    fn of(fate: Fate, ids: &[String], tally: &LetterCounts, ended: Result<(), String>) -> Self {
        let unseen = || ids.iter().filter(|id| !tally.has_found(id));
        let failed = tally.failed();
        let mut counts = format!("{} {}", tally.done(), done(fate));
        let mut reasons = Vec::new();
        let mut add = |number: usize, what: &str| {
            if number > 0 {
                // Writing to a string cannot fail.
                let _ = write!(counts, ", {number} {what}");
            }
        };
        add(failed.len(), "failed");
        match ended {
            Ok(()) => {
                add(unseen().count(), "not found");
                let missing =
                    |id| format!("there is no dead letter {id:?}; `seatlock queue list` shows all");
                reasons.extend(unseen().map(missing));
            }
            Err(problem) => {
                add(unseen().count(), "not reached");
                let remedy = "the rest is still there; run the command again";
                reasons.push(format!("{problem}; {remedy}"));
            }
        }
        let still = |(id, reason)| format!("dead letter {id:?} is still there: {reason}");
        reasons.extend(failed.into_iter().map(still));
        let more = reasons.len().saturating_sub(REASONS_MAX);
        reasons.truncate(REASONS_MAX);
        if more > 0 {
            reasons.push(format!("and {more} more"));
        }
        Self { counts, remedy: (!reasons.is_empty()).then(|| reasons.join("\n")) }
    }
}

fn list(letters: &[DeadLetter], body: bool) -> String {
    letters.iter().fold(String::new(), |mut text, letter| {
        let DeadLetter { message, partition, reason, parked_at } = letter;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} {:4} {} {}",
            time::write(*parked_at),
            partition.0,
            message.id.escape_debug(),
            reason.escape_debug()
        );
        if body {
            let _ = writeln!(text, "    {}", String::from_utf8_lossy(&message.body).escape_debug());
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn what_was_done_is_always_said() {
        let tally = LetterCounts::default();
        let all = Summary::of(Fate::Drop, &[], &tally, Ok(()));
        assert_eq!(all, Summary { counts: "0 dropped".to_owned(), remedy: None });
        tally.note_done("1".to_owned());
        tally.note_failed("2".to_owned(), "the queue is full".to_owned());

        let named = ids(&["1", "2", "3", "4"]);
        let Summary { counts, remedy } = Summary::of(Fate::Retry, &named, &tally, Ok(()));
        assert_eq!(counts, "1 put back, 1 failed, 2 not found");
        let remedy = remedy.unwrap();
        assert!(remedy.contains("no dead letter \"4\""), "{remedy}");
        assert!(remedy.contains("\"2\" is still there: the queue is full"), "{remedy}");

        let away = Err("the queue is away".to_owned());
        let Summary { counts, remedy } = Summary::of(Fate::Retry, &named, &tally, away);
        assert_eq!(counts, "1 put back, 1 failed, 2 not reached");
        assert!(remedy.unwrap().starts_with("the queue is away; the rest is still there"));
    }

    #[test]
    fn many_reasons_are_cut_short() {
        let tally = LetterCounts::default();
        for number in 0..50 {
            tally.note_failed(number.to_string(), "full".to_owned());
        }
        let remedy = Summary::of(Fate::Drop, &[], &tally, Ok(())).remedy.unwrap();
        assert_eq!(remedy.lines().count(), REASONS_MAX + 1);
        assert!(remedy.ends_with("and 40 more"), "{remedy}");
    }
}
