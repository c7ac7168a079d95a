//! One interface over the kernel's sockets and the stack's, and what a behaviour writes down.

use crate::kernel::KernelSocket;
use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::time::Duration;
use tunstack::base::Errno;
use tunstack::runtime::Stack;
use tunstack::socket::{PacketInfo, PollFd, Socket, consts::*, poll};

/// Where a behaviour runs.
pub enum World {
    Kernel,
    Stack(Stack),
}

/// A socket of either.
pub enum Sock {
    Kernel(KernelSocket),
    Stack(Socket),
}

/// Passes a call on to whichever it is.
macro_rules! pass {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        impl Sock {
            $(pub fn $name(&self, $($arg: $type),*) -> $result {
                match self {
                    Sock::Kernel(socket) => socket.$name($($arg),*),
                    Sock::Stack(socket) => socket.$name($($arg),*),
                }
            })*
        }
    };
}

pass! {
    bind(local: SocketAddr) -> io::Result<()>;
    listen(backlog: i32) -> io::Result<()>;
    connect(remote: SocketAddr) -> io::Result<()>;
    disconnect() -> io::Result<()>;
    send(data: &[u8], flags: i32) -> io::Result<usize>;
    sendto(data: &[u8], flags: i32, to: SocketAddr) -> io::Result<usize>;
    recvfrom(buf: &mut [u8], flags: i32) -> io::Result<(usize, Option<SocketAddr>)>;
    shutdown(how: i32) -> io::Result<()>;
    getsockname() -> io::Result<SocketAddr>;
    getpeername() -> io::Result<SocketAddr>;
    setsockopt(level: i32, name: i32, value: &[u8]) -> io::Result<()>;
    getsockopt(level: i32, name: i32) -> io::Result<Vec<u8>>;
    setblocking(blocking: bool) -> ();
    bytes_readable() -> io::Result<usize>;
    at_mark() -> io::Result<bool>;
}

/// Long enough for anything that is to come; nothing waits so long unless it fails.
pub const SOON: Duration = Duration::from_secs(5);
/// Long enough to be sure that nothing comes.
pub const WHILE: Duration = Duration::from_millis(30);

impl Sock {
    pub fn accept(&self) -> io::Result<(Sock, SocketAddr)> {
        Ok(match self {
            Sock::Kernel(socket) => {
                let (socket, peer) = socket.accept()?;
                (Sock::Kernel(socket), peer)
            }
            Sock::Stack(socket) => {
                let (socket, peer) = socket.accept()?;
                (Sock::Stack(socket), peer)
            }
        })
    }

    pub fn dup(&self) -> Sock {
        match self {
            Sock::Kernel(socket) => Sock::Kernel(socket.dup()),
            Sock::Stack(socket) => Sock::Stack(socket.dup()),
        }
    }

    /// Up to `len` octets, as text.
    pub fn recv(&self, len: usize, flags: i32) -> io::Result<String> {
        let mut buf = vec![0; len];
        let n = match self {
            Sock::Kernel(socket) => socket.recv(&mut buf, flags)?,
            Sock::Stack(socket) => socket.recv(&mut buf, flags)?,
        };
        let text = String::from_utf8_lossy(&buf[..n.min(len)]).into_owned();
        Ok(if n > len { format!("{text} of {n}") } else { text })
    }

    pub fn recvmsg(&self, parts: [&mut [u8]; 2], flags: i32) -> io::Result<(usize, i32)> {
        match self {
            Sock::Kernel(socket) => socket.recvmsg(parts, flags),
            Sock::Stack(socket) => {
                let mut parts = parts.map(IoSliceMut::new);
                socket.recvmsg(&mut parts, flags).map(|message| (message.len, message.flags))
            }
        }
    }

    pub fn sendmsg(&self, parts: [&[u8]; 2], flags: i32) -> io::Result<usize> {
        match self {
            Sock::Kernel(socket) => socket.sendmsg(parts, flags),
            Sock::Stack(socket) => {
                socket.sendmsg(&parts.map(IoSlice::new), None, PacketInfo::default(), flags)
            }
        }
    }

    pub fn set(&self, level: i32, name: i32, value: i32) -> io::Result<()> {
        self.setsockopt(level, name, &value.to_ne_bytes())
    }

    pub fn get(&self, level: i32, name: i32) -> io::Result<i32> {
        let value = self.getsockopt(level, name)?;
        Ok(i32::from_ne_bytes(*value.first_chunk().expect("four octets")))
    }

