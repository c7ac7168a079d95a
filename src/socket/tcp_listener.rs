//! `TcpListener` with every stable method of the standard library's, and the options that it lacks.

use super::addr::{ToSocketAddrs, each_addr};
use super::inner::{Inner, read_option};
use super::{TcpStream, domain_of};
use crate::base::Errno;
use crate::host::{Opt, Type};
use crate::runtime::Stack;
use std::io;
use std::iter::FusedIterator;
use std::net::SocketAddr;
use std::sync::Arc;

/// A TCP socket that waits for connections.
pub struct TcpListener {
    pub(crate) inner: Arc<Inner>,
}

impl TcpListener {
    /// Listens on the first of `addr` that can be bound, with the largest backlog that the stack grants (`somaxconn`)
    /// and with `SO_REUSEADDR`, as the standard library does.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable` for an address that is not the stack's.
    pub fn bind(stack: &Stack, addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        TcpListener::bind_with_backlog(stack, addr, u32::MAX)
    }

    /// Listens like [`bind`](TcpListener::bind), with room for `backlog` connections that were not accepted yet.
    ///
    /// # Errors
    /// As [`bind`](TcpListener::bind).
    pub fn bind_with_backlog(
        stack: &Stack,
        addr: impl ToSocketAddrs,
        backlog: u32,
    ) -> io::Result<TcpListener> {
        each_addr(stack, addr, |addr| {
            let inner = Inner::new(stack, domain_of(addr), Type::Stream)?;
            inner.set_option(Opt::ReuseAddr(true))?;
            inner.bind(addr)?;
            inner.listen(backlog)?;
            Ok(TcpListener { inner })
        })
    }

    /// Changes the backlog of a listener.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        Ok(self.inner.listen(backlog)?)
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// When the stack has ended.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.local_addr()?)
    }

    /// Another handle on the same listener.
    ///
    /// # Errors
    /// None; the result is the standard library's.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener { inner: Arc::clone(&self.inner) })
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// `WouldBlock` without one when the listener does not block; `InvalidInput` once it was shut down.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (inner, peer) = self.inner.accept()?;
        Ok((TcpStream { inner }, peer))
    }

    /// All connections from now on, for ever.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// All connections from now on; the iterator owns the listener.
    pub fn into_incoming(self) -> IntoIncoming {
        IntoIncoming { listener: self }
    }
}

super::common_methods!(TcpListener);
super::option_methods!(TcpListener {
    "Takes no IPv4 connections on an IPv6 address (before it is bound: see [`Socket`](super::Socket)).",
    "Does an IPv6 listener take no IPv4 connections?"
    set_only_v6, only_v6, V6Only: bool;
    "Accepted connections probe a silent peer (`SO_KEEPALIVE`).", "Do accepted connections probe a silent peer?"
    set_keepalive, keepalive, KeepAlive: bool;
    "Accepted connections do without Nagle's algorithm (`TCP_NODELAY`).", "Do accepted connections do without Nagle?"
    set_nodelay, nodelay, NoDelay: bool;
    "Connections that may be handed out with their SYN and its text (`TCP_FASTOPEN`, RFC 7413; needs bit 2 of `tcp_fastopen`); 0: none.",
    "Connections that may be handed out with their SYN."
    set_fast_open, fast_open, FastOpen: u32;
});
super::duration_methods!(TcpListener {
    "Accepts a connection only once it has data, waiting so long (`TCP_DEFER_ACCEPT`).",
    "How long a connection may be without data before it is accepted."
    set_defer_accept, defer_accept, DeferAccept;
});

/// The connections of a [`TcpListener`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;
    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for Incoming<'_> {}

/// The connections of a [`TcpListener`] that the iterator owns.
#[derive(Debug)]
pub struct IntoIncoming {
    listener: TcpListener,
}

impl Iterator for IntoIncoming {
    type Item = io::Result<TcpStream>;
    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl FusedIterator for IntoIncoming {}
