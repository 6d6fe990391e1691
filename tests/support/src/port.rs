//! Free TCP ports on the loopback interface.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// The ports to choose from. They are below the range in which Linux chooses the ports of outgoing connections (from
/// 32768 on, see `ip_local_port_range` in ip(7)). Inside that range, a client that repeatedly tries to connect to a
/// killed server may connect to itself, and then the server cannot listen on its port again.
const PORTS: Range<u16> = 20_000..30_000;

/// A port of 127.0.0.1 on which no program listens now.
///
/// Another program may use the port before the caller does. So a caller that starts a server must try again with
/// another port if that fails.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    // The search starts at a random port, so that concurrent test processes rarely choose the same port.
    let random = RandomState::new().build_hasher().finish() % PORTS.len() as u64;
    let start = PORTS.start + u16::try_from(random).expect("below the number of ports");
    (start..PORTS.end).chain(PORTS.start..start).find(free).expect("no port from 20000 is free")
}
