//! Notifications to a service manager: ready, stopping, and alive.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use test_support::Process;

use crate::program::{PROGRAM, SOON, Workplace};

/// The end of the socket at which a service manager listens.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(place: &Workplace) -> Self {
        let path = place.folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { socket, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The lines of the next message.
    fn hears(&self) -> Vec<String> {
        let mut message = [0; 4_096];
        let length = self.socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Whether nothing else has been said.
    fn heard_all(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        self.socket.recv(&mut [0]).is_err()
    }
}

#[test]
fn it_is_notified_when_the_service_answers_and_when_it_stops() {
    let place = Workplace::new();
    let manager = Manager::listen(&place);
    let service = place.serve(&[("NOTIFY_SOCKET", manager.path())]);
    let status = format!("STATUS=listening on {}", service.address);
    assert_eq!(manager.hears(), ["READY=1", &status]);
    assert_eq!(service.get("/livez").0, 200);
    service.process.terminate();
    assert_eq!(manager.hears(), ["STOPPING=1", "STATUS=draining"]);
    assert_eq!(service.process.wait_exit(SOON), 0);
    assert!(manager.heard_all());
}

#[test]
fn requests_are_still_answered_when_it_is_notified_of_the_stop() {
    let place = Workplace::new();
    let manager = Manager::listen(&place);
    let environment = [("NOTIFY_SOCKET", manager.path()), ("DRAIN_DELAY", "10s")];
    let service = place.serve(&environment);
    manager.hears();
    service.process.terminate();
    assert_eq!(manager.hears()[0], "STOPPING=1");
    assert_eq!(service.get("/readyz").0, 503);
    assert_eq!(service.get("/livez").0, 200);
}

#[test]
fn it_gets_watchdog_notifications_if_it_expects_them() {
    let place = Workplace::new();
    let manager = Manager::listen(&place);
    let environment = [("NOTIFY_SOCKET", manager.path()), ("WATCHDOG_USEC", "300000")];
    let service = place.serve(&environment);
    let mut heard: Vec<String> = Vec::new();
    while heard.iter().filter(|line| *line == "WATCHDOG=1").count() < 5 {
        heard.extend(manager.hears());
    }
    assert!(heard.contains(&"READY=1".to_owned()), "{heard:?}");
    assert_eq!(service.stop(), 0);
}

#[test]
fn a_service_that_cannot_start_never_notifies_that_it_is_ready() {
    let place = Workplace::new();
    let manager = Manager::listen(&place);
    let environment =
        [("NOTIFY_SOCKET", manager.path()), ("MIGRATE", "off"), ("BIND", "127.0.0.1:0")];
    let process = Process::spawn_in(place.folder.path(), &[PROGRAM.into()], &environment);
    assert_eq!(process.wait_exit(SOON), 1);
    assert!(manager.heard_all());
}

#[test]
fn a_manager_that_is_gone_does_not_stop_the_service() {
    let place = Workplace::new();
    let gone = place.folder.path().join("gone");
    let service = place.serve(&[("NOTIFY_SOCKET", gone.to_str().unwrap())]);
    service.process.wait_for_line(|line| line.contains("look at NOTIFY_SOCKET"), SOON);
    assert_eq!(service.get("/livez").0, 200);
    assert_eq!(service.stop(), 0);
}
