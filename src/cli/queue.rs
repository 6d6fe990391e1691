//! `seatlock queue`: the dead letters of the queue in front, looked at, sent back or dropped.

use std::fmt::Write as _;
use std::sync::Arc;

use actix_web::rt::System;
use clap::Subcommand;
use seatlock::app::{open_queue, store_settings};
use seatlock::http::time;
use seatlock::metrics::Metrics;
use seatlock::queue::{DeadLetter, Fate, Queue};
use seatlock::store::Store;

use super::{Failed, logging, print, read_config};

/// Dead letters that are worked on in one go.
const LETTERS_MAX: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
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
    Retry(Which),
    /// Delete dead letters for good
    Drop(Which),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Their ids
    ids: Vec<String>,
    /// All there are
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let config = read_config()?;
    logging::init(&config.log);
    let work = async {
        let failed = |error: String| Failed::Work(error);
        let metrics = Metrics::new().map_err(|error| failed(error.to_string()))?;
        let store = Store::open(store_settings(&config), Arc::new(metrics)).await;
        let store = store.map_err(|error| failed(error.to_string()))?;
        let queue = open_queue(&config.queue, &store).map_err(|error| failed(error.to_string()))?;
        let done = obey(&*queue, &arguments.command).await.map_err(failed);
        queue.close().await;
        store.close().await;
        done
    };
    print(&System::new().block_on(work)?)
}

async fn obey(queue: &dyn Queue, command: &Command) -> Result<String, String> {
    match command {
        Command::List { limit, body } => {
            let letters = queue.letters(*limit).await.map_err(|error| error.to_string())?;
            Ok(list(&letters, *body))
        }
        Command::Retry(which) => settle(queue, which, Fate::Retry, "put back").await,
        Command::Drop(which) => settle(queue, which, Fate::Drop, "dropped").await,
    }
}

async fn settle(
    queue: &dyn Queue,
    which: &Which,
    fate: Fate,
    done: &str,
) -> Result<String, String> {
    let ids = match which.all {
        true => {
            let letters = queue.letters(LETTERS_MAX).await.map_err(|error| error.to_string())?;
            letters.into_iter().map(|letter| letter.message.id).collect()
        }
        false => which.ids.clone(),
    };
    for id in &ids {
        if !queue.take(id.clone(), fate).await.map_err(|error| error.to_string())? {
            return Err(format!("there is no dead letter {id:?}; `seatlock queue list` shows all"));
        }
    }
    Ok(format!("{} {done}\n", ids.len()))
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
