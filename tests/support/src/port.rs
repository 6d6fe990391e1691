//! Free TCP ports on the loopback interface.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Below the range from which Linux takes the ports of outgoing connections (from 32768 on, see
/// `ip_local_port_range` in ip(7)). Inside it, a client that keeps trying to reach a killed server
/// sooner or later connects to itself, and the server can never come back to its port.
const PORTS: Range<u16> = 20_000..30_000;

/// A port of 127.0.0.1 on which no program listens now.
///
/// Another program may take it before the caller does: a caller that starts a server on it tries again with
/// another port.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    // A random start keeps test processes that run side by side out of each other's way.
    let random = RandomState::new().build_hasher().finish() % PORTS.len() as u64;
    let start = PORTS.start + u16::try_from(random).expect("below the number of ports");
    (start..PORTS.end).chain(PORTS.start..start).find(free).expect("no port from 20000 is free")
}
