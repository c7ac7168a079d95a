//! The server that every course on sockets begins with: it answers each connection with what it was sent.
//!
//! socket → bind → listen → accept → recv/send → close

use crate::runtime::Stack;
use crate::socket::Socket;
use crate::socket::consts::{AF_INET, AF_INET6, SO_REUSEADDR, SOCK_STREAM, SOL_SOCKET};
use std::io;
use std::net::SocketAddr;

/// Serves one connection after the other at `address`, for ever.
///
/// # Errors
/// When the address is not ours or in use.
pub fn run(stack: &Stack, address: SocketAddr) -> io::Result<()> {
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };

    // A socket is one end of a conversation. SOCK_STREAM asks for TCP: octets arrive complete and in order.
    let server = Socket::new(stack, family, SOCK_STREAM, 0)?;
    // After a restart the old connections may still be in TIME-WAIT; the port may be used all the same.
    server.setsockopt_int(SOL_SOCKET, SO_REUSEADDR, 1)?;
    // bind gives the socket its address and port. Nothing is sent.
    server.bind(address)?;
    // listen makes it a listener: from now on the stack answers SYN with SYN-ACK by itself, and keeps up to five
    // finished handshakes for us. Nothing is sent now either.
    server.listen(5)?;
    println!("listening on {}", server.getsockname()?);

    loop {
        // accept takes a connection whose handshake is already over; it sends nothing. The new socket has the same local
        // port as the listener: what tells connections apart is the other end.
        let (connection, peer) = server.accept()?;
        println!("connection from {peer}");
        let mut buffer = [0; 4096];
        loop {
            // recv waits for data. TCP has no messages: one recv may give half of what was sent at once, or the sum of
            // two sends. Zero means that the peer has closed its direction: its FIN arrived.
            let n = match connection.recv(&mut buffer, 0) {
                Ok(0) => break,
                Ok(n) => n,
                // The peer reset the connection; the server goes on with the next one.
                Err(error) => {
                    println!("{peer}: {error}");
                    break;
                }
            };
            println!("{peer} says {:?}", String::from_utf8_lossy(&buffer[..n]));
            // A blocking send takes everything: it waits while the send buffer is full.
            if connection.send(&buffer[..n], 0).is_err() {
                break;
            }
        }
        // close sends our FIN. The end that closes first stays in TIME-WAIT for a while; here that is the client.
        connection.close()?;
        println!("connection to {peer} closed");
    }
}
