//! Look-ups over the sockets of a stack: the thin part that runs a [`Lookup`].

use super::database::{Netdb, Network, Sources};
use super::message::Records;
use super::resolver::{Lookup, Step};
use super::{Hints, HostError, SockType};
use crate::base::{Duration, Instant};
use crate::runtime::{Resolve, Shared, Stack};
use crate::socket::{TcpStream, UdpSocket};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// The scope number of a stack's link: there is no other.
const ONLY_LINK: u32 = 1;

/// Room for one answer; servers send at most 512 octets to one who did not say that he takes more (RFC 1035 §2.3.4).
const MAX_DATAGRAM: usize = 4096;

impl Netdb {
    /// Names and services from the system's files and name servers, asked over `stack`. Does not keep the stack alive: when
    /// it ends, look-ups end with it, as if no server answered.
    pub fn new(stack: &Stack) -> Netdb {
        Netdb::with(stack, Sources::default())
    }

    /// Names and services from these sources, asked over `stack`, which it does not keep alive.
    pub fn with(stack: &Stack, sources: Sources) -> Netdb {
        Netdb::over(Box::new(Behind(Arc::clone(stack.shared()))), sources)
    }
}

/// Lets the sockets of `stack` take host names, looked up as the system's files say.
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// # let stack = tunstack::runtime::Stack::builder().start()?;
/// tunstack::netdb::install(&stack);
/// let stream = tunstack::socket::TcpStream::connect(&stack, "example.com:80")?;
/// # drop(stream);
/// # Ok(()) }
/// ```
pub fn install(stack: &Stack) {
    stack.set_resolver(Arc::new(Sources::default()));
}

impl Resolve for Sources {
    fn resolve(&self, stack: &Stack, name: &str) -> io::Result<Vec<IpAddr>> {
        let hints = Hints { socktype: Some(SockType::Stream), ..Hints::default() };
        let found = Netdb::with(stack, self.clone()).getaddrinfo(Some(name), None, &hints)?;
        Ok(found.iter().map(|info| info.address.ip()).collect())
    }
}

/// The stack that is asked over, as long as somebody holds it.
struct Behind(Arc<Shared>);

impl Behind {
    fn stack(&self) -> io::Result<Stack> {
        Stack::of(&self.0)
    }

    fn now(&self) -> Instant {
        self.0.clock.now()
    }

    /// Time until then, never zero: a timeout of zero is refused by sockets.
    fn rest(&self, until: Instant) -> std::time::Duration {
        until.since(self.now()).max(Duration::from_millis(1)).into()
    }
}

impl Network for Behind {
    fn run(&self, mut lookup: Lookup) -> Result<Records, HostError> {
        let mut socket: Option<(SocketAddr, UdpSocket)> = None;
        loop {
            match lookup.poll(self.now()) {
                Step::Send { server, message } => {
                    // A new server gets a new socket and with it a new random port (RFC 5452 §9.2).
                    let known = socket.take().filter(|(old, _)| *old == server).map(|(_, socket)| Ok(socket));
                    match known.unwrap_or_else(|| connected(self, server)) {
                        Ok(open) if open.send(&message).is_ok() => socket = Some((server, open)),
                        Ok(_) | Err(_) => lookup.on_unreachable(),
                    }
                }
                Step::Wait(until) => receive(self, socket.as_ref(), until, &mut lookup),
                Step::Stream { server, message, deadline } => {
                    let reply = ask_over_tcp(self, server, &message, deadline);
                    lookup.on_stream(reply.as_deref().ok());
                }
                Step::Done(result) => return result,
            }
        }
    }

    fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        self.stack().ok()?.source_for(destination).ok()
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let stack = self.stack();
        stack.map_or_else(|_| Vec::new(), |stack| stack.addresses().iter().map(|cidr| cidr.address).collect())
    }

    fn scope_of(&self, interface: &str) -> Option<u32> {
        (self.stack().ok()?.link_name()? == interface).then_some(ONLY_LINK)
    }
}

/// A socket that hears `server` only, and of its refusals too.
fn connected(behind: &Behind, server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(&behind.stack()?, (any, 0))?;
    socket.connect(server)?;
    Ok(socket)
}

/// Waits for one datagram, or until then.
fn receive(behind: &Behind, socket: Option<&(SocketAddr, UdpSocket)>, until: Instant, lookup: &mut Lookup) {
    let Some((_, socket)) = socket else { return lookup.on_unreachable() };
    let mut buffer = [0; MAX_DATAGRAM];
    let result =
        socket.set_read_timeout(Some(behind.rest(until))).and_then(|()| socket.recv_from(&mut buffer));
    match result {
        Ok((length, from)) => {
            lookup.on_datagram(from, &buffer[..length]);
        }
        // Time is up: the look-up sees it by itself.
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
        Err(_) => lookup.on_unreachable(),
    }
}

/// One question and answer over TCP (RFC 1035 §4.2.2, RFC 7766).
fn ask_over_tcp(
    behind: &Behind,
    server: SocketAddr,
    message: &[u8],
    deadline: Instant,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::fresh(&behind.stack()?, server)?;
    stream.open(server, behind.rest(deadline))?;
    stream.set_write_timeout(Some(behind.rest(deadline)))?;
    // Length and message in one segment: some servers read only once.
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], message].concat())?;
    let mut length = [0; 2];
    read_until(behind, &mut stream, &mut length, deadline)?;
    let mut reply = vec![0; u16::from_be_bytes(length).into()];
    read_until(behind, &mut stream, &mut reply, deadline)?;
    Ok(reply)
}

/// `read_exact` with one deadline for all: a server that drips gains nothing.
fn read_until(
    behind: &Behind,
    stream: &mut TcpStream,
    buffer: &mut [u8],
    deadline: Instant,
) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        if behind.now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(behind.rest(deadline)))?;
        match stream.read(&mut buffer[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => filled += n,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
