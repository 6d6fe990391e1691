//! A small HTTP/1.1 client over one kept-alive connection: enough for the health check and for a load
//! generator that must cost less than what it measures.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One connection to one server.
pub(crate) struct HttpClient {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer: its status and its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The most bytes of an answer's head.
const HEAD_MAX: usize = 64 * 1024;

impl HttpClient {
    /// Connects to `host:port`.
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a whole request and reads the whole answer, whose length must be told by Content-Length (as
    /// this service's always is).
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            if let Some(end) = end_of_head(&self.buffer) {
                break end;
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(Error::new(ErrorKind::InvalidData, "the answer's head does not end"));
            }
            self.read_more().await?;
        };
        let (status, length) = parse_head(self.buffer.get(..head).unwrap_or_default())?;
        while self.buffer.len() < head + length {
            self.read_more().await?;
        }
        let body = self.buffer.get(head..head + length).unwrap_or_default().to_vec();
        Ok(Answer { status, body })
    }

    async fn read_more(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        Ok(())
    }
}

/// A request with a JSON body, ready to be sent.
pub(crate) fn post_json(host: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A request without a body, ready to be sent.
pub(crate) fn get(host: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n").into_bytes()
}

fn end_of_head(buffer: &[u8]) -> Option<usize> {
    buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn parse_head(head: &[u8]) -> Result<(u16, usize)> {
    let wrong = || Error::new(ErrorKind::InvalidData, "the answer is not HTTP/1.1");
    let text = std::str::from_utf8(head).map_err(|_| wrong())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or_else(wrong)?;
    let length = lines.filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
    });
    Ok((status.parse().map_err(|_| wrong())?, length.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_status_and_length() {
        let head = b"HTTP/1.1 409 Conflict\r\ncontent-length: 12\r\nx: y\r\n\r\n";
        assert_eq!(end_of_head(head), Some(head.len()));
        assert_eq!(parse_head(head).unwrap(), (409, 12));
        assert!(parse_head(b"nonsense").is_err());
        assert_eq!(parse_head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), (204, 0));
    }
}
