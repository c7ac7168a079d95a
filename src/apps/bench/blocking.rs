//! tunstack's blocking sockets as an echo server: one thread for each connection, as std's are used.

use super::ECHO;
use crate::apps::cli::BenchPeer;
use crate::apps::failure::{Doing as _, Outcome};
use crate::link::{Device, Setup};
use crate::runtime::Stack;
use crate::socket::{TcpListener, TcpStream};
use std::io::{self, Read, Write};
use std::net::SocketAddr;

/// Serves until the process is ended.
pub fn serve(options: &BenchPeer) -> Outcome {
    let setup = Setup { kernel: vec![options.peer], mtu: options.mtu, ..Setup::new([options.addr]) };
    let stack = Stack::builder().address(options.addr).device(Device::tun(&setup.named("tun0"))?);
    let stack = stack.start().doing("cannot start the stack")?;
    let listener = TcpListener::bind(&stack, SocketAddr::new(options.addr.address, ECHO));
    let listener = listener.doing("cannot listen")?;
    errln!("serving");
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // It was reset before it was taken.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error).doing("no more connections"),
        };
        // One that is reset is over, too.
        std::thread::spawn(move || echo(stream).unwrap_or_default());
    }
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut octets = [0; 4096];
    loop {
        match stream.read(&mut octets)? {
            0 => return Ok(()),
            n => stream.write_all(&octets[..n])?,
        }
    }
}
