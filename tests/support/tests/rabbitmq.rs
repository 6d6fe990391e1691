//! Tests of the broker of the test support, above all that it leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use test_support::{Folder, RabbitMq, holds_within};

/// The processes whose working folder is this folder, even if it is deleted, without its watchdog: the broker, its
/// helpers and its epmd.
fn processes(folder: &Path) -> Vec<PathBuf> {
    let folder = folder.to_string_lossy();
    let all = fs::read_dir("/proc").unwrap().flatten().map(|one| one.path());
    let works_there = |one: &PathBuf| {
        let cwd = fs::read_link(one.join("cwd")).unwrap_or_default();
        let command = fs::read_to_string(one.join("cmdline")).unwrap_or_default();
        let watches = command.contains("\0watchdog\0");
        cwd.to_string_lossy().starts_with(&*folder) && !command.is_empty() && !watches
    };
    all.filter(works_there).collect()
}

/// The folder of the broker.
fn folder(broker: &RabbitMq) -> PathBuf {
    let data = broker.control(&["eval", "rabbit_mnesia:dir()."]);
    let data = PathBuf::from(data.trim_matches('"'));
    data.ancestors().nth(2).unwrap().to_owned()
}

/// Waits for a condition of the broker. Its helpers end by themselves some time after it.
fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(Duration::from_secs(60), condition), "never: {what}");
}

mod full {
    use super::*;

    /// The variable with the path of the report that the killed test process writes.
    const REPORT: &str = "SEATLOCK_RABBITMQ_REPORT";

    #[test]
    fn nothing_is_left_of_a_broker_whose_test_process_was_killed() {
        if let Some(report) = std::env::var_os(REPORT) {
            be_killed(Path::new(&report));
        }
        let own = Folder::new();
        let report = own.path().join("report");
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["full::nothing_is_left_of_a_broker_whose_test_process_was_killed", "--exact"])
            .args(["--nocapture", "--test-threads=1"])
            .env(REPORT, &report)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the victim has started its broker", || report.exists());
        let folder = PathBuf::from(fs::read_to_string(report).unwrap());
        // The script, the broker, its helper and its epmd.
        assert!(processes(&folder).len() >= 3, "{:?}", processes(&folder));
        victim.kill().unwrap();
        victim.wait().unwrap();
        wait_until("everything is gone", || processes(&folder).is_empty() && !folder.exists());
    }

    /// Starts a broker, writes its folder to the report, pauses the broker (so that it does not detect the end of this
    /// process), and waits until this process is killed.
    fn be_killed(report: &Path) -> ! {
        thread::spawn(|| {
            // The input ends when the test that started this process ends.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(1);
        });
        let broker = RabbitMq::shared();
        let folder = folder(broker);
        broker.pause();
        let draft = report.with_extension("draft");
        fs::write(&draft, folder.display().to_string()).unwrap();
        fs::rename(draft, report).unwrap();
        loop {
            thread::park();
        }
    }

    #[test]
    fn a_broker_keeps_its_port_and_leaves_no_epmd() {
        let broker = RabbitMq::start();
        let (port, folder) = (broker.port(), folder(&broker));
        assert_ne!(broker.fresh_name(), broker.fresh_name());
        broker.kill();
        wait_until("its processes are gone", || processes(&folder).is_empty());
        broker.restart();
        assert_eq!(broker.port(), port);
        assert!(processes(&folder).len() >= 3, "{:?}", processes(&folder));
        drop(broker);
        // The helpers of the broker detect its end by themselves.
        wait_until("everything is gone", || processes(&folder).is_empty() && !folder.exists());
    }
}
