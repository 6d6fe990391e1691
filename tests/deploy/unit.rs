//! The systemd unit: the facts about the program that it repeats.

use seatlock::config::Config;

use crate::files::{Variables, read, variables};
use crate::program::{assert_command, assert_known};

const UNIT: &str = "packaging/seatlock.service";

/// The values of a setting, in order.
fn values(setting: &str) -> Vec<String> {
    let start = format!("{setting}=");
    let text = read(UNIT);
    text.lines().filter_map(|line| line.strip_prefix(&start)).map(str::to_owned).collect()
}

fn value(setting: &str) -> String {
    let values = values(setting);
    assert_eq!(values.len(), 1, "{setting}: {values:?}");
    values[0].clone()
}

#[test]
fn the_unit_waits_as_long_as_the_program_takes_to_stop() {
    let http = Config::from_vars(&Variables::new()).unwrap().http;
    assert_eq!(value("TimeoutStopSec"), http.termination_grace.as_secs().to_string());
}

#[test]
fn the_unit_allows_as_many_connections_as_the_program_is_configured_for() {
    let http = Config::from_vars(&Variables::new()).unwrap().http;
    assert!(value("LimitNOFILE").parse::<usize>().unwrap() > http.max_connections);
}

#[test]
fn the_unit_runs_a_command_of_the_program_and_accepts_its_notifications() {
    let command = value("ExecStart");
    let words: Vec<&str> = command.split(' ').collect();
    assert_command(words[1], UNIT);
    assert_eq!((value("Type"), value("NotifyAccess")), ("notify".to_owned(), "main".to_owned()));
    // `EX_CONFIG`, as in `seatlock --help`.
    assert_eq!(value("RestartPreventExitStatus"), "78");
}

#[test]
fn every_variable_of_the_unit_is_one_that_the_program_reads() {
    let text = read(UNIT);
    let lines = text.lines().map(|line| line.trim_start_matches(['#', ' ']));
    let set: Vec<&str> = lines.filter_map(|line| line.strip_prefix("Environment=")).collect();
    assert!(!set.is_empty());
    assert_known(variables(&set.join("\n")).keys(), UNIT);
}
