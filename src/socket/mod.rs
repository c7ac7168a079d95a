//! Sockets of a [`Stack`](crate::runtime::Stack), in the faces that programs know.
//!
//! * [`TcpStream`], [`TcpListener`], [`UdpSocket`]: the standard library's, on an explicit stack.
//! * [`Socket`]: the BSD calls with Linux's numbers; [`poll`] and [`select`].
//! * [`Poller`]: thousands of sockets in one thread.
//! * `*_async` and `poll_*` of the three: futures for any executor, or for [`Stack::block_on`](crate::runtime::Stack::block_on).
//!
//! Every error of a socket is an [`io::Error`] made from an error number, so kind, code and text equal the kernel's.

mod addr;
mod bsd;
mod inner;
mod numbers;
mod poll;
mod poller;
mod rare;
mod split;
mod task;
mod tcp_info;
mod tcp_listener;
mod tcp_stream;
mod udp;

use crate::host::{Domain, MsgFlags, Received};
pub use crate::host::{PacketInfo, Readiness, TcpInfo};
pub use crate::runtime::{PollEvent, Trigger};
pub use addr::ToSocketAddrs;
pub use bsd::{Message, Socket};
use inner::{Inner, Waiting};
pub use numbers::consts;
pub use poll::{PollFd, Selected, poll, select};
pub use poller::Poller;
pub use split::{ReadHalf, WriteHalf};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
pub use tcp_listener::{Incoming, IntoIncoming, TcpListener};
pub use tcp_stream::TcpStream;
pub use udp::UdpSocket;

/// Every face of a socket; what [`Poller`] and [`PollFd`] take. Nobody else can be one.
pub trait AsSocket {
    #[doc(hidden)]
    fn handle(&self) -> Handle<'_>;
}

/// The socket behind a face; opaque.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Handle<'a>(pub(crate) &'a Arc<Inner>);

impl<T: AsSocket> AsSocket for &T {
    fn handle(&self) -> Handle<'_> {
        (**self).handle()
    }
}

fn domain_of(addr: SocketAddr) -> Domain {
    match addr {
        SocketAddr::V4(_) => Domain::Inet,
        SocketAddr::V6(_) => Domain::Inet6,
    }
}

/// A timeout as the standard library takes it: `None` is for ever, zero is refused.
fn std_timeout(timeout: Option<Duration>) -> io::Result<Option<crate::base::Duration>> {
    match timeout {
        Some(Duration::ZERO) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"))
        }
        // The system counts microseconds, and what is set is never none.
        Some(timeout) => {
            let micros = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
            Ok(Some(crate::base::Duration::from_micros(micros.max(1))))
        }
        None => Ok(None),
    }
}

/// Sends several pieces as one.
fn write_all_parts(
    inner: &Inner,
    bufs: &[IoSlice<'_>],
    flags: MsgFlags,
    dont_wait: bool,
) -> io::Result<usize> {
    match bufs {
        [one] => Ok(inner.send(one, flags, dont_wait)?),
        many => {
            let joined: Vec<u8> = many.iter().flat_map(|part| part.iter().copied()).collect();
            Ok(inner.send(&joined, flags, dont_wait)?)
        }
    }
}

/// Receives into several pieces as one.
fn read_parts(
    inner: &Inner,
    bufs: &mut [IoSliceMut<'_>],
    flags: MsgFlags,
    waiting: Waiting,
) -> io::Result<Received> {
    if let [one] = bufs {
        return Ok(inner.recv(one, flags, waiting)?);
    }
    let mut joined = vec![0; bufs.iter().map(|part| part.len()).sum()];
    let received = inner.recv(&mut joined, flags, waiting)?;
    let mut rest = &joined[..received.len.min(joined.len())];
    for part in bufs {
        let (piece, after) = rest.split_at(rest.len().min(part.len()));
        part[..piece.len()].copy_from_slice(piece);
        rest = after;
    }
    Ok(received)
}

/// What all faces of the standard library's kind have.
macro_rules! common_methods {
    ($type:ident) => {
        impl $type {
            /// The pending error (`SO_ERROR`), which is cleared by this.
            ///
            /// # Errors
            /// When the stack has ended.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                Ok(self.inner.take_error()?.map(io::Error::from_raw_os_error))
            }

            /// The setting called `name` of this socket, as [`Stack::setting`](crate::runtime::Stack::setting) shows the host's:
            /// [`Host::socket_settings`](crate::host::Host::socket_settings) has the names.
            ///
            /// # Errors
            /// `InvalidInput` for a name that sockets do not have, `ENOPROTOOPT` for one that this kind of socket does not have.
            pub fn setting(&self, name: &str) -> io::Result<String> {
                self.inner.setting(name)
            }

            /// Changes a setting of this socket alone; what a listener accepts later inherits it.
            ///
            /// # Errors
            /// `InvalidInput`, with a sentence that says what is accepted; `ENOPROTOOPT` as for [`setting`](Self::setting).
            pub fn set_setting(&self, name: &str, value: &str) -> io::Result<()> {
                self.inner.set_setting(name, value)
            }

            /// Makes calls return `WouldBlock` where they would wait; for all handles of this socket.
            ///
            /// # Errors
            /// None; the result is the standard library's.
            pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
                self.inner.set_nonblocking(nonblocking);
                Ok(())
            }

            /// TTL or hop limit of the packets sent.
            ///
            /// # Errors
            /// `InvalidInput` for 0 and above 255.
            pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
                let ttl = u8::try_from(ttl).map_err(|_| Errno::EINVAL)?;
                Ok(self.inner.set_option(Opt::Ttl(ttl))?)
            }

            /// TTL or hop limit of the packets sent.
            ///
            /// # Errors
            /// When the stack has ended.
            pub fn ttl(&self) -> io::Result<u32> {
                let ttl: Result<u8, Errno> = read_option!(self.inner, Ttl);
                Ok(ttl?.into())
            }

            /// TOS or traffic class of the packets sent.
            ///
            /// # Errors
            /// When the stack has ended.
            pub fn set_tos(&self, tos: u8) -> io::Result<()> {
                Ok(self.inner.set_option(Opt::Tos(tos))?)
            }

            /// TOS or traffic class of the packets sent.
            ///
            /// # Errors
            /// When the stack has ended.
            pub fn tos(&self) -> io::Result<u8> {
                let tos: Result<u8, Errno> = read_option!(self.inner, Tos);
                Ok(tos?)
            }

            /// Octets that may wait to be sent; reading gives twice what was set, as on Linux.
            ///
            /// # Errors
            /// When the stack has ended.
            pub fn set_send_buffer_size(&self, octets: u32) -> io::Result<()> {
                Ok(self.inner.set_option(Opt::SndBuf(octets))?)
            }

            /// Octets that may wait to be sent (`SO_SNDBUF`).
            ///
            /// # Errors
            /// When the stack has ended.
            pub fn send_buffer_size(&self) -> io::Result<u32> {
                let octets: Result<u32, Errno> = read_option!(self.inner, SndBuf);
                Ok(octets?)
            }

            /// Octets that may wait to be received; reading gives twice what was set, as on Linux.
            ///
            /// # Errors
            /// When the stack has ended.
            pub fn set_recv_buffer_size(&self, octets: u32) -> io::Result<()> {
                Ok(self.inner.set_option(Opt::RcvBuf(octets))?)
            }

            /// Octets that may wait to be received (`SO_RCVBUF`).
            ///
            /// # Errors
            /// When the stack has ended.
            pub fn recv_buffer_size(&self) -> io::Result<u32> {
                let octets: Result<u32, Errno> = read_option!(self.inner, RcvBuf);
                Ok(octets?)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($type)).field(&self.inner).finish()
            }
        }

        impl super::AsSocket for $type {
            fn handle(&self) -> super::Handle<'_> {
                super::Handle(&self.inner)
            }
        }
    };
}
use common_methods;

