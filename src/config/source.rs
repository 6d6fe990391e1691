//! The sources of variables: the process environment, which overrides a `.env` file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use dotenvy::Error;

use super::file::{READABLE_FILE, read_bounded};
use super::problem::ConfigProblem;
use super::reader::{Variable, file_name};

/// Merges the process environment over a `.env` file. Returns the variables that could be read, and the problems. The
/// process environment is not changed.
///
/// A `.env` file that does not exist counts as empty. If the file has a name twice, the last value counts. A secret has
/// two names (`X` and `X_FILE`): if the process environment has one of them, both are ignored in the file. `$NAME` in
/// the file is replaced by the value of that variable, except in single quotes: passwords should be in single quotes.
pub(super) fn merge(
    env: impl IntoIterator<Item = (String, String)>,
    dotenv: Option<&Path>,
    declared: &[Variable],
) -> (BTreeMap<String, String>, Vec<ConfigProblem>) {
    let process: BTreeMap<String, String> = env.into_iter().collect();
    let (mut vars, problems) = dotenv.map(read_file).unwrap_or_default();
    for variable in declared.iter().filter(|variable| variable.secret) {
        let file = file_name(variable.name);
        if process.contains_key(variable.name) || process.contains_key(&file) {
            vars.remove(variable.name);
            vars.remove(&file);
        }
    }
    vars.extend(process);
    (vars, problems)
}

fn read_file(path: &Path) -> (BTreeMap<String, String>, Vec<ConfigProblem>) {
    let mut vars = BTreeMap::new();
    let mut problems = Vec::new();
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (vars, problems),
        Err(error) => return (vars, vec![problem(path, &Error::Io(error), None)]),
    };
    let pairs = dotenvy::from_read_iter(bytes.as_slice());
    let mut last = None;
    for pair in pairs {
        match pair {
            Ok((name, value)) => {
                last = Some(name.clone());
                vars.insert(name, value);
            }
            Err(error) => {
                problems.push(problem(path, &error, last.as_deref()));
                // After a failed read every further read fails too.
                if matches!(error, Error::Io(_)) {
                    break;
                }
            }
        }
    }
    (vars, problems)
}

/// The problem of a line below the assignment to `last`. dotenvy's message is not used: it quotes the line, which may
/// contain a secret, and has no line number.
fn problem(path: &Path, error: &Error, last: Option<&str>) -> ConfigProblem {
    let position = last.map_or_else(|| "at the start".to_owned(), |name| format!("below {name}"));
    let expected = match error {
        Error::Io(error) => format!("{READABLE_FILE}, but: {}", error.kind()),
        _ => format!("lines like NAME=value {position} (a value with spaces in single quotes)"),
    };
    ConfigProblem {
        variable: ".env".to_owned(),
        value: Some(path.display().to_string()),
        expected,
        example: "HOLD_TTL=600s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Config, ConfigProblems, variables};

    fn load(
        env: Vec<(String, String)>,
        dotenv: Option<&Path>,
    ) -> Result<BTreeMap<String, String>, ConfigProblems> {
        let (vars, problems) = merge(env, dotenv, &variables());
        if problems.is_empty() { Ok(vars) } else { Err(ConfigProblems(problems)) }
    }

    /// A file that is deleted when the test ends.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> Self {
            let name = format!("seatlock-config-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, text).unwrap();
            Self(path)
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).ok();
        }
    }

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_environment_goes_before_the_file_and_stays_as_it_is() {
        let file = File::new(
            "order",
            "# ours\nHOLD_TTL=5m\nexport BATCH_MAX='7'\nPENDING_MAX=1\nPENDING_MAX=2\n",
        );
        let vars = load(env(&[("HOLD_TTL", "6m")]), Some(&file.0)).unwrap();
        let expected = [("BATCH_MAX", "7"), ("HOLD_TTL", "6m"), ("PENDING_MAX", "2")];
        assert_eq!(vars.into_iter().collect::<Vec<_>>(), env(&expected));
        assert!(std::env::var_os("BATCH_MAX").is_none());
    }

    #[test]
    fn a_secret_of_the_environment_replaces_both_names_in_the_file() {
        let file = File::new("twins", "REDIS_PASSWORD=a\nADMIN_API_KEY_FILE=b\n");
        let process = env(&[("ADMIN_API_KEY", "c"), ("REDIS_PASSWORD_FILE", "d")]);
        let vars = load(process.clone(), Some(&file.0)).unwrap();
        assert_eq!(vars.into_iter().collect::<Vec<_>>(), process);
    }

    #[test]
    fn no_file_is_no_problem() {
        assert!(load(env(&[]), None).unwrap().is_empty());
        assert!(load(env(&[]), Some(Path::new("/nonexistent/.env"))).unwrap().is_empty());
    }

    #[test]
    fn a_broken_line_is_found_without_being_shown() {
        let file = File::new("broken", "REDIS_PASSWORD=hunter2 hunter2\nHOLD_TTL=6m\nhunter2\n");
        let found = load(env(&[]), Some(&file.0)).unwrap_err();
        let text = format!("{found} {found:?}");
        assert_eq!(found.0.len(), 2, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("expected lines like NAME=value at the start"), "{text}");
        assert!(text.contains("expected lines like NAME=value below HOLD_TTL"), "{text}");
    }

    #[test]
    fn an_unreadable_file_is_one_problem() {
        let found = load(env(&[]), Some(&std::env::temp_dir())).unwrap_err();
        assert_eq!(found.0.len(), 1, "{found}");
    }

    #[test]
    fn problems_of_files_and_of_variables_are_reported_together() {
        let key = File::new("key", "short\n");
        let file = File::new("all", &format!("?\nADMIN_API_KEY_FILE={}\n", key.0.display()));
        let process = env(&[("HOLD_TTL", "soon"), ("REDIS_PASSWORD_FILE", "/nonexistent/p")]);
        let found = Config::read(process, Some(&file.0)).unwrap_err();
        let names: Vec<&str> = found.0.iter().map(|problem| problem.variable.as_str()).collect();
        assert_eq!(names, [".env", "ADMIN_API_KEY", "REDIS_PASSWORD_FILE", "HOLD_TTL"]);
    }
}
