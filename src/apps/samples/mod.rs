//! The programs every course on sockets teaches, on the BSD-like calls. Read them in this order: [`tcp_server`],
//! [`tcp_client`], [`udp_server`], [`udp_client`].

pub mod tcp_client;
pub mod tcp_server;
pub mod udp_client;
pub mod udp_server;

use super::cli::{self, SampleProgram};
use super::client::Client;
use super::failure::{Doing as _, Failure, Outcome};
use std::net::SocketAddr;

/// Runs `tunstack sample`.
pub(super) fn run(options: &cli::Sample) -> Outcome {
    let client = Client::start(&options.device, true)?;
    let setup = &client.running().setup;
    let is_server = match options.program {
        SampleProgram::TcpServer | SampleProgram::UdpServer => true,
        SampleProgram::TcpClient | SampleProgram::UdpClient => false,
    };
    let usual = if is_server { setup.stack.first() } else { setup.kernel.first() };
    let host = options.host.or(usual.map(|cidr| cidr.address)).ok_or_else(|| {
        Failure::input("say which server to talk to, as `tunstack sample tcp-client 10.9.0.1`")
    })?;
    let address = SocketAddr::new(host, options.port);
    let result = match options.program {
        SampleProgram::TcpServer => tcp_server::run(client.stack(), address),
        SampleProgram::TcpClient => tcp_client::run(client.stack(), address),
        SampleProgram::UdpServer => udp_server::run(client.stack(), address),
        SampleProgram::UdpClient => udp_client::run(client.stack(), address),
    };
    let finished = client.finish();
    let what = if is_server { "cannot serve at" } else { "cannot talk with a server at" };
    result.doing(format_args!("{what} {address}"))?;
    finished
}
