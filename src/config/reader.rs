//! Typed reading of variables: declares each one, remembers what is in effect, collects problems.
//!
//! A declaration is the one place that knows a variable's name, default and meaning; the
//! documentation table ([`super::variables`]) is what a reader saw being declared. Reading never
//! stops at a problem: it goes on with the default, so that all problems are found in one go.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::duration;
use super::file::READABLE_FILE;
use super::problem::ConfigProblem;
use super::secret::{Secret, without_credentials};
use super::service_link::is_service_link;
use crate::telemetry::redaction::REDACTED;

/// A variable as it is documented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What holds when it is not set, written as it would be set; `None` where nothing does.
    pub default: Option<String>,
    /// What it is for, in one sentence without a full stop.
    pub help: &'static str,
    /// Whether its value is never shown, and may be in a file that `<name>_FILE` names.
    pub secret: bool,
}

/// A variable and its value in effect, fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// Its value or default; `[redacted]` for a secret, a database's URL without its password.
    pub value: String,
}

/// What a value must look like, for problems.
pub(super) struct ValueFormat {
    /// Begins with a lowercase word.
    pub(super) expected: Cow<'static, str>,
    /// A value that would be accepted.
    pub(super) example: Cow<'static, str>,
}

impl ValueFormat {
    pub(super) fn new(
        expected: impl Into<Cow<'static, str>>,
        example: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { expected: expected.into(), example: example.into() }
    }
}

