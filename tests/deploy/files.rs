//! The files under test, parsed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Variables by their names.
pub(crate) type Variables = BTreeMap<String, String>;

/// The text of a file, by its path from the project's root.
pub(crate) fn read(path: &str) -> String {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(whole).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A YAML file of one document, as JSON.
pub(crate) fn yaml(path: &str) -> Value {
    yaml_serde::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The paths, from the root, of every file below `folder` whose name ends in `end`.
pub(crate) fn below(folder: &str, end: &str) -> Vec<String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(end) {
                found.push(name);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{folder} has no file *{end}");
    found
}

/// The manifests of Kubernetes, by path: every YAML file below `k8s` that has a kind.
pub(crate) fn manifests() -> Vec<(String, Value)> {
    let files = below("k8s", ".yaml").into_iter().map(|path| (path.clone(), yaml(&path)));
    files.filter(|(_, manifest)| manifest["kind"].is_string()).collect()
}

/// The manifest of this kind in this file.
pub(crate) fn manifest(path: &str, kind: &str) -> Value {
    let manifest = yaml(path);
    assert_eq!(manifest["kind"], kind, "{path}");
    manifest
}

/// The lines `NAME=value` of a text, comments left out.
pub(crate) fn variables(text: &str) -> Variables {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let pairs = lines.filter(|line| !line.starts_with('#')).map(|line| {
        let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{line:?}"));
        (name.to_owned(), value.to_owned())
    });
    pairs.collect()
}

/// The lists of this name, anywhere in a manifest, flattened.
pub(crate) fn all<'a>(value: &'a Value, name: &str) -> Vec<&'a Value> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match value.as_array().filter(|_| key == name) {
                Some(items) => items.iter().collect(),
                None => all(value, name),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(|item| all(item, name)).collect(),
        _ => Vec::new(),
    }
}

/// The text of a field.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text instead of {value}"))
}
