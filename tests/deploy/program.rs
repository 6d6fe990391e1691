//! The facts about the program: its variables, commands, configuration and paths.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::Command;

use seatlock::config::{Config, HOLD_TTL_MAX_DEFAULT, variables};
use seatlock::http::openapi;
use serde_json::Value;

use crate::files::Variables;

/// Every variable that the program reads, the files of secrets included.
fn known() -> BTreeSet<String> {
    let variables = variables();
    let files = variables.iter().filter(|v| v.secret).map(|v| format!("{}_FILE", v.name));
    variables.iter().map(|v| v.name.to_owned()).chain(files).collect()
}

/// The commands of `seatlock --help`.
fn commands() -> BTreeSet<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_seatlock")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, list) = help.split_once("Commands:").expect("a list of commands");
    let lines = list.lines().skip(1).take_while(|line| line.starts_with("  "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Fails for a variable that the program would ignore; `place` is where it is set.
pub(crate) fn assert_known<'a>(names: impl IntoIterator<Item = &'a String>, place: &str) {
    let known = known();
    let strange: Vec<_> = names.into_iter().filter(|name| !known.contains(*name)).collect();
    assert!(strange.is_empty(), "{place}: no variables of seatlock: {strange:?}");
}

/// Fails if the program has no such command.
pub(crate) fn assert_command(name: &str, place: &str) {
    let known = commands();
    assert!(known.contains(name), "{place}: `seatlock {name}` is none of {known:?}");
}

/// The configuration from these variables, checked as at the start. Files of secrets have example contents.
pub(crate) fn configuration(variables: &Variables, place: &str) -> Config {
    let config = Config::from_vars_and_files(variables, &example_secret);
    config.unwrap_or_else(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{place}: {problems:#?}")
    })
}

/// The queue's address, or for a program without RabbitMQ one that it accepts.
pub(crate) fn queue_url(url: &str) -> &str {
    if cfg!(feature = "rabbitmq") { url } else { "db://" }
}

/// An example content for the file of a secret.
fn example_secret(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/run/secrets/seatlock/admin-api-key") => Ok("0123456789abcdef".to_owned()),
        Some("/run/secrets/seatlock/write-db-url") => Ok("postgres://s@primary/s".to_owned()),
        Some("/run/secrets/seatlock/read-db-url") => Ok("postgres://s@replica/s".to_owned()),
        Some("/run/secrets/seatlock/redis-password") => Ok("hunter2".to_owned()),
        Some("/run/secrets/seatlock/queue-url") => {
            Ok(queue_url("amqp://s:hunter2@mq:5672/s").to_owned())
        }
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

/// The paths of the API's document, and those of the document itself.
pub(crate) fn paths() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&openapi::json(HOLD_TTL_MAX_DEFAULT)).unwrap();
    let described = document["paths"].as_object().unwrap().keys().cloned();
    described.chain(["/openapi.json".to_owned(), "/docs/".to_owned()]).collect()
}

#[test]
fn the_commands_are_read_from_the_help() {
    let commands = commands();
    assert!(commands.contains("serve") && commands.contains("migrate"), "{commands:?}");
}

#[test]
#[should_panic(expected = "no variables of seatlock")]
fn a_variable_that_the_program_does_not_read_is_noticed() {
    assert_known(&["HOLD_TTL".to_owned(), "HOLD_TTTL".to_owned()], "here");
}
