//! One kept-alive HTTP/1.1 connection to the measured service.
//!
//! It is written by hand because the load generator runs on the cores of the service that it measures: with hyper as
//! the client, `benches/run` measured 6,262 to 7,282 bookings per second of a service that confirms 8,367 to 9,244.

use std::cell::Cell;
use std::io::{self, ErrorKind};

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The largest head of a response, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// A whole request as it is sent.
pub(crate) type ApiRequest = Vec<u8>;

/// The addresses of the service's processes, and the key that its requests carry.
#[derive(Debug)]
pub(crate) struct Api {
    addresses: Vec<String>,
    /// The address of the next connection.
    next: Cell<usize>,
    key: Option<String>,
}

impl Api {
    /// `addresses` are one or more of `host:port`, separated by commas.
    pub(crate) fn new(addresses: &str, key: Option<&str>) -> Self {
        let addresses = addresses.split(',').map(str::to_owned).collect();
        Self { addresses, next: Cell::default(), key: key.map(str::to_owned) }
    }

    /// The number of processes.
    pub(crate) fn processes(&self) -> usize {
        self.addresses.len()
    }

    /// Connects to the processes in turn.
    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        let number = self.next.replace(self.next.get() + 1);
        let address = self.addresses.get(number % self.processes());
        Connection::open(address.map_or("", String::as_str)).await
    }

    /// A POST of a JSON document, or a GET without one. `headers` are whole lines, each with its CR LF.
    pub(crate) fn request(&self, path: &str, body: Option<&str>, headers: &str) -> ApiRequest {
        let method = if body.is_some() { "POST" } else { "GET" };
        let key = self.key.as_deref();
        let key = key.map_or_else(String::new, |key| format!("authorization: Bearer {key}\r\n"));
        let address = self.addresses.first().map_or("", String::as_str);
        let body = body.unwrap_or_default();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{key}{headers}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// A response.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
    head: &'a str,
}

impl<'a> Answer<'a> {
    #[cfg(test)]
    pub(crate) fn new(status: u16, body: &'a [u8]) -> Self {
        Self { status, body, head: "" }
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        header(self.head, name)
    }

    /// The JSON document of the body.
    ///
    /// # Errors
    /// The status and the beginning of a body that is not such a document.
    pub(crate) fn json<T: Deserialize<'a>>(&self) -> io::Result<T> {
        serde_json::from_slice(self.body).map_err(|error| {
            let body = String::from_utf8_lossy(self.body.get(..200).unwrap_or(self.body));
            io::Error::other(format!("{error}: status {}: {body}", self.status))
        })
    }

    /// Whether the request may have had an effect although it was not answered with success.
    pub(crate) fn may_have_an_effect(&self) -> bool {
        const NONE: &[u8] = b"\"effect\":\"none\"";
        self.status >= 500 && !self.body.windows(NONE.len()).any(|part| part == NONE)
    }
}

/// A connection that is kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `host:port`.
    async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4_096) })
    }

    /// Whether the server has closed the connection, or has sent something without a request.
    pub(crate) fn is_closed(&self) -> bool {
        let mut byte = [0];
        !matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends a request and returns the response. It must have a Content-Length, or no body.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let end = loop {
            if let Some(end) = end_of_head(&self.buffer) {
                break end;
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(invalid());
            }
            self.read_more().await?;
        };
        let (status, length) = parse_head(text(self.buffer.get(..end))?)?;
        while self.buffer.len() < end + length {
            self.read_more().await?;
        }
        let head = text(self.buffer.get(..end))?;
        Ok(Answer { status, head, body: self.buffer.get(end..end + length).unwrap_or_default() })
    }

    async fn read_more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

fn invalid() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the response is not HTTP/1.1")
}

fn end_of_head(buffer: &[u8]) -> Option<usize> {
    buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn text(bytes: Option<&[u8]>) -> io::Result<&str> {
    std::str::from_utf8(bytes.unwrap_or_default()).map_err(|_| invalid())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The status and the Content-Length of a response.
fn parse_head(head: &str) -> io::Result<(u16, usize)> {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = header(head, "content-length").and_then(|length| length.parse().ok());
    Ok((status.ok_or_else(invalid)?, length.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_a_status_and_a_length() {
        let head = "HTTP/1.1 409 Conflict\r\nContent-Length: 12\r\nx: y\r\n\r\n";
        assert_eq!(end_of_head(head.as_bytes()), Some(head.len()));
        assert_eq!(parse_head(head).unwrap(), (409, 12));
        assert_eq!(header(head, "X"), Some("y"));
        assert!(parse_head("nonsense").is_err());
        assert_eq!(parse_head("HTTP/1.1 204 No Content\r\n\r\n").unwrap(), (204, 0));
    }

    #[test]
    fn a_failure_has_no_effect_only_if_it_says_so() {
        assert!(!Answer::new(409, b"{}").may_have_an_effect());
        assert!(
            !Answer::new(503, br#"{"code":"overloaded","effect":"none"}"#).may_have_an_effect()
        );
        assert!(Answer::new(503, br#"{"code":"timeout","effect":"unknown"}"#).may_have_an_effect());
    }
}
