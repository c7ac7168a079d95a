//! The kernel's own sockets as a server: discard, source and echo on one thread.

use super::{DISCARD, ECHO, SOURCE};
use crate::apps::failure::{Doing as _, Outcome};
use rustix::event::epoll;
use slotmap::{Key as _, KeyData, SlotMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};

/// Octets moved at once.
const BLOCK: usize = 256 << 10;
/// Connections accepted, and blocks moved, before others have their turn.
const TURN: usize = 64;
/// Tokens of listeners begin here; those of connections are below.
const LISTENERS: u64 = u64::MAX - 8;
const CONTROLLER: &str = "cubic";

/// A connection and the port it came to.
struct Connection {
    stream: TcpStream,
    port: u16,
}

/// Serves until the process is ended.
pub fn serve(address: IpAddr) -> Outcome {
    let epoll =
        epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from).doing("cannot poll")?;
    let ports = [DISCARD, SOURCE, ECHO];
    let mut listeners = Vec::new();
    for (index, port) in ports.into_iter().enumerate() {
        let listener = TcpListener::bind((address, port)).doing(format_args!("cannot listen on {port}"))?;
        listener.set_nonblocking(true).doing("cannot listen")?;
        // std's backlog of 128 is for a person's clients.
        rustix::net::listen(&listener, 4096).map_err(std::io::Error::from).doing("cannot listen")?;
        let token = epoll::EventData::new_u64(LISTENERS + index as u64);
        epoll::add(&epoll, &listener, token, epoll::EventFlags::IN)
            .map_err(std::io::Error::from)
            .doing("cannot poll")?;
        listeners.push(listener);
    }
    let mut connections: SlotMap<slotmap::DefaultKey, Connection> = SlotMap::new();
    let mut events = Vec::with_capacity(256);
    let mut block = vec![0x5a; BLOCK];
    loop {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(std::io::Error::from(errno)).doing("cannot poll"),
        }
        for event in &events {
            let token = event.data.u64();
            if token >= LISTENERS {
                let index = (token - LISTENERS) as usize;
                accept(&listeners[index], ports[index], &epoll, &mut connections);
                continue;
            }
            let key = KeyData::from_ffi(token).into();
            if connections.get_mut(key).is_some_and(|connection| !goes_on(connection, &mut block)) {
                connections.remove(key);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    port: u16,
    epoll: &rustix::fd::OwnedFd,
    connections: &mut SlotMap<slotmap::DefaultKey, Connection>,
) {
    for _ in 0..TURN {
        let Ok((stream, _)) = listener.accept() else { return };
        // One that ended meanwhile shows when it is used.
        let _ = (stream.set_nonblocking(true), stream.set_nodelay(true));
        let _ = rustix::net::sockopt::set_tcp_congestion(&stream, CONTROLLER);
        let interest = if port == SOURCE { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        let key = connections.insert(Connection { stream, port });
        let token = epoll::EventData::new_u64(key.data().as_ffi());
        if epoll::add(epoll, &connections[key].stream, token, interest).is_err() {
            connections.remove(key);
        }
    }
}

/// Does what the connection is ready for. Does it go on?
fn goes_on(connection: &mut Connection, block: &mut [u8]) -> bool {
    let stream = &mut connection.stream;
    for _ in 0..TURN {
        let moved = match connection.port {
            SOURCE => stream.write(block),
            DISCARD => stream.read(block),
            _ => match stream.read(&mut block[..512]) {
                // A request that does not fit the buffer of its answer is none of this benchmark's.
                Ok(n @ 1..) => return stream.write(&block[..n]).is_ok(),
                other => other,
            },
        };
        match moved {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
    true
}
