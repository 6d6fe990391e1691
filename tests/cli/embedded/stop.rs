//! Stopping: one signal drains, a second one ends the process immediately.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::program::{SOON, Service, Workplace, shell};

/// Much less than the 15 seconds that draining may take.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A connection whose request is half sent, and therefore in flight.
fn busy(service: &Service) -> TcpStream {
    let mut connection = TcpStream::connect(&service.address["http://".len()..]).unwrap();
    let head =
        "POST /api/v1/holds HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    write!(connection, "{head}Content-Length: 100\r\n\r\n{{").unwrap();
    // The request is there when a later one on another connection has been answered.
    assert_eq!(service.get("/livez").0, 200);
    connection
}

/// Waits half a second, in which the connection stays open: it would close with the process.
fn wait(busy: &mut TcpStream) {
    busy.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let silence = busy.read(&mut [0]).unwrap_err().kind();
    assert!(matches!(silence, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence}");
}

#[test]
fn either_signal_drains_it_and_the_exit_code_is_0() {
    for signal in ["TERM", "INT"] {
        let service = Workplace::new().serve(&[]);
        service.process.signal(signal);
        assert_eq!(service.process.wait_exit(SOON), 0, "{signal}");
        let output = service.process.output();
        assert!(output.contains(&format!("SIG{signal}: draining")), "{output}");
    }
}

#[test]
fn a_second_signal_ends_it_immediately() {
    let service = Workplace::new().serve(&[]);
    let mut busy = busy(&service);
    service.process.signal("INT");
    service.process.wait_for_line(|line| line.contains("SIGINT: draining"), SOON);
    wait(&mut busy);
    assert!(service.process.is_running());
    let began = Instant::now();
    service.process.signal("TERM");
    assert_eq!(service.process.wait_exit(SOON), 1);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert!(service.process.output().contains("SIGTERM: ending immediately"));
}

#[test]
fn a_signal_sent_to_the_process_and_to_its_group_is_one_signal() {
    let service = Workplace::new().serve(&[]);
    let mut busy = busy(&service);
    let pid = service.process.pid();
    assert_eq!(shell(&format!("kill -TERM {pid}; kill -TERM {pid}"), &[]).code, 0);
    service.process.wait_for_line(|line| line.contains("SIGTERM: draining"), SOON);
    wait(&mut busy);
    assert!(service.process.is_running());
}

#[test]
fn what_was_sold_before_the_stop_is_sold_after_it() {
    let place = Workplace::new();
    let service = place.serve(&[]);
    let booking = serde_json::json!({
        "schedule_id": "1", "seats": ["Balcony-5-20"], "customer_id": "ada"
    });
    let (status, booked) = service.post("/api/v1/bookings", &booking);
    assert_eq!(status, 200, "{booked}");
    assert_eq!(service.stop(), 0);
    let path = format!("/api/v1/bookings/{}", booked["id"].as_str().unwrap());
    let (status, found) = place.serve(&[]).get(&path);
    assert_eq!((status, &found["seats"]), (200, &booked["seats"]));
}
