//! One kept-alive HTTP/1.1 connection to the measured service.
//!
//! It is written by hand because the load generator runs on the cores of the service that it measures: with hyper as
//! the client, `benches/run` measured 6,262 to 7,282 bookings per second of a service that confirms 8,367 to 9,244.

use std::io::{self, ErrorKind};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The largest head of a response, in bytes.
const HEAD_MAX: usize = 64 * 1024;

/// A whole request as it is sent.
pub(crate) type ApiRequest = Vec<u8>;

/// The service's address, and the key that its requests carry.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) address: String,
    /// `ADMIN_API_KEY` of the environment.
    pub(crate) key: Option<String>,
}

impl Api {
    /// A POST of a JSON document, or a GET without one. `headers` are whole lines, each with its CR LF.
    pub(crate) fn request(&self, path: &str, body: Option<&str>, headers: &str) -> ApiRequest {
        let method = if body.is_some() { "POST" } else { "GET" };
        let key = self.key.as_deref();
        let key = key.map_or_else(String::new, |key| format!("authorization: Bearer {key}\r\n"));
        let (address, body) = (&self.address, body.unwrap_or_default());
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n{key}{headers}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// A connection that is kept alive.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `host:port`.
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4_096) })
    }

    /// Sends a request and returns the response's status and body. The response must have a Content-Length, or no body.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(end) = end_of_head(&self.buffer) {
                break end;
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(invalid());
            }
            self.read_more().await?;
        };
        let (status, length) = parse_head(self.buffer.get(..head).unwrap_or_default())?;
        while self.buffer.len() < head + length {
            self.read_more().await?;
        }
        Ok((status, self.buffer.get(head..head + length).unwrap_or_default()))
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

/// The status and the Content-Length of a response.
fn parse_head(head: &[u8]) -> io::Result<(u16, usize)> {
    let mut lines = std::str::from_utf8(head).map_err(|_| invalid())?.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or_else(invalid)?;
    let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
    });
    Ok((status.parse().map_err(|_| invalid())?, length.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_a_status_and_a_length() {
        let head = b"HTTP/1.1 409 Conflict\r\ncontent-length: 12\r\nx: y\r\n\r\n";
        assert_eq!(end_of_head(head), Some(head.len()));
        assert_eq!(parse_head(head).unwrap(), (409, 12));
        assert!(parse_head(b"nonsense").is_err());
        assert_eq!(parse_head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), (204, 0));
    }
}
