//! `seatlock keys`: creates, lists, rotates and revokes the API keys of the database.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;
use clap::Subcommand;
use seatlock::api_keys::{ApiKeys, IssuedKey};
use seatlock::app::open_store;
use seatlock::config::Config;
use seatlock::domain::api_key::{
    ApiKey, KeyKind, KeyMode, KeyRefusal, NewApiKey, OVERLAP, OVERLAP_MAX, Scope, WhichSecret,
};
use seatlock::domain::clock::EpochMs;
use seatlock::domain::execution_error::StoreError;
use seatlock::domain::ids::{InHistory, KeyId};
use seatlock::http::responses::{ApiKeyBody, IssuedKeyBody};
use seatlock::http::time;
use seatlock::telemetry::metrics::Metrics;
use serde::Serialize;

use super::{Failed, logging, print, read_config};

/// Keys that are read together.
const PAGE: usize = 200;

#[derive(Debug, clap::Args)]
pub(crate) struct KeysArguments {
    #[command(subcommand)]
    command: Command,
    /// Print JSON, in the form of the API
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a key, and print it; it is shown only once
    Create(NewKeyArguments),
    /// List the keys that work: id, name, kind, scopes or origins, last use, beginnings of the secrets
    List {
        /// Also list the keys that were revoked in the last year
        #[arg(long)]
        all: bool,
    },
    /// Revoke a key: within about a second no process accepts it
    Revoke {
        /// The key's name, or its id
        key: String,
    },
    /// Give a key a new text, and print it; the text before works for a while
    Rotate {
        /// The key's name, or its id
        key: String,
        /// Seconds for which the text before works
        #[arg(long, value_name = "SECONDS", default_value_t = OVERLAP.as_secs(),
            value_parser = clap::value_parser!(u64).range(..=OVERLAP_MAX.as_secs()))]
        overlap_s: u64,
        /// If two texts of the key work already: the one that ends now, `older` or `newer`
        #[arg(long, value_name = "WHICH", value_parser = which)]
        end: Option<WhichSecret>,
    },
}

#[derive(Debug, clap::Args)]
struct NewKeyArguments {
    /// A name that no other live key has
    name: String,
    /// What the key may do: `read`, `sell` (includes read) or `admin` (includes both)
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    scopes: Vec<Scope>,
    /// For pages in a browser instead of servers; needs --origin, and takes no --scope
    #[arg(long)]
    publishable: bool,
    /// An origin whose pages may use a publishable key, such as `https://shop.example`; repeatable
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Mark the key for tests
    #[arg(long)]
    test: bool,
    /// When the key stops to work by itself, as an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    expires_at: Option<EpochMs>,
}

fn scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(|_| "must be read, sell or admin".to_owned())
}

fn which(text: &str) -> Result<WhichSecret, String> {
    text.parse().map_err(|_| "must be older or newer".to_owned())
}

fn moment(text: &str) -> Result<EpochMs, String> {
    time::read(text).map_err(|error| error.to_string())
}

impl NewKeyArguments {
    fn new_key(&self) -> Result<NewApiKey, Failed> {
        let kind = if self.publishable { KeyKind::Publishable } else { KeyKind::Secret };
        let mode = if self.test { KeyMode::Test } else { KeyMode::Live };
        let (scopes, origins) = (&self.scopes, &self.origins);
        NewApiKey::check(&self.name, (kind, mode), scopes, origins, self.expires_at).map_err(
            |faults| {
                let lines =
                    faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message));
                Failed::Usage(lines.collect::<Vec<_>>().join("\n"))
            },
        )
    }
}

pub(crate) fn run(arguments: &KeysArguments) -> Result<(), Failed> {
    let config = read_config()?;
    logging::init(&config.log);
    print(&System::new().block_on(execute(&config, arguments))?)
}

/// Returns the output.
async fn execute(config: &Config, arguments: &KeysArguments) -> Result<String, Failed> {
    let new = match &arguments.command {
        Command::Create(new) => Some(new.new_key()?),
        _ => None,
    };
    let failed = |error: String| Failed::Work(error);
    let metrics = Metrics::new().map_err(|error| failed(error.to_string()))?;
    let store = open_store(config, &Arc::new(metrics)).await;
    let store = store.map_err(|error| failed(error.to_string()))?;
    let keys = ApiKeys::new(Arc::clone(&store), config.http.api_keys_max_age);
    let json = arguments.json;
    let done = match &arguments.command {
        Command::Create(_) => match new {
            Some(new) => issued(keys.create(new).await, json),
            None => Ok(String::new()),
        },
        Command::List { all } => list(&keys, *all, json).await,
        Command::Revoke { key } => revoke(&keys, key, json).await,
        Command::Rotate { key, overlap_s, end } => match id_of(&keys, key).await {
            Ok(id) => issued(keys.rotate(id, Duration::from_secs(*overlap_s), *end).await, json),
            Err(error) => Err(error),
        },
    };
    store.close().await;
    done
}

