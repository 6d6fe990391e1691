//! Documents that are expensive to parse: the service answers other requests meanwhile, and its memory is bounded.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::program::{SOON, Service, Workplace};

/// The largest accepted document, `PLAN_BODY_LIMIT`.
const LARGEST: usize = 64 << 20;

/// Sends a document as a plan in CSV, and checks that the service is alive during the upload and after it. Returns
/// the first line of the answer and its body.
fn put(service: &Service, document: &[u8]) -> (String, String) {
    let address = service.address.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(SOON)).unwrap();
    let head = format!(
        "PUT /api/v1/seat-plans/large?price=1 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: text/csv\r\nContent-Length: {}\r\n\r\n",
        document.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    let (begin, rest) = document.split_at(document.len() / 2);
    connection.write_all(begin).unwrap();
    assert_eq!(service.get("/livez").0, 200, "while it is received");
    connection.write_all(rest).unwrap();
    assert_eq!(service.get("/livez").0, 200, "while it is read");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// The peak memory of the process, in bytes.
fn peak(service: &Service) -> usize {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", service.process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn the_service_answers_while_absurd_documents_are_uploaded_and_its_memory_is_bounded() {
    let service = Workplace::new().serve(&[]);
    let before = peak(&service);
    let header = "section,row,number\n";
    for (document, code) in [
        ("a\n".repeat(LARGEST / 2), "column_unknown"),
        (format!("{header}{}", "a\n".repeat((LARGEST - header.len()) / 2)), "more_problems"),
        (",".repeat(LARGEST), "field_count"),
        (format!("{header}\"{}", "x\n".repeat((LARGEST - header.len()) / 2 - 1)), "line_break"),
        (format!("{header}{}", "\n".repeat(LARGEST - header.len())), "no_seats"),
    ] {
        let (status, body) = put(&service, document.as_bytes());
        assert_eq!(status, "HTTP/1.1 422 Unprocessable Entity", "{body}");
        assert!(body.contains(&format!("\"{code}\"")), "{code}: {body}");
    }
    // One document at a time, with its growing buffer.
    let grown = peak(&service) - before;
    assert!(grown < 6 * LARGEST, "{grown} bytes");
}
