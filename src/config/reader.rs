//! Typed reading of variables: records the declarations and the values in effect, and collects problems.
//!
//! The documentation table ([`super::variables`]) lists the variables that were declared to a reader. Reading does not
//! stop at a problem: it continues with the default, so that one run finds all problems.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::duration;
use super::file::READABLE_FILE;
use super::problem::ConfigProblem;
use super::secret::{FromFile, Secret, without_credentials};
use super::service_link::is_service_link;
use crate::telemetry::redaction::REDACTED;

/// A variable as it is documented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The default as text; `None` if there is none.
    pub default: Option<String>,
    /// Its purpose, in one sentence without a full stop.
    pub help: &'static str,
    /// Whether its value is never shown, and may be in the file that `<name>_FILE` names.
    pub secret: bool,
}

/// A variable as its section declares it.
#[derive(Clone, Copy)]
pub(super) struct Declaration {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
}

/// A variable and its value in effect, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// Its value or default; `[redacted]` for a secret, a database's URL without its password.
    pub value: String,
}

/// How a file that a variable names is read.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Reads typed values from variables. An empty value counts as not set.
pub(super) struct Reader<'a> {
    vars: &'a BTreeMap<String, String>,
    read_file: ReadFile<'a>,
    /// Every variable declared so far, in order.
    pub(super) variables: Vec<Variable>,
    /// The values in effect, in order; a variable that is neither set nor has a default is left out.
    pub(super) settings: Vec<Setting>,
    /// The problems found so far.
    pub(super) problems: Vec<ConfigProblem>,
    /// Suspicious settings that do not prevent the start.
    pub(super) warnings: Vec<String>,
    /// Every secret that was read, refused ones included.
    pub(super) secrets: Vec<Secret>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(vars: &'a BTreeMap<String, String>, read_file: ReadFile<'a>) -> Self {
        Self {
            vars,
            read_file,
            variables: Vec::new(),
            settings: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// A duration above zero.
    pub(super) fn duration(&mut self, variable: Declaration, default: Duration) -> Duration {
        let shown = duration::show(default);
        self.setting(variable, (default, &shown), duration::EXPECTED, duration::parse)
    }

    /// A whole number within a range.
    pub(super) fn number<N: FromStr + PartialOrd + Display>(
        &mut self,
        variable: Declaration,
        default: N,
        range: RangeInclusive<N>,
    ) -> N {
        let shown = default.to_string();
        self.setting(variable, (default, &shown), number_in(&range), |text| {
            parse_number(text, &range)
        })
    }

    /// A whole number within a range, or nothing.
    pub(super) fn optional_number<N: FromStr + PartialOrd + Display>(
        &mut self,
        variable: Declaration,
        range: RangeInclusive<N>,
        example: N,
    ) -> Option<N> {
        self.optional(variable, number_in(&range), &example.to_string(), |text| {
            parse_number(text, &range)
        })
    }

    /// `on` or `off`.
    pub(super) fn flag(&mut self, variable: Declaration, default: bool) -> bool {
        self.choice(variable, default, &[("off", false), ("on", true)])
    }

    /// One of a few words. The default must be among them.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        variable: Declaration,
        default: T,
        options: &[(&'static str, T)],
    ) -> T {
        let words: Vec<&str> = options.iter().map(|(word, _)| *word).collect();
        let shown =
            options.iter().find(|(_, value)| *value == default).map_or("", |(word, _)| word);
        let expected = format!("one of {}", words.join(", "));
        self.setting(variable, (default, shown), expected, |text| {
            options
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(text))
                .map(|(_, value)| *value)
        })
    }

    /// A value with a default, which is given as value and as text. `expected` describes valid values and begins with a
    /// lowercase word.
    pub(super) fn setting<T>(
        &mut self,
        variable: Declaration,
        (default, shown): (T, &str),
        expected: impl Into<String>,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        self.declare(variable, Some(shown), false);
        self.parsed(variable.name, expected, shown, parse).unwrap_or_else(|| {
            self.settings.push(Setting { name: variable.name, value: shown.to_owned() });
            default
        })
    }

    /// A value without a default; `example` is a valid value.
    pub(super) fn optional<T>(
        &mut self,
        variable: Declaration,
        expected: impl Into<String>,
        example: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.declare(variable, None, false);
        self.parsed(variable.name, expected, example, parse)
    }

    /// Values separated by commas; none if the variable is not set.
    pub(super) fn list<T>(
        &mut self,
        variable: Declaration,
        expected: &str,
        example: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let parse = |text: &str| text.split(',').map(|part| parse(part.trim())).collect();
        self.optional(variable, expected, example, parse).unwrap_or_default()
    }

    /// The text of the file that the variable names, if `accepts` it.
    pub(super) fn file(
        &mut self,
        variable: Declaration,
        expected: &'static str,
        example: &str,
        accepts: fn(&str) -> bool,
    ) -> Option<String> {
        let read_file = self.read_file;
        self.optional(variable, expected, example, |path| {
            read_file(Path::new(path)).ok().filter(|text| accepts(text))
        })
    }

    /// A secret without a default, from `name` or from the file that `name_FILE` names. Line ends at its end are
    /// removed. The `Display` of `T` must not show the secret.
    pub(super) fn secret<T: Display>(
        &mut self,
        variable: Declaration,
        expected: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.declare(variable, None, true);
        let name = variable.name;
        let text = self.secret_text(name)?;
        self.secrets.push(Secret::new(text.as_str()));
        let value = parse(&text);
        match &value {
            Some(value) => self.settings.push(Setting { name, value: value.to_string() }),
            None => self.refuse(name, expected, format!("{name}={example}")),
        }
        value
    }

    /// Like [`Self::secret`], with the path of its file, which may be read again later.
    pub(super) fn secret_and_file<T: Display>(
        &mut self,
        variable: Declaration,
        expected: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<FromFile<T>> {
        let value = self.secret(variable, expected, example, parse)?;
        Some(FromFile { value, file: self.raw(&file_name(variable.name)).map(PathBuf::from) })
    }

    /// Whether the file can be read.
    pub(super) fn can_read(&self, path: &Path) -> bool {
        (self.read_file)(path).is_ok()
    }

    /// Whether a variable, or the variable that names its file, is set.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.raw(name).is_some() || self.raw(&file_name(name)).is_some()
    }

    /// Whether a problem with a variable, or with its file, was found. Checks across variables skip such a variable,
    /// because its value was replaced by the default.
    pub(super) fn is_refused(&self, name: &str) -> bool {
        let file = file_name(name);
        self.problems.iter().any(|p| p.variable == name || p.variable == file)
    }

    /// Adds a problem with a declared variable. `example` is one or more whole assignments.
    pub(super) fn refuse(
        &mut self,
        name: &str,
        expected: impl Into<String>,
        example: impl Into<String>,
    ) {
        let declared = self.variables.iter().find(|variable| variable.name == name);
        let value = match (declared, self.raw(name)) {
            (Some(Variable { secret: true, .. }), _) => {
                self.is_set(name).then(|| REDACTED.to_owned())
            }
            (_, Some(raw)) => Some(without_credentials(raw)),
            (declared, None) => declared.and_then(|variable| variable.default.clone()),
        };
        let variable = name.to_owned();
        let expected = expected.into();
        let example = example.into();
        self.problems.push(ConfigProblem { variable, value, expected, example });
    }

    /// The defaults of declared variables as assignments, for the example of a problem between these variables.
    pub(super) fn defaults(&self, names: &[&str]) -> String {
        let declared = self.variables.iter().filter(|variable| names.contains(&variable.name));
        let defaults = declared.filter_map(|v| Some(format!("{}={}", v.name, v.default.as_ref()?)));
        defaults.collect::<Vec<_>>().join(" ")
    }

    fn declare(&mut self, variable: Declaration, default: Option<&str>, secret: bool) {
        let (Declaration { name, help }, default) = (variable, default.map(str::to_owned));
        self.variables.push(Variable { name, default, help, secret });
    }

    fn parsed<T>(
        &mut self,
        name: &'static str,
        expected: impl Into<String>,
        example: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.raw(name)?;
        let value = parse(text);
        match value {
            Some(_) => self.settings.push(Setting { name, value: without_credentials(text) }),
            None => self.refuse(name, expected, format!("{name}={example}")),
        }
        value
    }

    fn raw(&self, name: &str) -> Option<&'a str> {
        let value = self.vars.get(name)?.trim();
        (!value.is_empty() && !is_service_link(name, value)).then_some(value)
    }

    fn secret_text(&mut self, name: &'static str) -> Option<String> {
        let file = file_name(name);
        let Some(path) = self.raw(&file) else {
            self.raw(name)?;
            return self.vars.get(name).map(|text| without_line_end(text).to_owned());
        };
        let expected = if self.raw(name).is_some() {
            format!("no value, since {name} is set too")
        } else {
            match (self.read_file)(Path::new(path)) {
                Ok(text) if !text.trim().is_empty() => {
                    return Some(without_line_end(&text).to_owned());
                }
                Ok(_) => "a file that holds the secret, but it is empty".to_owned(),
                Err(error) => format!("{READABLE_FILE}, but: {}", error.kind()),
            }
        };
        let example = format!("{file}=/run/secrets/{}", name.to_ascii_lowercase());
        self.refuse(&file, expected, example);
        None
    }
}

/// The variable that names the file of a secret.
pub(super) fn file_name(name: &str) -> String {
    format!("{name}_FILE")
}

fn without_line_end(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

fn number_in<N: Display>(range: &RangeInclusive<N>) -> String {
    format!("a whole number from {} to {}", range.start(), range.end())
}

fn parse_number<N: FromStr + PartialOrd>(text: &str, range: &RangeInclusive<N>) -> Option<N> {
    // `from_str` would accept a sign.
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|number| range.contains(number))
}
