//! A TCP relay: a network between a client and a server that a test can make fail.
//!
//! Each connection has two pumps, one for each direction. A pump consists of a thread that reads pieces and records the
//! times of their arrival, and a thread that writes each piece when the state of the relay permits it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::port::free_port;

/// The most attempts to find a free port on which the relay can listen.
const PORT_ATTEMPTS: usize = 5;

/// The most bytes that are read in one call.
const PIECE_SIZE: usize = 16 * 1024;

/// The most pieces that are buffered for one direction. When there are more, the sender must wait.
const PIECES_UNDER_WAY: usize = 64;

/// The failure that a relay to PostgreSQL causes at the next COMMIT.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// The COMMIT is not sent to the server, and its connection is closed on both sides.
    NeverSent,
    /// The COMMIT is sent to the server, and its connection is closed before the client receives the answer.
    AnswerLost,
    /// Like `AnswerLost`, and from then on the relay is a black hole for all connections.
    LineLost,
}

/// A COMMIT as clients send it: as the only statement of a simple query.
const COMMIT: &[u8] = b"COMMIT\0";

/// A port on 127.0.0.1 that relays connections to another port.
///
/// All connections are closed on drop.
pub struct Relay {
    port: u16,
    line: Arc<Line>,
    /// The thread with the listening socket; `None` while the relay is cut.
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl Relay {
    /// Relays to `port` on 127.0.0.1. A server need not listen there yet: a client is disconnected if the server cannot
    /// be reached.
    #[must_use]
    pub fn to(port: u16) -> Self {
        let listener = (0..PORT_ATTEMPTS).find_map(|_| listen(free_port()).ok());
        let listener = listener.expect("a port that was free is still free");
        let own = listener.local_addr().expect("a listening socket has an address").port();
        let condition = Condition {
            server: port,
            mode: Mode::Open,
            delay: Duration::ZERO,
            strike: None,
            connections: Vec::new(),
        };
        let (changed, round_trips) = (Condvar::new(), AtomicU64::new(0));
        let line = Line { condition: Mutex::new(condition), changed, round_trips };
        let line = Arc::new(line);
        let acceptor = Mutex::new(Some(line.accept_from(listener)));
        Self { port: own, line, acceptor }
    }

    /// The port on 127.0.0.1 for clients. It never changes.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections, on both sides, and refuses new ones. Buffered data is lost.
    pub fn cut(&self) {
        let mut acceptor = lock(&self.acceptor);
        self.line.cut();
        if let Some(acceptor) = acceptor.take() {
            // Wakes the acceptor. The connection is refused if another client has just done that.
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
            let _ = acceptor.join();
        }
    }

    /// From now on connections stay open and new ones are accepted, but nothing is relayed, not even the end of a
    /// connection. No data is lost: [`Relay::heal`] delivers it, as TCP does after a short outage.
    pub fn black_hole(&self) {
        self.open(|condition| condition.mode = Mode::BlackHole);
    }

    /// Ends a cut, a black hole and a delay.
    pub fn heal(&self) {
        self.open(|condition| {
            condition.mode = Mode::Open;
            condition.delay = Duration::ZERO;
        });
    }

    /// From now on delays everything in each direction: bytes, and the start and the end of a connection. The delay
    /// increases the latency and does not limit the bandwidth, as long as no more than a mebibyte is buffered.
    pub fn delay(&self, delay: Duration) {
        self.line.change(|condition| condition.delay = delay);
    }

    /// From now on relays new connections to `port`, as after a failover. Existing connections are not changed.
    pub fn lead_to(&self, port: u16) {
        self.line.change(|condition| condition.server = port);
    }

    /// Makes the next COMMIT that a client sends fail, once.
    pub fn strike_commit(&self, strike: Strike) {
        self.line.change(|condition| condition.strike = Some(strike));
    }

    /// How often a client has sent something after an answer, over all connections: the number of round trips.
    pub fn round_trips(&self) -> u64 {
        self.line.round_trips.load(Ordering::Relaxed)
    }

    /// Whether that COMMIT has been sent.
    pub fn has_struck(&self) -> bool {
        lock(&self.line.condition).strike.is_none()
    }

    fn open(&self, change: impl FnOnce(&mut Condition)) {
        let mut acceptor = lock(&self.acceptor);
        self.line.change(change);
        acceptor.get_or_insert_with(|| {
            let listener = listen(self.port);
            self.line
                .accept_from(listener.expect("no other program has taken the port of a cut relay"))
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
    }
}

/// What the relay does with data.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Open,
    BlackHole,
    Cut,
}

/// The current state of the relay.
struct Condition {
    server: u16,
    mode: Mode,
    delay: Duration,
    strike: Option<Strike>,
    /// Both sides of all connections. The threads that use a connection own it.
    connections: Vec<Weak<TcpStream>>,
}

/// The state that all threads of a relay share.
struct Line {
    condition: Mutex<Condition>,
    changed: Condvar,
    round_trips: AtomicU64,
}

/// One direction of a connection.
struct Direction<'a> {
    /// The sender of the pieces, if it is the client.
    client: Option<&'a TcpStream>,
    /// Whether the server has sent something since the client did.
    answered: &'a AtomicBool,
}

impl Line {
    fn change(&self, change: impl FnOnce(&mut Condition)) {
        change(&mut lock(&self.condition));
        self.changed.notify_all();
    }

