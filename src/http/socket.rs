//! The options of a client's connection.

use std::any::Any;
use std::io;
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;

/// The most unsent bytes of a response that the kernel buffers. A larger buffer would use memory for slow clients, and
/// hide from a stream that its client is slow.
#[cfg(target_os = "linux")]
const UNSENT_MAX: u32 = 64 * 1024;

/// Sets the options of a connection that was accepted. The kernel closes it if the client accepts no data for
/// `send_timeout`.
pub fn set_options(connection: &dyn Any, send_timeout: Duration) {
    let encrypted = connection.downcast_ref::<TlsStream<TcpStream>>();
    let encrypted = encrypted.map(|connection| connection.get_ref().0);
    let Some(connection) = connection.downcast_ref::<TcpStream>().or(encrypted) else { return };
    // With Nagle's algorithm (RFC 896) the end of a large answer waits until the client has acknowledged the part before
    // it, about 40 ms (RFC 1122 §4.2.3.2).
    let set = connection.set_nodelay(true);
    if let Err(error) = set.and_then(|()| limit_sending(SockRef::from(connection), send_timeout)) {
        log::debug!("the options of a connection cannot be set: {error}");
    }
}

/// Limits what a client that accepts no data occupies (RFC 5482): otherwise memory, for hours if it has disappeared.
#[cfg(target_os = "linux")]
fn limit_sending(socket: SockRef<'_>, timeout: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(timeout))?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)
}

/// Other systems have no such options, and the service is made for Linux.
#[cfg(not(target_os = "linux"))]
fn limit_sending(_: SockRef<'_>, _: Duration) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_answer_does_not_wait_for_the_acknowledgement_of_its_first_part() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_client, (server, _)) = (client.unwrap(), accepted.unwrap());
        assert!(!server.nodelay().unwrap());
        set_options(&server, Duration::from_secs(7));
        assert!(server.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        {
            let socket = SockRef::from(&server);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_MAX);
        }
    }
}
