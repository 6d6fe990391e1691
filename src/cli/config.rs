//! `seatlock config`: checks the configuration, or lists the variables that make it.

use std::fmt::Write as _;

use clap::Subcommand;
use seatlock::config::{Config, Variable, variables};

use super::{Failed, print, read_config};

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the configuration as `serve` would: print what is in effect, or all that is wrong
    Check,
    /// List every variable with its default and meaning
    List {
        /// As a Markdown table
        #[arg(long)]
        markdown: bool,
    },
}

pub(crate) fn run(arguments: &ConfigArguments) -> Result<(), Failed> {
    match arguments.command {
        Command::Check => print(&checked(&read_config()?)),
        Command::List { markdown: false } => print(&columns(&variables())),
        Command::List { markdown: true } => print(&markdown(&variables())),
    }
}

fn checked(config: &Config) -> String {
    let mut text = format!("the configuration is fine: {}\n", config.summary());
    for warning in &config.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}

fn columns(variables: &[Variable]) -> String {
    let longest = |texts: &dyn Fn(&Variable) -> usize| variables.iter().map(texts).max();
    let names = longest(&|variable| variable.name.len()).unwrap_or_default();
    let defaults = longest(&|variable| shown_default(variable).len()).unwrap_or_default();
    variables.iter().fold(String::new(), |mut text, variable| {
        let (name, default, help) = (variable.name, shown_default(variable), help(variable));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:names$}  {default:defaults$}  {help}");
        text
    })
}

fn markdown(variables: &[Variable]) -> String {
    let head = "| Variable | Default | Meaning |\n|---|---|---|\n".to_owned();
    variables.iter().fold(head, |mut text, variable| {
        let default = variable.default.as_ref().map(|default| format!("`{default}`"));
        let cells = [format!("`{}`", variable.name), default.unwrap_or_default(), help(variable)];
        // A bar would end the cell, within code too (GitHub Flavored Markdown §4.10).
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        text
    })
}

fn shown_default(variable: &Variable) -> &str {
    variable.default.as_deref().unwrap_or("-")
}

fn help(variable: &Variable) -> String {
    let Variable { name, help, .. } = variable;
    if variable.secret {
        format!("{help} (secret: never shown; {name}_FILE may name a file that holds it)")
    } else {
        (*help).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Variable> {
        let variable = |name, default: Option<&str>, help, secret| Variable {
            name,
            default: default.map(str::to_owned),
            help,
            secret,
        };
        vec![
            variable("BIND", Some("127.0.0.1:8080"), "where | listens", false),
            variable("REDIS_PASSWORD", None, "password", true),
        ]
    }

    #[test]
    fn the_list_stands_in_columns() {
        let secret = "password (secret: never shown; REDIS_PASSWORD_FILE may name a file that \
                      holds it)";
        assert_eq!(
            columns(&sample()),
            format!(
                "BIND            127.0.0.1:8080  where | listens\n\
                 REDIS_PASSWORD  -               {secret}\n"
            )
        );
    }

    #[test]
    fn a_bar_does_not_break_the_markdown_table() {
        let table = markdown(&sample());
        assert!(table.starts_with("| Variable | Default | Meaning |\n|---|---|---|\n"));
        assert!(table.contains("| `BIND` | `127.0.0.1:8080` | where \\| listens |\n"), "{table}");
        assert!(table.contains("| `REDIS_PASSWORD` |  | password (secret"), "{table}");
    }
}
