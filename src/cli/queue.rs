//! `seatlock queue`: lists, retries or deletes the dead letters of the queue.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use seatlock::app::{open_queue, store_settings};
use seatlock::http::time;
use seatlock::queue::{
    DeadLetter, DeadLetterAction, DeadLetterProgress, DeadLetterSelection, Queue,
};
use seatlock::store::Store;
use seatlock::telemetry::metrics::Metrics;

use super::signals::Signals;
use super::{Failed, logging, print, read_config};

/// The time between two updates of the progress bar.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The most problems that are printed.
const PROBLEMS_MAX: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct QueueArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the dead letters, oldest first: time, partition, id, reason
    List {
        /// The most dead letters to list
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Also print their content
        #[arg(long)]
        body: bool,
    },
    /// Put dead letters back into the queue; a request whose deadline has passed will expire
    Retry(Selection),
    /// Delete dead letters permanently
    Drop(Selection),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Selection {
    /// The ids of dead letters
    ids: Vec<String>,
    /// All dead letters
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
        let done = execute(&*queue, &arguments.command).await;
        queue.close().await;
        store.close().await;
        done
    };
    System::new().block_on(work)
}

async fn execute(queue: &dyn Queue, command: &Command) -> Result<(), Failed> {
    match command {
        Command::List { limit, body } => {
            let letters = queue.dead_letters(*limit).await;
            let letters = letters.map_err(|error| Failed::Work(error.to_string()))?;
            print(&list(&letters, *body))
        }
        Command::Retry(selection) => resolve(queue, selection, DeadLetterAction::Retry).await,
        Command::Drop(selection) => resolve(queue, selection, DeadLetterAction::Drop).await,
    }
}

/// Retries or deletes dead letters. Prints the counts even after an error; fails if a dead letter was not resolved.
async fn resolve(
    queue: &dyn Queue,
    selection: &Selection,
    action: DeadLetterAction,
) -> Result<(), Failed> {
    let progress = DeadLetterProgress::default();
    let ended = run_with_progress(queue, selection, action, &progress).await;
    let summary = Summary::new(action, &selection.ids, &progress, ended);
    print(&format!("{}\n", summary.counts))?;
    summary.problems.map_or(Ok(()), |problems| Err(Failed::Work(problems)))
}

/// Runs until the end, an error or a signal, with a progress bar on a terminal.
async fn run_with_progress(
    queue: &dyn Queue,
    selection: &Selection,
    action: DeadLetterAction,
    progress: &DeadLetterProgress,
) -> Result<(), String> {
    let mut signals = Signals::listen().map_err(|error| error.to_string())?;
    let selected = match selection.all {
        true => DeadLetterSelection::All,
        false => DeadLetterSelection::Ids(selection.ids.iter().cloned().collect()),
    };
    // Shows nothing if standard error is not a terminal.
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg}") {
        bar.set_style(style.tick_chars("|/-\\ "));
    }
    bar.set_message(past_tense(action));
    let mut running = queue.resolve_dead_letters(selected, action, progress);
    let ended = loop {
        tokio::select! {
            ended = &mut running => break ended.map_err(|error| error.to_string()),
            signal = signals.next() => break Err(format!("the command was ended by {signal}")),
            () = tokio::time::sleep(PROGRESS_INTERVAL) => {
                bar.set_position(u64::try_from(progress.done()).unwrap_or(u64::MAX));
                bar.tick();
            }
        }
    };
    bar.finish_and_clear();
    ended
}

/// The result that is printed.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    counts: String,
    /// Why some dead letters were not resolved, and the remedies.
    problems: Option<String>,
}

fn past_tense(action: DeadLetterAction) -> &'static str {
    match action {
        DeadLetterAction::Retry => "put back",
        DeadLetterAction::Drop => "dropped",
    }
}

impl Summary {
    /// After a complete run, ids that were not found do not exist; after an error they may exist.
    fn new(
        action: DeadLetterAction,
        ids: &[String],
        progress: &DeadLetterProgress,
        ended: Result<(), String>,
    ) -> Self {
        let not_found = || ids.iter().filter(|id| !progress.has_found(id));
        let failed = progress.failed();
        let mut counts = format!("{} {}", progress.done(), past_tense(action));
        let mut problems = Vec::new();
        let mut add = |number: usize, result: &str| {
            if number > 0 {
                // Writing to a string cannot fail.
                let _ = write!(counts, ", {number} {result}");
            }
        };
        add(failed.len(), "failed");
        match ended {
            Ok(()) => {
                add(not_found().count(), "not found");
                let missing =
                    |id| format!("there is no dead letter {id:?}; `seatlock queue list` shows all");
                problems.extend(not_found().map(missing));
            }
            Err(problem) => {
                add(not_found().count(), "not reached");
                problems.push(format!(
                    "{problem}; the other dead letters remain; run the command again"
                ));
            }
        }
        let unresolved = |(id, reason)| format!("dead letter {id:?} was not resolved: {reason}");
        problems.extend(failed.into_iter().map(unresolved));
        let more = problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        Self { counts, problems: (!problems.is_empty()).then(|| problems.join("\n")) }
    }
}

fn list(letters: &[DeadLetter], body: bool) -> String {
    letters.iter().fold(String::new(), |mut text, letter| {
        let DeadLetter { message, partition, reason, dead_lettered_at } = letter;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} {:4} {} {}",
            time::write(*dead_lettered_at),
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
    fn the_summary_has_all_counts_and_remedies() {
        let progress = DeadLetterProgress::default();
        let all = Summary::new(DeadLetterAction::Drop, &[], &progress, Ok(()));
        assert_eq!(all, Summary { counts: "0 dropped".to_owned(), problems: None });
        progress.note_done("1".to_owned());
        progress.note_failed("2".to_owned(), "the queue is full".to_owned());

        let named = ids(&["1", "2", "3", "4"]);
        let Summary { counts, problems } =
            Summary::new(DeadLetterAction::Retry, &named, &progress, Ok(()));
        assert_eq!(counts, "1 put back, 1 failed, 2 not found");
        let problems = problems.unwrap();
        assert!(problems.contains("no dead letter \"4\""), "{problems}");
        assert!(problems.contains("\"2\" was not resolved: the queue is full"), "{problems}");

        let failed = Err("the queue is unavailable".to_owned());
        let Summary { counts, problems } =
            Summary::new(DeadLetterAction::Retry, &named, &progress, failed);
        assert_eq!(counts, "1 put back, 1 failed, 2 not reached");
        assert!(
            problems
                .unwrap()
                .starts_with("the queue is unavailable; the other dead letters remain")
        );
    }

    #[test]
    fn many_problems_are_cut_short() {
        let progress = DeadLetterProgress::default();
        for number in 0..50 {
            progress.note_failed(number.to_string(), "full".to_owned());
        }
        let problems =
            Summary::new(DeadLetterAction::Drop, &[], &progress, Ok(())).problems.unwrap();
        assert_eq!(problems.lines().count(), PROBLEMS_MAX + 1);
        assert!(problems.ends_with("and 40 more"), "{problems}");
    }
}
