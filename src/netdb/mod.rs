//! Names and services: the look-ups of `netdb.h` and `arpa/inet.h` with their POSIX meaning.

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
