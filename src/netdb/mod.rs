//! Names and services: the look-ups of `netdb.h` and `arpa/inet.h` with their POSIX meaning, as Python's `socket` module
//! and glibc show them.
//!
//! [`Netdb`] holds the look-ups that need files or the network; text forms and byte order are plain functions. Order:
//! hosts file, `localhost`, DNS over the stack's own UDP, and TCP where an answer is too long. [`resolver::Lookup`] is the
//! protocol without input or output of its own. Blocking calls wait as long as `resolv.conf` allows: timeout × attempts ×
//! servers for each name tried.
//!
//! Other than in glibc: `nsswitch.conf` is not read; a port above 65535 is refused instead of cut; addresses are ordered
//! by RFC 6724's table (unique local addresses after IPv4); nothing is cached; no EDNS.
//!
//! ```no_run
//! use tunstack::netdb::{Hints, Netdb, inet_aton};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let stack = tunstack::runtime::Stack::builder().start()?;
//! let netdb = Netdb::new(&stack);
//! for info in netdb.getaddrinfo(Some("example.com"), Some("http"), &Hints::default())? {
//!     println!("{:?} {}", info.socktype, info.address);
//! }
//! assert_eq!(netdb.getservbyname("ssh", Some("tcp")).map(|service| service.port), Some(22));
//! assert_eq!(inet_aton("127.1"), Some(std::net::Ipv4Addr::LOCALHOST));
//! # Ok(()) }
//! ```

mod addrinfo;
mod database;
mod error;
pub mod hosts;
mod inet;
pub mod message;
mod order;
mod over_stack;
mod resolv_conf;
pub mod resolver;
pub mod services;

pub use addrinfo::{AddrInfo, AiFlags, Hints, NiFlags, SockType};
pub use database::{Files, Netdb, Sources};
pub use error::{GaiError, HostError};
pub use hosts::Host;
pub use inet::{Family, htonl, htons, inet_aton, inet_ntoa, inet_ntop, inet_pton, ntohl, ntohs};
pub use order::sort as sort_addresses;
pub use over_stack::install;
pub use resolv_conf::ResolvConf;
pub use services::{Protocol, Service};
