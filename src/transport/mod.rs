//! Transport layer: TCP, UDP and ping sockets, ports and demultiplexing.

pub mod datagram;
pub mod ports;
pub mod tcp;

pub use crate::network::Env;
