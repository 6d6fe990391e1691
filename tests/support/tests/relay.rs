//! Tests of the relay: it works, fails and recovers on demand.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use test_support::{Postgres, Relay, free_port};

const SOON: Duration = Duration::from_secs(30);

/// Starts a server that sends back everything that it receives, and returns its port.
fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &client, &mut &client));
        }
    });
    port
}

fn connect(relay: &Relay) -> TcpStream {
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client
}

fn send(mut client: &TcpStream, text: &str) {
    client.write_all(text.as_bytes()).unwrap();
}

fn assert_receives(mut client: &TcpStream, text: &str) {
    let mut received = vec![0; text.len()];
    client.read_exact(&mut received).unwrap();
    assert_eq!(String::from_utf8(received).unwrap(), text);
}

fn assert_silent(mut client: &TcpStream) {
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    client.set_read_timeout(Some(SOON)).unwrap();
}

fn assert_ended(mut client: &TcpStream) {
    match client.read(&mut [0]) {
        Ok(length) => assert_eq!(length, 0),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

fn assert_refuses(port: u16) {
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// Sends a mebibyte and the end of the stream, and receives both.
fn exchange_a_mebibyte(client: &TcpStream) {
    let sent: Vec<u8> = (0..1_048_576_u32).map(|number| number.to_le_bytes()[1]).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = client;
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let (mut reader, mut received) = (client, Vec::new());
        reader.read_to_end(&mut received).unwrap();
        assert!(received == sent, "{} bytes have come back", received.len());
    });
}

mod embedded {
    use super::*;

    #[test]
    fn a_relay_passes_everything_both_ways_and_the_end_of_each() {
        let relay = Relay::to(echo());
        let (one, other) = (connect(&relay), connect(&relay));
        send(&one, "A-1-1");
        send(&other, "A-1-2");
        assert_receives(&other, "A-1-2");
        assert_receives(&one, "A-1-1");
        exchange_a_mebibyte(&one);
        drop(one);
        send(&other, "A-1-3");
        assert_receives(&other, "A-1-3");
    }

    #[test]
    fn a_cut_ends_open_connections_and_refuses_new_ones_until_healed() {
        let relay = Relay::to(echo());
        let port = relay.port();
        for _ in 0..20 {
            let client = connect(&relay);
            send(&client, "A-1-1");
            assert_receives(&client, "A-1-1");
            relay.cut();
            assert_ended(&client);
            assert_refuses(port);
            relay.cut();
            relay.heal();
        }
        assert_eq!(relay.port(), port);
        let client = connect(&relay);
        send(&client, "A-1-2");
        assert_receives(&client, "A-1-2");
    }

    #[test]
    fn a_cut_is_seen_by_the_server_too() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::to(listener.local_addr().unwrap().port());
        let _client = connect(&relay);
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(SOON)).unwrap();
        relay.cut();
        assert_ended(&server);
    }

    #[test]
    fn a_black_hole_keeps_connections_open_and_holds_everything_until_healed() {
        let relay = Relay::to(echo());
        let old = connect(&relay);
        send(&old, "A-1-1");
        assert_receives(&old, "A-1-1");
        relay.black_hole();
        send(&old, "A-1-2");
        let new = connect(&relay);
        send(&new, "A-1-3");
        assert_silent(&old);
        assert_silent(&new);
        relay.heal();
        assert_receives(&old, "A-1-2");
        assert_receives(&new, "A-1-3");
    }

    #[test]
    fn a_black_hole_hides_that_the_client_has_gone() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::to(listener.local_addr().unwrap().port());
        let client = connect(&relay);
        let (server, _) = listener.accept().unwrap();
        relay.black_hole();
        drop(client);
        assert_silent(&server);
        relay.heal();
        assert_ended(&server);
    }

    #[test]
    fn a_black_hole_can_be_cut_and_a_cut_can_become_a_black_hole() {
        let relay = Relay::to(echo());
        let client = connect(&relay);
        relay.black_hole();
        relay.cut();
        assert_ended(&client);
        relay.black_hole();
        let client = connect(&relay);
        send(&client, "A-1-1");
        assert_silent(&client);
        relay.heal();
        assert_receives(&client, "A-1-1");
    }

    #[test]
    fn a_delay_is_added_in_each_direction_and_ends_with_heal() {
        let relay = Relay::to(echo());
        let client = connect(&relay);
        send(&client, "A-1-1");
        assert_receives(&client, "A-1-1");
        let delay = Duration::from_millis(150);
        relay.delay(delay);
        let start = Instant::now();
        send(&client, "A-1-2");
        assert_receives(&client, "A-1-2");
        assert!(start.elapsed() >= 2 * delay, "{:?}", start.elapsed());
        relay.delay(Duration::from_secs(3600));
        send(&client, "A-1-3");
        assert_silent(&client);
        relay.heal();
        assert_receives(&client, "A-1-3");
    }

    #[test]
    fn a_delay_is_not_paid_again_for_every_piece() {
        let relay = Relay::to(echo());
        relay.delay(Duration::from_millis(200));
        let start = Instant::now();
        exchange_a_mebibyte(&connect(&relay));
        // If the pieces were delayed one after the other, in both directions, it would take more than 25 seconds.
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }

    #[test]
    fn a_client_of_a_server_that_is_not_there_is_disconnected() {
        let relay = Relay::to(free_port());
        assert_ended(&connect(&relay));
        assert_ended(&connect(&relay));
    }

    #[test]
    fn a_dropped_relay_closes_everything() {
        let relay = Relay::to(echo());
        let (port, client) = (relay.port(), connect(&relay));
        relay.black_hole();
        drop(relay);
        assert_ended(&client);
        assert_refuses(port);
    }
}

mod full {
    use super::*;

    #[test]
    fn a_database_behind_a_black_hole_answers_when_it_is_healed() {
        let postgres = Postgres::shared();
        let relay = Relay::to(postgres.port());
        let address = format!("postgres://app@127.0.0.1:{}/postgres", relay.port());
        assert_eq!(postgres.psql(&address, "SELECT 1"), "1");
        relay.black_hole();
        thread::scope(|scope| {
            let answer = scope.spawn(|| postgres.psql(&address, "SELECT 2"));
            assert_silent(&connect(&relay));
            assert!(!answer.is_finished());
            relay.heal();
            assert_eq!(answer.join().unwrap(), "2");
        });
    }
}
