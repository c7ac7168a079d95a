//! A complete TCP/IP host in user space.
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
