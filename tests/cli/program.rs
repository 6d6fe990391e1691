//! Runs the program to its end, or as a service, and talks to the service with curl.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use test_support::{Folder, Process};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_seatlock");

/// For all that takes a moment on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A folder in which the program runs.
pub(crate) struct Workplace {
    pub(crate) folder: Rc<Folder>,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A service that has printed its address.
pub(crate) struct Service {
    // Dropped in this order: the folder outlives its writers.
    pub(crate) process: Process,
    /// `http://127.0.0.1:PORT`.
    pub(crate) address: String,
    _folder: Rc<Folder>,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        Self { folder: Rc::new(Folder::new()) }
    }

    /// Runs the program in an empty environment.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[], "")
    }

    /// Runs the program with this environment and standard input; it may take a minute.
    pub(crate) fn run_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
        input: &str,
    ) -> Ended {
        let mut command = Command::new("timeout");
        command.args(["60", PROGRAM]).args(arguments);
        run(command.current_dir(self.folder.path()), environment, input)
    }

    /// Puts the small hall on sale as schedule 1, or the next, at 100 a seat; its first seat is `1-1-1`.
    pub(crate) fn import_hall(&self, environment: &[(&str, &str)]) {
        let arguments = ["import", &hall(), "--event=A", "--starts-at=2999-01-01T20:00:00Z"];
        let more = ["--price=100", "--id-from=position"];
        let imported = self.run_with(&[&arguments[..], &more].concat(), environment, "");
        assert_eq!(imported.code, 0, "{imported:?}");
    }

    /// Starts the service without a command, with this additional environment.
    pub(crate) fn serve(&self, environment: &[(&str, &str)]) -> Service {
        self.start(&[PROGRAM], environment)
    }

    /// Starts the service by this command on a free port, and waits until it prints its address.
    pub(crate) fn start(&self, command: &[&str], environment: &[(&str, &str)]) -> Service {
        let command: Vec<_> = command.iter().map(|part| (*part).into()).collect();
        let environment =
            [&[("BIND", "127.0.0.1:0"), ("DRAIN_DELAY", "1ms")], environment].concat();
        let process = Process::spawn_in(self.folder.path(), &command, &environment);
        let said = ["Seatlock listens on http://", "listening on http://"];
        let line = process.wait_for_line(|line| said.iter().any(|said| line.contains(said)), SOON);
        let address = &line[line.find("http://").unwrap()..];
        let end = address.find(['"', ' ']).unwrap_or(address.len());
        let address = address[..end].to_owned();
        Service { process, address, _folder: Rc::clone(&self.folder) }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// The names of the files in the folder, in order.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Service {
    /// The three curl lines of the banner, as they are printed.
    pub(crate) fn commands(&self) -> Vec<String> {
        let mut seen = 0;
        let third = |line: &str| {
            seen += usize::from(line.starts_with("curl "));
            seen == 3
        };
        self.process.wait_for_line(third, SOON);
        let output = self.process.output();
        output.lines().filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
    }

    /// The log, without the banner.
    pub(crate) fn log(&self) -> Vec<Value> {
        let output = self.process.output();
        let lines = output.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Status and JSON of what is at `path`.
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.curl(path, &[])
    }

    /// Status and JSON of the answer to this body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        self.curl(path, &["-H", "Content-Type: application/json", "-d", &body])
    }

    /// Drains it, and returns its exit code.
    pub(crate) fn stop(&self) -> i32 {
        self.process.terminate();
        self.process.wait_exit(SOON)
    }

    fn curl(&self, path: &str, options: &[&str]) -> (u16, Value) {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60", "-w", "\n%{http_code}"]).args(options);
        let ended = run(command.arg(format!("{}{path}", self.address)), &[], "");
        let (body, status) = ended.stdout.rsplit_once('\n').unwrap_or_else(|| panic!("{ended:?}"));
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

/// Runs a line as a user's shell does.
pub(crate) fn shell(line: &str, environment: &[(&str, &str)]) -> Ended {
    run(Command::new("bash").args(["-c", line]), environment, "")
}

/// The answer to a curl line: JSON on the standard output, nothing on the other.
pub(crate) fn answer(line: &str, environment: &[(&str, &str)]) -> Value {
    let ended = shell(line, environment);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{line}: {ended:?}");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{line}: {error} {ended:?}"))
}

/// A file of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The small hall: 40 seats in three categories; 17 guids are used twice.
pub(crate) fn hall() -> String {
    project("tests/data/hall.json").into_os_string().into_string().unwrap()
}

fn run(command: &mut Command, environment: &[(&str, &str)], input: &str) -> Ended {
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command.envs(environment.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that refuses its arguments reads nothing, which closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
