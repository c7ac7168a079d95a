//! The client that every course on sockets begins with: it sends a greeting and prints the answer.
//!
//! socket → connect → send/recv → close

use crate::runtime::Stack;
use crate::socket::Socket;
use crate::socket::consts::{AF_INET, AF_INET6, SHUT_WR, SOCK_STREAM};
use std::io;
use std::net::SocketAddr;

/// Talks with the server at `address`.
///
/// # Errors
/// `ConnectionRefused` when nobody listens there, and the like.
pub fn run(stack: &Stack, address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    let client = Socket::new(stack, family, SOCK_STREAM, 0)?;

    // connect chooses a free port for us, sends SYN, waits for SYN-ACK and answers with ACK.
    client.connect(address)?;
    println!("connected from {} to {}", client.getsockname()?, client.getpeername()?);

    // send puts the octets in the send buffer; the stack decides when they leave, and sends them again until they are
    // acknowledged.
    client.send(b"hello, server\n", 0)?;
    // shutdown sends our FIN after the data: "I have said everything". We can still receive.
    client.shutdown(SHUT_WR)?;

    let mut buffer = [0; 4096];
    loop {
        // Until the server has said everything too.
        let n = client.recv(&mut buffer, 0)?;
        if n == 0 {
            break;
        }
        print!("{}", String::from_utf8_lossy(&buffer[..n]));
    }
    client.close()
}
