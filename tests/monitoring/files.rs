//! The files under test.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The project's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, by its path from the root.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of a folder whose names end in `end`, by name, with their texts.
pub(crate) fn files(folder: &str, end: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(end)).collect();
    names.sort();
    assert!(!names.is_empty(), "{folder} has no file *{end}");
    names.into_iter().map(|name| (name.clone(), read(&format!("{folder}/{name}")))).collect()
}

/// The rule files, by name.
pub(crate) fn rule_files() -> Vec<(String, String)> {
    files("monitoring/rules", ".yml")
}

/// The dashboards, by name.
pub(crate) fn dashboards() -> Vec<(String, Value)> {
    let parse = |(name, text): (String, String)| {
        let parsed = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, parsed)
    };
    files("monitoring/dashboards", ".json").into_iter().map(parse).collect()
}

/// The runbooks by the names of their alerts, without the index.
pub(crate) fn runbooks() -> Vec<(String, String)> {
    let pages = files("docs/runbooks", ".md").into_iter();
    let pages = pages.filter(|(name, _)| name != "README.md");
    pages.map(|(name, text)| (name.trim_end_matches(".md").to_owned(), text)).collect()
}

/// The folder `monitoring`, in which the tools run.
pub(crate) fn folder() -> PathBuf {
    Path::new(&root()).join("monitoring")
}
