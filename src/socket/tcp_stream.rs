//! `TcpStream` with every stable method of the standard library's, and the options that it lacks.

use super::addr::{ToSocketAddrs, each_addr};
use super::inner::{Inner, Waiting, read_option};
use super::{domain_of, std_timeout, write_all_parts};
use crate::base::Errno;
use crate::host::{MsgFlags, Opt, Shutdown as How, TcpInfo, Type};
use crate::runtime::{Direction, Stack};
use bytes::Bytes;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A TCP connection. Closed when dropped; the peer then gets everything that was written, followed by FIN.
///
/// Reading and writing need no `&mut`: several threads may use one stream. `read` and `write` wait like the kernel's:
/// `read` until something arrived, `write` until everything is in the send buffer, both no longer than their timeout.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::{Read, Write};
/// use tunstack::{runtime::Stack, socket::{TcpListener, TcpStream}};
///
/// // Without a device a stack talks to itself.
/// let stack = Stack::builder().start()?;
/// let listener = TcpListener::bind(&stack, "127.0.0.1:7")?;
/// let mut client = TcpStream::connect(&stack, "localhost:7")?;
/// let (mut server, _peer) = listener.accept()?;
/// client.write_all(b"hello")?;
/// drop(client);
/// let mut text = String::new();
/// server.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok(()) }
/// ```
pub struct TcpStream {
    pub(crate) inner: Arc<Inner>,
}

impl TcpStream {
    /// Opens a connection to the first of `addr` that answers.
    ///
    /// # Errors
    /// `ConnectionRefused`, `TimedOut`, `HostUnreachable`, `NetworkUnreachable`, `AddrNotAvailable` (no free port), and
    /// what name resolution says.
    pub fn connect(stack: &Stack, addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        each_addr(stack, addr, |addr| {
            let inner = Inner::new(stack, domain_of(addr), Type::Stream)?;
            inner.connect(Some(addr))?;
            Ok(TcpStream { inner })
        })
    }

    /// Opens a connection and sends all of `data`, in the SYN itself where the server has given a cookie before (Fast Open, RFC 7413):
    /// the answer then comes one round trip earlier. The server may see `data` twice, so it must be harmless to repeat.
    ///
    /// # Errors
    /// As [`connect`](TcpStream::connect) and `write`; `Unsupported` when `tcp_fastopen` does not allow it.
    pub fn connect_with(stack: &Stack, addr: impl ToSocketAddrs, data: &[u8]) -> io::Result<TcpStream> {
        each_addr(stack, addr, |addr| {
            let inner = Inner::new(stack, domain_of(addr), Type::Stream)?;
            inner.connect_with(addr, data, MsgFlags::empty(), false)?;
            Ok(TcpStream { inner })
        })
    }

    /// Opens a connection, and gives up after `timeout`.
    ///
    /// # Errors
    /// As [`connect`](TcpStream::connect); `TimedOut` when the time is over, `InvalidInput` for a timeout of zero.
    pub fn connect_timeout(stack: &Stack, addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        let stream = TcpStream::fresh(stack, *addr)?;
        stream.open(*addr, timeout)?;
        Ok(stream)
    }

    /// A socket that can be connected to `addr`.
    pub(crate) fn fresh(stack: &Stack, addr: SocketAddr) -> io::Result<TcpStream> {
        Ok(TcpStream { inner: Inner::new(stack, domain_of(addr), Type::Stream)? })
    }

    /// Connects a fresh one.
    pub(crate) fn open(&self, addr: SocketAddr, timeout: Duration) -> io::Result<()> {
        let deadline = self.inner.shared.clock.now() + timeout.into();
        match self.inner.connect_until(Some(addr), Some(deadline)) {
            Ok(()) => Ok(()),
            Err(Errno::EINPROGRESS) => Err(io::Error::new(io::ErrorKind::TimedOut, "connection timed out")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// `NotConnected` once the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.peer_addr()?)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.local_addr()?)
    }

    /// Shuts the reading half, the writing half (the peer reads the end of the stream) or both.
    ///
    /// # Errors
    /// `NotConnected` once the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => How::Read,
            Shutdown::Write => How::Write,
            Shutdown::Both => How::Both,
        };
        Ok(self.inner.shutdown(how)?)
    }