/// The key that has this name, or else this id.
async fn id_of(keys: &ApiKeys, key: &str) -> Result<KeyId, Failed> {
    let named = keys.named(key).await.map_err(database)?;
    named.or_else(|| key.parse().ok()).ok_or_else(|| unknown(key))
}

fn unknown(key: &str) -> Failed {
    Failed::Work(format!("there is no API key {key:?}; `seatlock keys list --all` shows all"))
}

fn database(error: StoreError) -> Failed {
    Failed::Work(format!("the database could not be used: {error}"))
}

async fn revoke(keys: &ApiKeys, key: &str, json: bool) -> Result<String, Failed> {
    let id = id_of(keys, key).await?;
    if !keys.revoke(id).await.map_err(database)? {
        return Err(unknown(key));
    }
    match keys.find(id).await.map_err(database)? {
        Some(revoked) if json => document(&ApiKeyBody::from(revoked)),
        Some(revoked) => Ok(format!("the key {} ({id}) is revoked\n", revoked.name)),
        None => Err(unknown(key)),
    }
}

fn issued(
    issued: Result<Result<IssuedKey, KeyRefusal>, StoreError>,
    json: bool,
) -> Result<String, Failed> {
    match issued.map_err(database)? {
        Ok(issued) if json => document(&IssuedKeyBody::from(issued)),
        Ok(IssuedKey { key, text }) => Ok(format!(
            "{}\n\nThis is the key {} ({}) for {}. It is shown only once.\n",
            text.expose(),
            key.name,
            key.id,
            rights(&key)
        )),
        Err(KeyRefusal::NotFound) => {
            Err(Failed::Work("there is no such key that works".to_owned()))
        }
        Err(KeyRefusal::Fault(fault)) => {
            Err(Failed::Work(format!("{}: {}", fault.field, fault.message)))
        }
    }
}

fn document(body: &impl Serialize) -> Result<String, Failed> {
    let text = serde_json::to_string(body).map_err(|error| Failed::Work(error.to_string()))?;
    Ok(text + "\n")
}

async fn list(keys: &ApiKeys, all: bool, json: bool) -> Result<String, Failed> {
    let mut found: Vec<ApiKey> = Vec::new();
    let mut after: Option<InHistory<KeyId>> = None;
    loop {
        let page = keys.list(after, PAGE).await.map_err(database)?;
        found.extend(page.items.into_iter().filter(|key| all || key.revoked_at.is_none()));
        after = page.next_cursor.and_then(|cursor| cursor.parse().ok());
        if after.is_none() {
            break;
        }
    }
    if json {
        return document(&found.into_iter().map(ApiKeyBody::from).collect::<Vec<_>>());
    }
    Ok(table(&found))
}

/// What the key may do, or which pages may use it.
fn rights(key: &ApiKey) -> String {
    match key.kind {
        KeyKind::Secret => key.scopes.names(),
        KeyKind::Publishable => {
            let origins: Vec<&str> = key.origins.iter().map(|origin| origin.as_str()).collect();
            format!("pages of {}", origins.join(" "))
        }
    }
}

/// The keys as a table: a line for each, its columns aligned.
fn table(keys: &[ApiKey]) -> String {
    let time = |at: Option<EpochMs>| at.map_or("-".to_owned(), time::write);
    let head = ["ID", "NAME", "RIGHTS", "LAST USED", "ENDS", "SECRETS"].map(str::to_owned);
    let row = |key: &ApiKey| {
        let prefixes: Vec<&str> = key.secrets.iter().map(|secret| secret.prefix.as_str()).collect();
        let secrets = if prefixes.is_empty() { "revoked".to_owned() } else { prefixes.join(" ") };
        let ends = key.revoked_at.or(key.expires_at);
        let id = key.id.to_string();
        [id, key.name.clone(), rights(key), time(key.last_used_at), time(ends), secrets]
    };
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(keys.iter().map(row)).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    rows.iter().fold(String::new(), |mut text, row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

#[cfg(test)]
mod tests {
    use seatlock::domain::api_key::{KeySecret, Scopes};

    use super::*;

    #[test]
    fn the_columns_of_the_table_are_aligned() {
        let secret = KeySecret {
            prefix: "sk_live_abcdefgh".to_owned(),
            created_at: EpochMs(0),
            ends_at: None,
        };
        let key = |id, name: &str, secrets: &[KeySecret]| ApiKey {
            id: KeyId(id),
            name: name.to_owned(),
            kind: KeyKind::Secret,
            mode: KeyMode::Live,
            scopes: Scopes::of([Scope::Sell]),
            origins: Vec::new(),
            created_at: EpochMs(0),
            expires_at: None,
            revoked_at: None,
            last_used_at: (id == 1).then_some(EpochMs(0)),
            secrets: secrets.to_vec(),
        };
        let keys = [key(1, "shop", &[secret.clone(), secret]), key(12, "box office", &[])];
        assert_eq!(
            table(&keys),
            "ID  NAME        RIGHTS     LAST USED                 ENDS  SECRETS\n\
             1   shop        read sell  1970-01-01T00:00:00.000Z  -     sk_live_abcdefgh sk_live_abcdefgh\n\
             12  box office  read sell  -                         -     revoked\n"
        );
    }
}