/// Timeouts of blocking calls.
macro_rules! timeout_methods {
    ($type:ident) => {
        super::timeout_methods!(
            $type,
            "Longest wait of receiving calls; they end with `WouldBlock`. `None`: for ever.",
            "Longest wait of receiving calls.",
            set_read_timeout,
            read_timeout,
            Read
        );
        super::timeout_methods!(
            $type,
            "Longest wait of sending calls; they end with `WouldBlock`. `None`: for ever.",
            "Longest wait of sending calls.",
            set_write_timeout,
            write_timeout,
            Write
        );
    };
    ($type:ident, $about_set:literal, $about:literal, $set:ident, $get:ident, $way:ident) => {
        impl $type {
            #[doc = $about_set]
            ///
            /// # Errors
            /// `InvalidInput` for a timeout of zero.
            pub fn $set(&self, timeout: Option<Duration>) -> io::Result<()> {
                self.inner.set_timeout(Direction::$way, std_timeout(timeout)?);
                Ok(())
            }

            #[doc = $about]
            ///
            /// # Errors
            /// None; the result is the standard library's.
            pub fn $get(&self) -> io::Result<Option<Duration>> {
                Ok(self.inner.timeout(Direction::$way).map(Into::into))
            }
        }
    };
}
use timeout_methods;

/// Options whose value is what the host has.
macro_rules! option_methods {
    ($type:ident { $($about_set:literal, $about:literal $set:ident, $get:ident, $option:ident: $value:ty;)* }) => {
        impl $type {
            $(
                #[doc = $about_set]
                ///
                /// # Errors
                /// `InvalidInput` for a value out of range.
                pub fn $set(&self, value: $value) -> io::Result<()> {
                    Ok(self.inner.set_option(Opt::$option(value))?)
                }

                #[doc = $about]
                ///
                /// # Errors
                /// When the stack has ended.
                pub fn $get(&self) -> io::Result<$value> {
                    let value: Result<$value, Errno> = read_option!(self.inner, $option);
                    Ok(value?)
                }
            )*
        }
    };
}
use option_methods;

/// Options whose value is a time.
macro_rules! duration_methods {
    ($type:ident { $($about_set:literal, $about:literal $set:ident, $get:ident, $option:ident;)* }) => {
        impl $type {
            $(
                #[doc = $about_set]
                ///
                /// # Errors
                /// `InvalidInput` for a value out of range.
                pub fn $set(&self, value: std::time::Duration) -> io::Result<()> {
                    Ok(self.inner.set_option(Opt::$option(value.into()))?)
                }

                #[doc = $about]
                ///
                /// # Errors
                /// When the stack has ended.
                pub fn $get(&self) -> io::Result<std::time::Duration> {
                    let value: Result<crate::base::Duration, Errno> = read_option!(self.inner, $option);
                    Ok(value?.into())
                }
            )*
        }
    };
}
use duration_methods;
