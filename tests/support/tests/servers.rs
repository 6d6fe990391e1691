//! Tests of the servers and processes of the test support, above all that they leave nothing behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::thread;
use std::time::Duration;

use test_support::{Folder, Postgres, Process, Redis, free_port, holds_within};

const SOON: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(60);

/// Runs `script` with bash, as an example of a program under test.
fn bash(folder: &Folder, script: &str) -> Process {
    Process::spawn_in(folder.path(), &["bash".into(), "-c".into(), script.into()], &[])
}

#[expect(clippy::disallowed_methods, reason = "no runtime here: each test has its own thread")]
fn rest(time: Duration) {
    thread::sleep(time);
}

mod embedded {
    use super::*;

    #[test]
    fn a_program_sees_only_the_environment_it_was_given() {
        let process = Process::spawn(Path::new("env"), &[("SEAT", "A-12-7"), ("ROW", "")]);
        assert_eq!(process.wait_exit(SOON), 0);
        let output = process.output();
        let (path, given): (Vec<_>, Vec<_>) =
            output.lines().partition(|line| line.starts_with("PATH="));
        assert_eq!((path.len(), given), (1, vec!["SEAT=A-12-7", "ROW="]));
    }

    #[test]
    fn both_streams_can_be_waited_for() {
        let folder = Folder::new();
        let process = bash(&folder, "echo one; echo two >&2; sleep 60");
        assert_eq!(process.wait_for_line(|line| line.starts_with("tw"), SOON), "two");
        assert_eq!(process.wait_for_line(|line| line.starts_with("on"), SOON), "one");
    }

