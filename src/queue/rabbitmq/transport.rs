//! What lapin runs on: tokio, with sockets that can be encrypted and that can be cut.
//!
//! Encryption is added here, below lapin, by the rustls that is in the service anyway. A socket can be cut
//! because lapin gives each connection a thread of its own, which would wait for ever for a broker that
//! has stopped answering.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::Tokio;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::stream::Stream;
use socket2::{SockRef, Socket};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::queue::QueueError;

/// The most bytes of a file of certificates.
const FILE_MAX: u64 = 1 << 20;

/// How connections are encrypted: whom to believe, and who the other side has to be.
#[derive(Clone)]
pub(super) struct RabbitTls {
    connector: TlsConnector,
    server: ServerName<'static>,
}

impl RabbitTls {
    /// Believes the authorities in a file in PEM form; without one those of the system (`SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name others). They are read once.
    pub(super) fn of(host: &str, file: Option<&str>) -> Result<Self, QueueError> {
        let server = ServerName::try_from(host.to_owned()).map_err(QueueError::new)?;
        let mut authorities = RootCertStore::empty();
        let (certificates, place) = match file {
            Some(file) => (in_file(file)?, file),
            None => {
                let found = rustls_native_certs::load_native_certs();
                for error in found.errors {
                    log::warn!("a certificate of the system is left out: {error}");
                }
                (found.certs, "the system")
            }
        };
        let (taken, _) = authorities.add_parsable_certificates(certificates);
        if taken == 0 {
            let remedy = "install the system's ca-certificates, or add ?cacertfile=PATH to the URL";
            return Err(QueueError(format!("{place} has no certificates to believe; {remedy}")));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(QueueError::new)?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), server })
    }
}

/// The certificates in a file in PEM form; what is not one of them is left out with a warning.
fn in_file(file: &str) -> Result<Vec<CertificateDer<'static>>, QueueError> {
    let unreadable = |why: &dyn std::fmt::Display| QueueError(format!("{file}: {why}"));
    let mut pem = Vec::new();
    let opened = File::open(file).map_err(|error| unreadable(&error))?;
    opened.take(FILE_MAX + 1).read_to_end(&mut pem).map_err(|error| unreadable(&error))?;
    if pem.len() as u64 > FILE_MAX {
        return Err(unreadable(&"larger than 1 MiB, which no file of certificates is"));
    }
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        match certificate {
            Ok(certificate) => certificates.push(certificate),
            Err(error) => log::warn!("a certificate of {file} is left out: {error}"),
        }
    }
    Ok(certificates)
}

/// Ends a connection from outside.
#[derive(Clone, Default)]
pub(super) struct ConnectionCloser {
    state: Arc<Mutex<CordState>>,
}

#[derive(Default)]
struct CordState {
    cut: bool,
    socket: Option<Socket>,
}

impl ConnectionCloser {
    /// Whoever reads or writes on the connection is told that it has ended, now or as soon as it is there.
    pub(super) fn cut(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.cut = true;
        if let Some(socket) = state.socket.take() {
            // Fails only where it has ended already.
            drop(socket.shutdown(Shutdown::Both));
        }
    }

    fn hold(&self, stream: &TcpStream) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.cut {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        state.socket = Some(SockRef::from(stream).try_clone()?);
        Ok(())
    }
}

/// tokio, as lapin asks for it, for one connection.
#[derive(Clone)]
pub(super) struct ConnectionRuntime {
    tokio: Tokio,
    encryption: Option<RabbitTls>,
    cord: ConnectionCloser,
}

impl ConnectionRuntime {
    /// Sockets and timers are those of this runtime.
    pub(super) fn new(
        runtime: Handle,
        encryption: Option<RabbitTls>,
        cord: ConnectionCloser,
    ) -> Self {
        Self { tokio: Tokio::default().with_handle(runtime), encryption, cord }
    }

    async fn open(self, address: SocketAddr) -> io::Result<ConnectionStream> {
        let stream = TcpStream::connect(address).await?;
        // Otherwise a small frame would wait for the answer to the one before (RFC 896).
        stream.set_nodelay(true)?;
        self.cord.hold(&stream)?;
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
        formatter.write_str("Ground")
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

    /// For sockets that somebody else has opened; lapin has none.
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

/// A connection's bytes, as lapin reads and writes them.
pub(super) struct ConnectionStream(Pin<Box<dyn Bytes>>);

/// Whatever carries them, encrypted or not.
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
