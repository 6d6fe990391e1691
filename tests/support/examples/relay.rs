//! A network with a delay in front of a server on this machine: `relay PORT MICROSECONDS` prints the port on which it
//! listens, and delays everything by so much in each direction until it is killed. `benches/ways` uses it.

use std::io::{self, Write as _};
use std::time::Duration;

use test_support::Relay;

fn main() -> io::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let (Some(Ok(port)), Some(Ok(delay))) = (numbers.next(), numbers.next()) else {
        return Err(io::Error::other("usage: relay PORT MICROSECONDS"));
    };
    let relay = Relay::to(u16::try_from(port).map_err(io::Error::other)?);
    relay.delay(Duration::from_micros(delay.into()));
    writeln!(io::stdout(), "{}", relay.port())?;
    loop {
        std::thread::park();
    }
}