    /// Another handle on the same connection: data, options and timeouts are shared.
    ///
    /// # Errors
    /// None; the result is the standard library's.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        Ok(TcpStream { inner: Arc::clone(&self.inner) })
    }

    /// Gives the two directions to two owners. Dropping the writing half shuts that direction.
    pub fn into_split(self) -> (super::ReadHalf, super::WriteHalf) {
        super::split::split(self)
    }

    /// Receives without taking the data out of the queue.
    ///
    /// # Errors
    /// As `read`.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.inner.recv(buf, MsgFlags::PEEK, Waiting::default())?.len)
    }

    /// Receives up to `most` octets without copying them, where they came in packets of 32 KiB and more (segmentation offload, or
    /// segments in a row): the memory that the device read them into is handed over, and comes back to the stack when all of
    /// them are dropped. Fewer octets are copied. Empty: the peer has ended the stream.
    ///
    /// # Errors
    /// As `read`.
    pub fn recv_owned(&self, most: usize) -> io::Result<Bytes> {
        Ok(self.inner.recv_owned(most)?)
    }

    /// Sends `data` without copying it, as far as it is much (16 KiB at a time): it is kept until the peer has acknowledged it.
    /// What is taken is cut off at the front; a blocking stream takes all. Returns the octets taken.
    ///
    /// # Errors
    /// As `write`.
    pub fn send_owned(&self, data: &mut Bytes) -> io::Result<usize> {
        Ok(self.inner.send_owned(data)?)
    }

    /// Sends one octet of urgent data (`MSG_OOB`); with `data` longer than that, the last octet is the urgent one.
    /// New programs should not use it (RFC 9293 §3.8.5): what comes of it differs between hosts, and boxes on the way take it out.
    ///
    /// conformance-review: 9293-SHLD-13
    ///
    /// # Errors
    /// As `write`.
    pub fn send_oob(&self, data: &[u8]) -> io::Result<usize> {
        Ok(self.inner.send(data, MsgFlags::OOB, false)?)
    }

    /// The connection at this moment (`TCP_INFO`).
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn info(&self) -> io::Result<TcpInfo> {
        Ok(self.inner.call(|host, now| host.tcp_info(now, self.inner.id))?)
    }
}

super::common_methods!(TcpStream);
super::timeout_methods!(TcpStream);
super::option_methods!(TcpStream {
    "Sends small segments at once instead of collecting them (`TCP_NODELAY`: Nagle off).", "Is Nagle's algorithm off?"
    set_nodelay, nodelay, NoDelay: bool;
    "Holds partial segments back, at most 200 ms (`TCP_CORK`).", "Are partial segments held back?"
    set_cork, cork, Cork: bool;
    "Acknowledges at once for a while (`TCP_QUICKACK`).", "Are acknowledgments not delayed now?"
    set_quickack, quickack, QuickAck: bool;
    "Probes a silent peer (`SO_KEEPALIVE`).", "Is a silent peer probed?"
    set_keepalive, keepalive, KeepAlive: bool;
    "Keeps urgent data in the stream (`SO_OOBINLINE`).", "Is urgent data in the stream?"
    set_oob_inline, oob_inline, OobInline: bool;
    "Probes before the connection is given up (`TCP_KEEPCNT`).", "Probes before the connection is given up."
    set_keepalive_count, keepalive_count, KeepCnt: u32;
});
super::duration_methods!(TcpStream {
    "Silence before the first keepalive probe (`TCP_KEEPIDLE`).", "Silence before the first keepalive probe."
    set_keepalive_idle, keepalive_idle, KeepIdle;
    "Time between keepalive probes (`TCP_KEEPINTVL`).", "Time between keepalive probes."
    set_keepalive_interval, keepalive_interval, KeepIntvl;
    "Time that data may stay unacknowledged before the connection is given up (`TCP_USER_TIMEOUT`); zero: by count.",
    "Time that data may stay unacknowledged."
    set_user_timeout, user_timeout, UserTimeout;
});

impl TcpStream {
    /// What dropping the stream does with unsent data (`SO_LINGER`): `None` sends it in the background, zero resets
    /// the connection, a positive time lets the drop wait so long for the peer to have everything.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        Ok(self.inner.set_option(Opt::Linger(linger.map(Into::into)))?)
    }

    /// What dropping the stream does with unsent data.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        let linger: Result<Option<crate::base::Duration>, Errno> = read_option!(self.inner, Linger);
        Ok(linger?.map(Into::into))
    }
}

impl Read for &TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.inner.recv(buf, MsgFlags::empty(), Waiting::default())?.len)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        super::read_parts(&self.inner, bufs, MsgFlags::empty(), Waiting::default())
            .map(|received| received.len)
    }
}

impl Write for &TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(self.inner.send(data, MsgFlags::empty(), false)?)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        write_all_parts(&self.inner, bufs, MsgFlags::empty(), false)
    }

    /// Nothing is held back here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for TcpStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