    /// What happens within `timeout`, as poll's bits in words.
    pub fn poll(&self, events: i16, timeout: Duration) -> String {
        let bits = match self {
            Sock::Kernel(socket) => socket.poll(events, timeout),
            Sock::Stack(socket) => {
                let mut fds = [PollFd::new(socket, events)];
                poll(&mut fds, Some(timeout)).expect("poll");
                fds[0].revents
            }
        };
        let names = [
            (POLLIN, "IN"),
            (POLLOUT, "OUT"),
            (POLLPRI, "PRI"),
            (POLLERR, "ERR"),
            (POLLHUP, "HUP"),
            (POLLRDHUP, "RDHUP"),
        ];
        let words: Vec<&str> =
            names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join("+") }
    }

    /// Everything that poll says now.
    pub fn state(&self) -> String {
        self.poll(POLLIN | POLLOUT | POLLPRI | POLLRDHUP, Duration::ZERO)
    }

    /// Waits until something can be read.
    pub fn await_input(&self) {
        assert_ne!(self.poll(POLLIN, SOON), "nothing", "input must come");
    }

    /// Sends until nothing more is taken, and nothing moves on any more.
    pub fn fill(&self) {
        self.setblocking(false);
        let mut idle = 0;
        while idle < 3 {
            if self.send(&[0; 100_000], 0).is_ok() || self.send(&[0; 1], 0).is_ok() {
                idle = 0;
            } else {
                idle += 1;
                std::thread::sleep(WHILE);
            }
        }
        self.setblocking(true);
    }

    pub fn set_timeout(&self, name: i32, millis: u64) {
        let time = [millis / 1000, millis % 1000 * 1000].map(u64::to_ne_bytes).concat();
        self.setsockopt(SOL_SOCKET, name, &time).expect("timeout");
    }

    pub fn set_linger(&self, on: bool, secs: i32) {
        self.setsockopt(SOL_SOCKET, SO_LINGER, &[i32::from(on), secs].map(i32::to_ne_bytes).concat())
            .expect("linger");
    }
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

impl World {
    pub fn socket(&self, family: i32, kind: i32, protocol: i32) -> io::Result<Sock> {
        match self {
            World::Kernel => KernelSocket::new(family, kind, protocol).map(Sock::Kernel),
            World::Stack(stack) => Socket::new(stack, family, kind, protocol).map(Sock::Stack),
        }
    }

    pub fn tcp(&self) -> Sock {
        self.socket(AF_INET, SOCK_STREAM, 0).expect("socket")
    }

    pub fn tcp6(&self) -> Sock {
        self.socket(AF_INET6, SOCK_STREAM, 0).expect("socket")
    }

    pub fn udp(&self) -> Sock {
        self.socket(AF_INET, SOCK_DGRAM, 0).expect("socket")
    }

    pub fn udp6(&self) -> Sock {
        self.socket(AF_INET6, SOCK_DGRAM, 0).expect("socket")
    }

    /// A listener on a port of its own.
    pub fn listener(&self) -> (Sock, SocketAddr) {
        self.listener_with(|_| {})
    }

    pub fn listener_with(&self, prepare: impl FnOnce(&Sock)) -> (Sock, SocketAddr) {
        let socket = self.tcp();
        prepare(&socket);
        socket.bind(addr("127.0.0.1:0")).expect("bind");
        socket.listen(16).expect("listen");
        let name = socket.getsockname().expect("name");
        (socket, name)
    }

    /// A connection: the side that connected, and the side that accepted.
    pub fn pair(&self) -> (Sock, Sock) {
        let (listener, name) = self.listener();
        let client = self.tcp();
        client.connect(name).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        (client, server)
    }

    /// A bound UDP socket.
    pub fn udp_at(&self, local: &str) -> (Sock, SocketAddr) {
        let local = addr(local);
        let socket = if local.is_ipv4() { self.udp() } else { self.udp6() };
        socket.bind(local).expect("bind");
        let name = socket.getsockname().expect("name");
        (socket, name)
    }

    /// An address where nobody is.
    pub fn closed_port(&self) -> SocketAddr {
        let (_, name) = self.listener();
        name
    }
}

/// What a behaviour saw, step by step.
#[derive(Default)]
pub struct Log(Vec<String>);

impl Log {
    /// What a call gave: its value, or the name of its error.
    pub fn call<T: Debug>(&mut self, result: io::Result<T>) -> &mut Log {
        self.0.push(match result {
            Ok(value) => format!("{value:?}"),
            Err(error) => name_of(&error),
        });
        self
    }

    /// Only whether a call worked, where its value may differ.
    pub fn works<T>(&mut self, result: io::Result<T>) -> &mut Log {
        self.call(result.map(|_| ()))
    }

    pub fn note(&mut self, seen: impl Debug) -> &mut Log {
        self.0.push(format!("{seen:?}"));
        self
    }

    pub fn text(&mut self, seen: &str) -> &mut Log {
        self.0.push(seen.to_owned());
        self
    }

    pub fn finish(self) -> String {
        self.0.join(", ")
    }
}

/// The symbolic name of an error; the library's own texts stay as they are.
pub fn name_of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => {
            let known = Errno::ALL.iter().find(|errno| errno.code() == code);
            known.map_or_else(|| format!("errno {code}"), |errno| errno.name().to_owned())
        }
        None => format!("{:?}: {error}", error.kind()),
    }
}
