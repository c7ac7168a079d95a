//! The UDP client of every course: it asks, and asks again when no answer comes.
//!
//! socket → sendto/recvfrom → close

use crate::runtime::Stack;
use crate::socket::Socket;
use crate::socket::consts::{AF_INET, AF_INET6, SOCK_DGRAM};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Asks the server at `address`.
///
/// # Errors
/// `TimedOut` when no answer came to any of three questions.
pub fn run(stack: &Stack, address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    let client = Socket::new(stack, family, SOCK_DGRAM, 0)?;
    // Datagrams may be lost, so a receiver must not wait for ever.
    client.settimeout(Some(Duration::from_secs(1)));

    let mut buffer = [0; 65_507];
    for attempt in 1..=3 {
        // sendto needs no connection; the first one binds the socket to a free port.
        client.sendto(b"hello, server\n", 0, address)?;
        match client.recvfrom(&mut buffer, 0) {
            Ok((n, from)) => {
                let from = from.unwrap_or(address);
                print!("{from} says {}", String::from_utf8_lossy(&buffer[..n]));
                return client.close();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                println!("no answer to question {attempt}")
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}
