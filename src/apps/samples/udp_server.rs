//! The UDP server of every course: no connection, each datagram is answered to whoever sent it.
//!
//! socket → bind → recvfrom/sendto

use crate::runtime::Stack;
use crate::socket::Socket;
use crate::socket::consts::{AF_INET, AF_INET6, SOCK_DGRAM};
use std::io;
use std::net::SocketAddr;

/// Answers datagrams at `address`, for ever.
///
/// # Errors
/// When the address is not ours or in use.
pub fn run(stack: &Stack, address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };

    // SOCK_DGRAM asks for UDP: messages that arrive whole or not at all, in any order, perhaps twice.
    let server = Socket::new(stack, family, SOCK_DGRAM, 0)?;
    server.bind(address)?;
    println!("waiting on {}", server.getsockname()?);

    let mut buffer = [0; 65_507];
    loop {
        // There is no accept: one socket serves everybody, and recvfrom tells who it was.
        let (n, from) = server.recvfrom(&mut buffer, 0)?;
        let Some(from) = from else { continue };
        println!("{from} says {:?}", String::from_utf8_lossy(&buffer[..n]));
        // If the answer is lost, nobody tells us: it is for the client to ask again.
        server.sendto(&buffer[..n], 0, from)?;
    }
}
