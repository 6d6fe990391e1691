//! Free TCP ports on the loopback interface.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::iter::repeat_with;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The ports to choose from. They are below the range in which Linux chooses the ports of outgoing connections (from
/// 32768 on, see `ip_local_port_range` in ip(7)). Inside that range, a client that repeatedly tries to connect to a
/// killed server may connect to itself, and then the server cannot listen on its port again.
const PORTS: Range<u16> = 20_000..30_000;

/// A port of 127.0.0.1 on which no program listens now.
///
/// Another program may use the port before the caller does. So a caller that starts a server must try again with
/// another port if that fails.
pub fn free_port() -> u16 {
    // The first port is random, so that concurrent test processes rarely choose the same port. One process chooses no
    // port twice until all others have been chosen.
    static NEXT: LazyLock<AtomicU64> =
        LazyLock::new(|| AtomicU64::new(RandomState::new().build_hasher().finish()));
    let next = || PORTS.start + (NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len() as u64) as u16;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    repeat_with(next).take(PORTS.len()).find(free).expect("no port from 20000 is free")
}