    fn cut(&self) {
        self.change(|condition| {
            condition.mode = Mode::Cut;
            let connections = condition.connections.drain(..);
            connections.filter_map(|one| one.upgrade()).for_each(|one| disconnect(&one));
        });
    }

    /// Accepts clients until the relay is cut.
    fn accept_from(self: &Arc<Self>, listener: TcpListener) -> JoinHandle<()> {
        let line = Arc::clone(self);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(client) = line.admit(client) else { return };
                let line = Arc::clone(&line);
                thread::spawn(move || line.connect(&client));
            }
        })
    }

    /// Registers a connection, so that cutting the relay closes it. `None` if the relay is already cut.
    fn admit(&self, stream: TcpStream) -> Option<Arc<TcpStream>> {
        // Otherwise a small piece would wait for the acknowledgement of the previous one (RFC 896).
        let _ = stream.set_nodelay(true);
        let stream = Arc::new(stream);
        let mut condition = lock(&self.condition);
        if condition.mode == Mode::Cut {
            return None;
        }
        condition.connections.retain(|one| one.strong_count() > 0);
        condition.connections.push(Arc::downgrade(&stream));
        Some(stream)
    }

    /// Relays between a client and the server until both directions have ended.
    fn connect(&self, client: &TcpStream) {
        if !self.lets_through(Instant::now()) {
            return;
        }
        let port = lock(&self.condition).server;
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok();
        let Some(server) = server.and_then(|server| self.admit(server)) else { return };
        let answered = &AtomicBool::new(true);
        thread::scope(|scope| {
            scope
                .spawn(|| self.pump(client, &server, Direction { client: Some(client), answered }));
            self.pump(&server, client, Direction { client: None, answered });
        });
    }

    fn pump(&self, source: &TcpStream, target: &TcpStream, direction: Direction<'_>) {
        let (sender, pieces) = sync_channel(PIECES_UNDER_WAY);
        thread::scope(|scope| {
            scope.spawn(|| read_pieces(source, sender));
            if self.write_pieces(pieces, target, direction).is_err() {
                disconnect(source);
                disconnect(target);
            }
        });
    }

    fn write_pieces(
        &self,
        pieces: Receiver<Piece>,
        mut target: &TcpStream,
        Direction { client, answered }: Direction<'_>,
    ) -> io::Result<()> {
        for piece in pieces {
            if !self.lets_through(piece.arrival) {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if piece.bytes.is_empty() {
                return target.shutdown(Shutdown::Write);
            }
            let first = answered.swap(client.is_none(), Ordering::Relaxed) && client.is_some();
            self.round_trips.fetch_add(first.into(), Ordering::Relaxed);
            if let Some(client) = client.filter(|_| has_commit(&piece.bytes))
                && let Some(strike) = self.take_strike()
            {
                // From here on the client receives no answer.
                disconnect(client);
                if strike != Strike::NeverSent {
                    target.write_all(&piece.bytes)?;
                    // The server closes the connection itself after it has read the COMMIT. A reset could prevent that.
                    return target.shutdown(Shutdown::Write);
                }
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            target.write_all(&piece.bytes)?;
        }
        Ok(())
    }

    fn take_strike(&self) -> Option<Strike> {
        let mut condition = lock(&self.condition);
        let strike = condition.strike.take();
        if strike == Some(Strike::LineLost) {
            condition.mode = Mode::BlackHole;
        }
        strike
    }

    /// Waits until data that arrived at `arrival` may be relayed. Returns false if the relay was cut.
    fn lets_through(&self, arrival: Instant) -> bool {
        let mut condition = lock(&self.condition);
        loop {
            let left = condition.delay.saturating_sub(arrival.elapsed());
            condition = match condition.mode {
                Mode::Cut => return false,
                Mode::Open if left.is_zero() => return true,
                Mode::Open => {
                    let waited = self.changed.wait_timeout(condition, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Mode::BlackHole => {
                    self.changed.wait(condition).unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

/// Some bytes of one direction. An empty piece is the end of the direction, which is also delayed or held back.
struct Piece {
    arrival: Instant,
    bytes: Vec<u8>,
}

/// Reads until the end of `source`, or until the receiver of the pieces was dropped.
fn read_pieces(mut source: &TcpStream, pieces: SyncSender<Piece>) {
    let mut buffer = vec![0; PIECE_SIZE];
    loop {
        // A failed connection counts as ended.
        let length = source.read(&mut buffer).unwrap_or(0);
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        let piece = Piece { arrival: Instant::now(), bytes };
        if pieces.send(piece).is_err() || length == 0 {
            return;
        }
    }
}

fn has_commit(bytes: &[u8]) -> bool {
    bytes.windows(COMMIT.len()).any(|part| part == COMMIT)
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

/// Ends a connection for its readers and writers. Fails only if the connection has already ended.
fn disconnect(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

/// Locks a mutex and ignores poisoning, because a panic cannot leave the data of these mutexes inconsistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
