//! The promises of the test support itself, above all that nothing is left behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use test_support::{Folder, Postgres, Process, Redis, free_port};

const SOON: Duration = Duration::from_secs(30);

/// Runs `script` with bash, as some program under test.
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
        assert!(postgres.log().contains("INSERT INTO seat"), "options reach the server");
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

    /// Set for the test process that the test below starts and kills.
    const VICTIM: &str = "SEATLOCK_TEST_SUPPORT_VICTIM";

    #[test]
    fn nothing_is_left_of_a_test_process_that_was_killed() {
        if std::env::var_os(VICTIM).is_some() {
            be_killed();
        }
        // In a folder of its own, all that it leaves can be found by the folder's name.
        let folder = Folder::new();
        let name = folder.path().to_str().unwrap();
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["full::nothing_is_left_of_a_test_process_that_was_killed", "--exact"])
            .args(["--nocapture", "--test-threads=1"])
            .env(VICTIM, "yes")
            .env("TMPDIR", name)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let ready = folder.path().join("ready");
        wait_until("the victim has started its servers", || ready.exists());
        assert!(processes_naming(name) >= 6, "two servers, a program, three folders");
        victim.kill().unwrap();
        victim.wait().unwrap();
        std::fs::remove_file(ready).unwrap();
        wait_until("all its processes are gone", || processes_naming(name) == 0);
        wait_until("all its folders are gone", || {
            std::fs::read_dir(name).unwrap().next().is_none()
        });
    }

    /// Starts one of everything, pauses a server, and waits for its end.
    fn be_killed() -> ! {
        let postgres = Postgres::shared();
        let _own = Redis::start(&[]);
        let _program = Process::spawn(Path::new("yes"), &[]);
        postgres.pause();
        std::fs::write(std::env::temp_dir().join("ready"), "").unwrap();
        loop {
            thread::park();
        }
    }

    fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < end, "never: {what}");
            rest(Duration::from_millis(50));
        }
    }

    /// How many processes have `name` in their command line or work in a folder of that name.
    fn processes_naming(name: &str) -> usize {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|process| {
                let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                let place = std::fs::read_link(process.path().join("cwd")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(name) || place.starts_with(name)
            })
            .count()
    }
}
