//! The runtime that lapin uses: tokio, with sockets that can be encrypted and can be shut down from outside.
//!
//! Sockets are encrypted here with rustls, which the service uses anyway. They can be shut down because lapin starts a
//! thread for each connection, which would wait indefinitely for a broker that does not answer (docs/adr/0008).

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::stream::Stream;
use parking_lot::Mutex;
use rustls_native_certs::{load_certs_from_paths, load_native_certs};
use socket2::{SockRef, Socket};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::queue::QueueError;

/// The settings of encryption: the trusted certificate authorities, and the expected name of the server.
#[derive(Clone)]
pub(super) struct RabbitTls {
    connector: TlsConnector,
    server: ServerName<'static>,
}

impl RabbitTls {
    /// Reads the trusted authorities from a PEM file; without a file, those of the system (`SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` replace them).
    pub(super) fn new(host: &str, file: Option<&str>) -> Result<Self, QueueError> {
        let server = ServerName::try_from(host.to_owned()).map_err(QueueError::new)?;
        let (found, source) = match file {
            Some(file) => (load_certs_from_paths(Some(Path::new(file)), None), file),
            None => (load_native_certs(), "the system"),
        };
        for error in &found.errors {
            log::warn!("a certificate of {source} is ignored: {error}");
        }
        let mut authorities = RootCertStore::empty();
        let (usable, _) = authorities.add_parsable_certificates(found.certs);
        if usable == 0 {
            let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
            let remedy = "install the system's ca-certificates, or add ?cacertfile=PATH to the URL";
            return Err(QueueError(format!("{source} has no trusted certificates{why}; {remedy}")));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(QueueError::new)?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), server })
    }
}

/// Shuts down the socket of a connection from outside of lapin.
#[derive(Clone, Default)]
pub(super) struct ConnectionCloser(Arc<Mutex<CloserState>>);

#[derive(Default)]
struct CloserState {
    cut: bool,
    socket: Option<Socket>,
}

impl ConnectionCloser {
    /// Shuts down the socket, which ends all its reads and writes. If the socket is not open yet, opening it fails.
    pub(super) fn cut(&self) {
        let mut state = self.0.lock();
        state.cut = true;
        if let Some(socket) = state.socket.take() {
            // Fails only if the connection has already ended.
            drop(socket.shutdown(Shutdown::Both));
        }
    }

    fn register(&self, stream: &TcpStream) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.cut {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        state.socket = Some(SockRef::from(stream).try_clone()?);
        Ok(())
    }
}

/// The runtime of one connection: tokio, with sockets of type [`ConnectionStream`].
#[derive(Clone)]
pub(super) struct ConnectionRuntime {
    tokio: Tokio,
    encryption: Option<RabbitTls>,
    closer: ConnectionCloser,
}

impl ConnectionRuntime {
    /// Creates a runtime whose sockets and timers belong to the tokio runtime of the handle.
    pub(super) fn new(
        runtime: Handle,
        encryption: Option<RabbitTls>,
        closer: ConnectionCloser,
    ) -> Self {
        Self { tokio: Tokio::default().with_handle(runtime), encryption, closer }
    }

    async fn open(self, address: SocketAddr) -> io::Result<ConnectionStream> {
        let stream = TcpStream::connect(address).await?;
        // Otherwise a small frame would wait for the acknowledgement of the previous one (RFC 896).
        stream.set_nodelay(true)?;
        self.closer.register(&stream)?;
        Ok(match self.encryption {
            Some(RabbitTls { connector, server }) => {
                ConnectionStream(Box::pin(connector.connect(server, stream).await?))
            }
            None => ConnectionStream(Box::pin(stream)),
        })
    }
}

impl std::fmt::Debug for ConnectionRuntime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ConnectionRuntime")
    }
}

impl RuntimeKit for ConnectionRuntime {}

impl Executor for ConnectionRuntime {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.tokio.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.tokio.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.tokio.spawn_blocking(work)
    }
}

impl Reactor for ConnectionRuntime {
    type TcpStream = ConnectionStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// Not supported, because lapin opens all sockets with `tcp_connect_addr`.
    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<ConnectionStream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<ConnectionStream>> + Send + 'static {
        self.clone().open(address)
    }
}

/// The byte stream of a connection, with the traits that lapin requires.
pub(super) struct ConnectionStream(Pin<Box<dyn Bytes>>);

/// A stream of bytes in both directions, encrypted or not.
trait Bytes: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send> Bytes for T {}

impl AsyncRead for ConnectionStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        ready!(self.0.as_mut().poll_read(context, &mut read))?;
        Poll::Ready(Ok(read.filled().len()))
    }
}

impl AsyncWrite for ConnectionStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}