    #[test]
    #[should_panic(expected = "ended without the expected line")]
    fn waiting_for_a_line_of_a_program_that_has_ended_fails_at_once() {
        let folder = Folder::new();
        let process = bash(&folder, "echo other");
        process.wait_for_line(|line| line == "wanted", SOON);
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        let folder = Folder::new();
        assert_eq!(bash(&folder, "exit 3").wait_exit(SOON), 3);
        assert_eq!(Process::spawn(Path::new("/no/such/program"), &[]).wait_exit(SOON), 127);
        let killed = bash(&folder, "sleep 60; exit");
        killed.kill();
        assert_eq!(killed.wait_exit(SOON), 128 + 9);
        let terminated =
            bash(&folder, "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        terminated.wait_for_line(|line| line == "ready", SOON);
        terminated.terminate();
        assert_eq!(terminated.wait_exit(SOON), 7);
        terminated.kill();
        assert!(!terminated.is_running(), "signals to a program that has ended do nothing");
    }

    #[test]
    fn a_paused_program_stands_still_and_goes_on() {
        let folder = Folder::new();
        let process = bash(&folder, "while :; do echo tick; sleep 0.01; done");
        process.wait_for_line(|line| line == "tick", SOON);
        process.pause();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
        assert!(state.contains(" T "), "{state}");
        process.resume();
        let before = process.output().lines().count();
        let mut ticks = 0;
        let later = |_: &str| {
            ticks += 1;
            ticks > before
        };
        process.wait_for_line(later, SOON);
        assert!(process.is_running());
    }

    #[test]
    fn a_dropped_folder_is_gone_with_all_that_is_in_it() {
        let folder = Folder::new();
        std::fs::write(folder.path().join("file"), "text").unwrap();
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_free_port_is_out_of_the_range_of_outgoing_connections() {
        assert!((20_000..30_000).contains(&free_port()));
    }
}

mod full {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn committed_rows_survive_a_killed_server() {
        let postgres = Postgres::start(&[("log_statement", "all")]);
        let database = postgres.create_database();
        postgres
            .psql(&database, "CREATE TABLE seat (label text); INSERT INTO seat VALUES ('A-1-1')");
        postgres.wait_for_log_line(|line| line.contains("INSERT INTO seat"), SOON);
        postgres.kill();
        postgres.restart();
        assert_eq!(postgres.psql(&database, "SELECT label FROM seat"), "A-1-1");
        postgres.stop();
        postgres.restart();
        assert_eq!(postgres.psql(&database, "SELECT count(*), min(label) FROM seat"), "1|A-1-1");
        assert_eq!(postgres.psql(&database, "SHOW fsync"), "on");
    }

    #[test]
    fn every_database_and_every_number_is_given_once() {
        let postgres = Postgres::shared();
        assert_ne!(postgres.create_database(), postgres.create_database());
        let redis = Redis::shared();
        let (one, other) = (redis.fresh_db(), redis.fresh_db());
        assert_ne!(one, other);
        assert_eq!(redis.cli(&["-n", &one.to_string(), "set", "seat", "held"]), "OK");
        assert_eq!(redis.cli(&["-n", &other.to_string(), "get", "seat"]), "");
        assert_eq!(redis.cli(&["-n", "1023", "ping"]), "PONG");
    }

    #[test]
    fn a_paused_server_does_not_answer_until_it_is_resumed() {
        let postgres = Postgres::start(&[]);
        let redis = Redis::start(&[("maxmemory", "100mb")]);
        assert_eq!(redis.cli(&["config", "get", "maxmemory"]), "maxmemory\n104857600");
        postgres.pause();
        redis.pause();
        thread::scope(|scope| {
            let sql = scope.spawn(|| postgres.psql("postgres", "SELECT 1"));
            let ping = scope.spawn(|| redis.cli(&["ping"]));
            rest(Duration::from_millis(600));
            assert!(!sql.is_finished() && !ping.is_finished());
            postgres.resume();
            redis.resume();
            assert_eq!(
                (sql.join().unwrap().as_str(), ping.join().unwrap().as_str()),
                ("1", "PONG")
            );
        });
    }

    #[test]
    fn redis_comes_back_empty_on_the_same_port() {
        let redis = Redis::start(&[]);
        let port = redis.port();
        redis.cli(&["set", "seat", "held"]);
        redis.kill();
        redis.restart();
        assert_eq!(redis.port(), port);
        assert_eq!(redis.cli(&["dbsize"]), "0");
    }

    /// The variable with the path of the report that the killed test process writes.
    const REPORT: &str = "SEATLOCK_TEST_SUPPORT_REPORT";

    #[test]
    fn nothing_is_left_of_a_test_process_that_was_killed() {
        if let Some(report) = std::env::var_os(REPORT) {
            be_killed(Path::new(&report));
        }
        let folder = Folder::new();
        let report = folder.path().join("report");
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["full::nothing_is_left_of_a_test_process_that_was_killed", "--exact"])
            .args(["--nocapture", "--test-threads=1"])
            .env(REPORT, &report)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        assert!(holds_within(LONG, || report.exists()), "the victim does not start its servers");
        let everything = std::fs::read_to_string(report).unwrap();
        let everything: Vec<_> = everything.lines().map(Path::new).collect();
        assert!(everything.len() >= 13, "{everything:?}");
        assert!(everything.iter().all(|one| remains(one)), "{everything:?}");
        victim.kill().unwrap();
        victim.wait().unwrap();
        let gone = || !everything.iter().any(|one| remains(one));
        assert!(holds_within(LONG, gone), "something is left");
    }

    /// Starts a process and a server of each kind, writes all folders and processes to the report, and waits until this
    /// process is killed.
    fn be_killed(report: &Path) -> ! {
        thread::spawn(|| {
            // The input ends when the test that started this process ends.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(1);
        });
        let folder = Folder::new();
        let process = bash(&folder, "while :; do sleep 0.1; done");
        let postgres = Postgres::shared();
        let redis = Redis::start(&[]);
        let mut everything = vec![folder.path().display().to_string()];
        everything.push(format!("/proc/{}", process.pid()));
        everything.push(redis.cli(&["config", "get", "dir"]).lines().last().unwrap().to_owned());
        let server = redis.cli(&["info", "server"]);
        let server = server.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
        everything.push(format!("/proc/{}", server.trim()));
        let standby = postgres.standby();
        let traces = "SELECT current_setting('data_directory') UNION ALL SELECT '/proc/' || pid \
                      FROM pg_stat_activity WHERE backend_type <> 'client backend'";
        everything.extend(postgres.psql("postgres", traces).lines().map(str::to_owned));
        everything.extend(standby.psql("postgres", traces).lines().map(str::to_owned));
        // The most difficult case: a paused process does not detect the end of the others.
        postgres.pause();
        standby.pause();
        let draft = report.with_extension("draft");
        std::fs::write(&draft, everything.join("\n")).unwrap();
        std::fs::rename(draft, report).unwrap();
        loop {
            thread::park();
        }
    }

    /// Whether a folder still exists, or a process (given by its folder in /proc) still exists and is not a zombie.
    fn remains(path: &Path) -> bool {
        if !path.starts_with("/proc") {
            return path.exists();
        }
        std::fs::read(path.join("cmdline")).is_ok_and(|line| !line.is_empty())
    }
}
