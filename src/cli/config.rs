//! `seatlock config`: checks the configuration, or lists its variables.

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
    /// Read the configuration as `serve` would: print the settings in effect, or all problems
    Check,
    /// List every variable with its default and meaning
    List {
        /// Print a Markdown table
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
    let warnings = config.warnings.iter().map(|warning| format!("warning: {warning}\n"));
    format!("the configuration is fine: {}\n{}", config.summary(), warnings.collect::<String>())
}

fn columns(variables: &[Variable]) -> String {
    let longest = |length: fn(&Variable) -> usize| variables.iter().map(length).max();
    let names = longest(|variable| variable.name.len()).unwrap_or_default();
    let defaults = longest(|variable| shown_default(variable).len()).unwrap_or_default();
    let line = |variable: &Variable| {
        let name = variable.name;
        let default = shown_default(variable);
        let help = help(variable);
        format!("{name:names$}  {default:defaults$}  {help}\n")
    };
    variables.iter().map(line).collect()
}

fn markdown(variables: &[Variable]) -> String {
    let row = |variable: &Variable| {
        let default = variable.default.as_ref().map(|default| format!("`{default}`"));
        let cells = [format!("`{}`", variable.name), default.unwrap_or_default(), help(variable)];
        // A bar would end the cell, within code too (GitHub Flavored Markdown §4.10).
        format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
    };
    let rows: String = variables.iter().map(row).collect();
    format!("| Variable | Default | Meaning |\n|---|---|---|\n{rows}")
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
    fn the_list_has_columns() {
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