/// How a file that a variable names is read.
pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Reads typed values from variables. An empty value counts as not set.
pub(super) struct Reader<'a> {
    vars: &'a BTreeMap<String, String>,
    /// Reads what a variable names.
    pub(super) read_file: ReadFile<'a>,
    /// Every variable declared so far, in order.
    pub(super) variables: Vec<Variable>,
    /// What is in effect, in order; without what is neither set nor has a default.
    pub(super) settings: Vec<Setting>,
    /// Everything wrong so far.
    pub(super) problems: Vec<ConfigProblem>,
    /// What is suspicious but no reason to stop.
    pub(super) warnings: Vec<String>,
    /// Every secret that was read, also those that are refused.
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

    /// A text taken as it is.
    pub(super) fn text(&mut self, name: &'static str, default: &str, help: &'static str) -> String {
        let form = ValueFormat::new("a text", default.to_owned());
        self.setting(name, (default.to_owned(), default), help, form, |text| Some(text.to_owned()))
    }

    /// A duration above zero.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        default: Duration,
        help: &'static str,
    ) -> Duration {
        let shown = duration::show(default);
        let form = ValueFormat::new(duration::EXPECTED, shown.clone());
        self.setting(name, (default, &shown), help, form, duration::parse)
    }

    /// A whole number within a range.
    pub(super) fn number<N>(
        &mut self,
        name: &'static str,
        default: N,
        range: RangeInclusive<N>,
        help: &'static str,
    ) -> N
    where
        N: FromStr + PartialOrd + Display,
    {
        let shown = default.to_string();
        let form = number_form(&range, shown.clone());
        self.setting(name, (default, &shown), help, form, |text| parse_number(text, &range))
    }

    /// A whole number within a range, or nothing.
    pub(super) fn optional_number<N>(
        &mut self,
        name: &'static str,
        example: N,
        range: RangeInclusive<N>,
        help: &'static str,
    ) -> Option<N>
    where
        N: FromStr + PartialOrd + Display,
    {
        let form = number_form(&range, example.to_string());
        self.optional(name, help, form, |text| parse_number(text, &range))
    }

    /// `on` or `off`.
    pub(super) fn flag(&mut self, name: &'static str, default: bool, help: &'static str) -> bool {
        self.choice(name, ("off", false), &[("on", true)], default, help)
    }

    /// One of a few words, the first of them given apart so that there always is one.
    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        first: (&'static str, T),
        others: &[(&'static str, T)],
        default: T,
        help: &'static str,
    ) -> T {
        let options = || std::iter::once(&first).chain(others);
        let words: Vec<&str> = options().map(|(word, _)| *word).collect();
        let shown = options().find(|(_, value)| *value == default).unwrap_or(&first).0;
        let form = ValueFormat::new(format!("one of {}", words.join(", ")), shown);
        self.setting(name, (default, shown), help, form, |text| {
            options().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
        })
    }

    /// A value with a default, which is given as value and as text.
    pub(super) fn setting<T>(
        &mut self,
        name: &'static str,
        (default, shown): (T, &str),
        help: &'static str,
        form: ValueFormat,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        self.declare(Variable { name, default: Some(shown.to_owned()), help, secret: false });
        self.parsed(name, &form, parse).unwrap_or_else(|| {
            self.in_effect(name, shown.to_owned());
            default
        })
    }

    /// A value without a default.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        help: &'static str,
        form: ValueFormat,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.declare(Variable { name, default: None, help, secret: false });
        self.parsed(name, &form, parse)
    }

    /// A secret without a default, from `name` or from the file that `name_FILE` names, line ends
    /// at its end cut off. `T` must show itself without what is secret.
    pub(super) fn secret<T: Display>(
        &mut self,
        name: &'static str,
        help: &'static str,
        form: ValueFormat,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.declare(Variable { name, default: None, help, secret: true });
        let text = self.secret_text(name)?;
        self.secrets.push(Secret::new(text.as_str()));
        let value = parse(&text);
        match &value {
            Some(value) => self.in_effect(name, value.to_string()),
            None => self.refuse_form(name, &form),
        }
        value
    }

    /// Whether a variable, or the one that names its file, has a value of its own.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.raw(name).is_some() || self.raw(&file_name(name)).is_some()
    }

    /// Whether a problem with a variable, or with its file, was found. Checks across variables
    /// leave those out: what they would compare is not what its author meant.
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
        self.add_problem(name, value, expected.into(), example.into());
    }

    /// The defaults of declared variables, as assignments: the example of a problem between them.
    pub(super) fn defaults(&self, names: &[&str]) -> String {
        let declared = self.variables.iter().filter(|variable| names.contains(&variable.name));
        let assignments: Vec<String> = declared
            .filter_map(|v| v.default.as_ref().map(|default| format!("{}={default}", v.name)))
            .collect();
        assignments.join(" ")
    }

    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    fn add_problem(
        &mut self,
        name: &str,
        value: Option<String>,
        expected: String,
        example: String,
    ) {
        self.problems.push(ConfigProblem { variable: name.to_owned(), value, expected, example });
    }

    fn refuse_form(&mut self, name: &str, form: &ValueFormat) {
        self.refuse(name, form.expected.as_ref(), format!("{name}={}", form.example));
    }

    fn declare(&mut self, variable: Variable) {
        self.variables.push(variable);
    }

    fn in_effect(&mut self, name: &'static str, value: String) {
        self.settings.push(Setting { name, value });
    }

    fn parsed<T>(
        &mut self,
        name: &'static str,
        form: &ValueFormat,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.raw(name)?;
        let value = parse(text);
        match value {
            Some(_) => self.in_effect(name, without_credentials(text)),
            None => self.refuse_form(name, form),
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
        let example = format!("{file}=/run/secrets/{}", name.to_ascii_lowercase());
        let path_shown = Some(without_credentials(path));
        if self.raw(name).is_some() {
            self.add_problem(
                &file,
                path_shown,
                format!("nothing where {name} is set too"),
                example,
            );
            return None;
        }
        match (self.read_file)(Path::new(path)) {
            Ok(text) if !text.trim().is_empty() => Some(without_line_end(&text).to_owned()),
            Ok(_) => {
                let expected = "a file that holds the secret, but it is empty".to_owned();
                self.add_problem(&file, path_shown, expected, example);
                None
            }
            Err(error) => {
                let expected = format!("{READABLE_FILE}, but: {}", error.kind());
                self.add_problem(&file, path_shown, expected, example);
                None
            }
        }
    }
}

/// The variable that names the file of a secret.
pub(super) fn file_name(name: &str) -> String {
    format!("{name}_FILE")
}

fn without_line_end(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

fn number_form<N: Display>(range: &RangeInclusive<N>, example: String) -> ValueFormat {
    ValueFormat::new(format!("a whole number from {} to {}", range.start(), range.end()), example)
}

fn parse_number<N: FromStr + PartialOrd>(text: &str, range: &RangeInclusive<N>) -> Option<N> {
    // `from_str` would accept a sign.
    let digits = text.bytes().all(|digit| digit.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|number| range.contains(number))
}
