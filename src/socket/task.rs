//! The async face: futures of no particular runtime. A task that waits is woken by the same slot as a blocked thread.
//!
//! Any executor runs them; [`Stack::block_on`] runs one and drives the stack meanwhile.

use super::inner::Inner;
use super::{TcpListener, TcpStream, UdpSocket, domain_of};
use crate::base::{Errno, Instant};
use crate::host::{Host, MsgFlags, PacketInfo, Received, Type};
use crate::runtime::{Direction, Stack};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

fn poll_call<T>(
    inner: &Inner,
    context: &mut Context<'_>,
    direction: Direction,
    op: impl FnOnce(&mut Host, Instant) -> Result<T, Errno>,
) -> Poll<io::Result<T>> {
    match inner.poll(context, direction, op) {
        Ok(Some(value)) => Poll::Ready(Ok(value)),
        Ok(None) => Poll::Pending,
        Err(errno) => Poll::Ready(Err(errno.into())),
    }
}

fn poll_recv(inner: &Inner, context: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<Received>> {
    poll_call(inner, context, Direction::Read, |host, now| host.recv(now, inner.id, buf, MsgFlags::empty()))
}

fn poll_send(inner: &Inner, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
    poll_call(inner, context, Direction::Write, |host, now| host.send(now, inner.id, data, MsgFlags::empty()))
}

impl TcpStream {
    /// Opens a connection without blocking the thread.
    ///
    /// # Errors
    /// As [`connect`](TcpStream::connect).
    pub async fn connect_async(stack: &Stack, addr: SocketAddr) -> io::Result<TcpStream> {
        let inner = Inner::new(stack, domain_of(addr), Type::Stream)?;
        poll_fn(|context| {
            poll_call(&inner, context, Direction::Write, |host, now| {
                match host.connect(now, inner.id, Some(addr)) {
                    Err(Errno::EINPROGRESS | Errno::EALREADY) => Err(Errno::EAGAIN),
                    Err(Errno::EISCONN) => Ok(()),
                    result => result,
                }
            })
        })
        .await?;
        Ok(TcpStream { inner })
    }

    /// Reads what is there, or has the task woken when something is.
    ///
    /// # Errors
    /// As `read`; `WouldBlock` never.
    pub fn poll_read(&self, context: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        poll_recv(&self.inner, context, buf).map_ok(|received| received.len)
    }

    /// Writes what there is room for, or has the task woken when there is room.
    ///
    /// # Errors
    /// As `write`; `WouldBlock` never.
    pub fn poll_write(&self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        poll_send(&self.inner, context, data)
    }

    /// Reads what is there, at least one octet; 0 is the end of the stream.
    ///
    /// # Errors
    /// As `read`; `WouldBlock` never.
    pub async fn read_async(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read(context, buf)).await
    }

    /// Writes everything.
    ///
    /// # Errors
    /// As `write_all`; `WouldBlock` never.
    pub async fn write_all_async(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let n = poll_fn(|context| self.poll_write(context, data)).await?;
            data = &data[n..];
        }
        Ok(())
    }
}

impl TcpListener {
    /// Takes a connection that waits, or has the task woken when one does.
    ///
    /// # Errors
    /// As [`accept`](TcpListener::accept); `WouldBlock` never.
    pub fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let inner = &self.inner;
        poll_call(inner, context, Direction::Read, |host, now| host.accept(now, inner.id)).map_ok(
            |accepted| {
                let (inner, peer) = inner.adopt(accepted);
                (TcpStream { inner }, peer)
            },
        )
    }

    /// Waits for a connection without blocking the thread.
    ///
    /// # Errors
    /// As [`accept`](TcpListener::accept); `WouldBlock` never.
    pub async fn accept_async(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|context| self.poll_accept(context)).await
    }
}

impl UdpSocket {
    /// Takes a datagram, or has the task woken when one arrives.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from); `WouldBlock` never.
    pub fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        match poll_recv(&self.inner, context, buf) {
            Poll::Ready(Ok(Received { len, from: Some(from), .. })) => Poll::Ready(Ok((len, from))),
            // The socket was shut: nothing will come.
            Poll::Ready(Ok(Received { from: None, .. })) => {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Waits for a datagram without blocking the thread.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from); `WouldBlock` never.
    pub async fn recv_from_async(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        poll_fn(|context| self.poll_recv_from(context, buf)).await
    }

    /// Sends a datagram; waits without blocking the thread where the queue is full.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to); `WouldBlock` never.
    pub async fn send_to_async(&self, data: &[u8], to: SocketAddr) -> io::Result<usize> {
        let (inner, info): (&Arc<Inner>, _) = (&self.inner, PacketInfo::default());
        poll_fn(|context| {
            poll_call(inner, context, Direction::Write, |host, now| {
                host.send_to(now, inner.id, data, Some(to), info)
            })
        })
        .await
    }
}
