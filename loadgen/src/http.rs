//! One HTTP connection to the measured service.

use std::io;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A request with its whole body.
pub(crate) type ApiRequest = Request<Full<Bytes>>;

/// The service's address, and the key that its requests carry.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) address: String,
    /// `ADMIN_API_KEY` of the environment.
    pub(crate) key: Option<String>,
}

impl Api {
    /// A POST of a JSON document, or a GET without one.
    pub(crate) fn request(&self, path: &str, body: Option<&Value>) -> io::Result<ApiRequest> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.address);
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(body));
        request.map_err(io::Error::other)
    }
}

/// A connection that is kept alive.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// Connects to `host:port`.
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // An error of the connection is also returned by the request that it fails.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self(sender))
    }

    /// Sends a request and returns the response's status and body.
    pub(crate) async fn send(&mut self, request: ApiRequest) -> io::Result<(u16, Bytes)> {
        self.0.ready().await.map_err(io::Error::other)?;
        let response = self.0.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(io::Error::other)?;
        Ok((status, body.to_bytes()))
    }
}
