//! Programs with guards switched off: the patches of `tests/mutants/`, and how a program is built with them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::mutants::TESTED;

/// The project.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Builds the program with these patches; returns its path. One build at a time: all of them use one copy of
/// the project and one target directory, so that the dependencies are built once.
pub(crate) fn program(patches: &[&str]) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("mutants");
    let (tree, programs) = (target.join("tree"), target.join("programs"));
    fs::create_dir_all(&programs).unwrap();
    let turn = File::create(target.join("lock")).unwrap();
    turn.lock().unwrap();
    copy_folder(Path::new(ROOT), &tree);
    for patch in patches {
        apply(patch, &tree, false).unwrap_or_else(|problem| panic!("{problem}"));
    }
    let build = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--offline", "--bin", "seatlock", "--target-dir"])
        .arg(&target)
        .args(["--features", "faults,rabbitmq,kafka"])
        // Three times smaller, and linked faster.
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .current_dir(&tree)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&build.stderr);
    assert!(build.status.success(), "{patches:?} does not compile, {REMEDY}:\n{said}");
    let program = programs.join(patches.join("_and_"));
    fs::copy(target.join("debug/seatlock"), &program).unwrap();
    program
}

/// What to do about a patch that no longer fits.
const REMEDY: &str =
    "make the same change in src/ by hand and write it down again (CONTRIBUTING.md, \"A guard\")";

/// Applies a patch to the project in `tree`, or only looks whether it can be applied.
fn apply(patch: &str, tree: &Path, only_look: bool) -> Result<(), String> {
    let mut command = Command::new("patch");
    command.args(["--strip=1", "--fuzz=1", "--batch", "--forward", "--no-backup-if-mismatch"]);
    command.args(["--reject-file=-", "--input"]).arg(file(patch)).current_dir(tree);
    command.args(only_look.then_some("--dry-run"));
    let output = command.output().map_err(|error| format!("patch(1) is needed: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("tests/mutants/{patch}.patch no longer applies, {REMEDY}:\n{said}")),
    }
}

fn file(patch: &str) -> PathBuf {
    Path::new(ROOT).join("tests/mutants").join(format!("{patch}.patch"))
}

/// Makes `to` a copy of `from` without what is built or hidden. A file that is the same stays untouched, so
/// that cargo builds only what differs from the build before.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let is_left_out = name == "target" || name.to_string_lossy().starts_with('.');
        let kind = entry.file_type().unwrap();
        let (from, to) = (entry.path(), to.join(&name));
        if is_left_out {
            continue;
        } else if kind.is_dir() {
            copy_folder(&from, &to);
        } else if kind.is_file() {
            let wanted = fs::read(&from).unwrap();
            if fs::read(&to).ok().as_ref() != Some(&wanted) {
                fs::write(&to, wanted).unwrap();
            }
        }
        names.insert(name);
    }
    for entry in fs::read_dir(to).unwrap().map(Result::unwrap) {
        if !names.contains(&entry.file_name()) {
            let old = entry.path();
            if old.is_dir() { fs::remove_dir_all(old) } else { fs::remove_file(old) }.unwrap();
        }
    }
}

fn patches() -> Vec<String> {
    let names = fs::read_dir(Path::new(ROOT).join("tests/mutants")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.strip_suffix(".patch").expect("only patches").to_owned()).collect()
}

#[test]
fn every_mutant_applies() {
    let all = patches();
    let problems: Vec<_> =
        all.iter().filter_map(|patch| apply(patch, Path::new(ROOT), true).err()).collect();
    assert!(!all.is_empty() && problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_mutant_has_its_test() {
    let all: BTreeSet<String> = patches().into_iter().collect();
    let tested = TESTED.iter().flat_map(|patches| *patches);
    assert_eq!(tested.map(|patch| (*patch).to_owned()).collect::<BTreeSet<_>>(), all);
}
