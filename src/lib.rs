//! A complete TCP/IP host in user space: IPv4, IPv6, ICMP, UDP and TCP over a Linux TUN device or any other source of
//! packets, behind the sockets you know.
//!
//! | you want to | begin with |
//! |---|---|
//! | use sockets like std's on a host of your own | [`runtime::Stack`], [`socket::TcpListener`], [`socket::TcpStream`], [`socket::UdpSocket`] |
//! | use sockets like BSD's | [`socket::Socket`] |
//! | serve thousands of connections from one thread | [`socket::Poller`] |
//! | look up names and services | [`netdb`] |
//! | control every packet yourself | [`host::Host`] |
//! | let many hosts talk in virtual time | [`sim::Sim`] |
//! | see what happens | [`observe`], [`trace`] |
//! | break the wire on purpose | [`link::impair`] |
//!
//! ```
//! use std::io::{Read, Write};
//! use tunstack::runtime::Stack;
//! use tunstack::socket::{TcpListener, TcpStream};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = Stack::builder().address("10.9.0.2/24".parse()?).start()?;
//! let listener = TcpListener::bind(&stack, "10.9.0.2:7")?;
//! let mut client = TcpStream::connect(&stack, "10.9.0.2:7")?;
//! let (mut server, peer) = listener.accept()?;
//! assert_eq!(peer, client.local_addr()?);
//! client.write_all(b"hello")?;
//! let mut word = [0; 5];
//! server.read_exact(&mut word)?;
//! assert_eq!(&word, b"hello");
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "cli")]
pub mod apps;
pub mod base;
pub mod host;
pub mod link;
pub mod netdb;
pub mod network;
pub mod observe;
pub mod runtime;
pub mod sim;
pub mod socket;
pub mod trace;
pub mod transport;
pub mod wire;

/// The README's example, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
