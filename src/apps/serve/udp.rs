//! The services over UDP: one datagram in, at most one out.

use super::Service;
use crate::apps::service::{CHARGEN_PERIOD, daytime, loops};
use crate::host::PacketInfo;
use crate::runtime::Stack;
use crate::socket::UdpSocket;
use crate::socket::consts::{AF_INET, AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, SOCK_DGRAM};
use std::io;
use std::net::SocketAddr;
use std::time::SystemTime;

/// Datagrams served before others get their turn.
const DATAGRAMS_PER_TURN: usize = 64;
/// Characters of a chargen datagram at most (RFC 864).
const CHARGEN_MAX: usize = 512;

/// A datagram socket of a service.
pub struct Datagrams {
    pub socket: UdpSocket,
    service: Service,
}

impl Datagrams {
    /// Opens the service's port, for one address family.
    ///
    /// # Errors
    /// When the port is in use.
    pub fn open(stack: &Stack, address: SocketAddr, service: Service) -> io::Result<Datagrams> {
        let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
        let socket = crate::socket::Socket::new(stack, family, SOCK_DGRAM, 0)?;
        if address.is_ipv6() {
            socket.setsockopt_int(IPPROTO_IPV6, IPV6_V6ONLY, 1)?;
        }
        socket.bind(address)?;
        let socket = UdpSocket::try_from(socket).map_err(|_| io::ErrorKind::InvalidInput)?;
        socket.set_nonblocking(true)?;
        Ok(Datagrams { socket, service })
    }

    /// Answers the datagrams that are there. What goes wrong concerns one datagram, which is lost as UDP may lose it.
    pub fn serve(&self, pattern: &[u8], scratch: &mut [u8]) {
        for _ in 0..DATAGRAMS_PER_TURN {
            let (len, from, info) = match self.socket.recv_with_info(scratch) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => continue,
            };
            // Two such services that answer each other never end.
            if loops(from.port()) || from.port() == 0 {
                continue;
            }
            let time;
            let answer: &[u8] = match self.service {
                Service::Echo => &scratch[..len],
                Service::Daytime => {
                    time = daytime(SystemTime::now());
                    time.as_bytes()
                }
                // The length is to be random: the client's port and request are random enough.
                Service::Chargen => {
                    let chance = usize::from(from.port()).wrapping_mul(31).wrapping_add(len * 7);
                    &pattern[chance % CHARGEN_PERIOD..][..chance % CHARGEN_MAX]
                }
                Service::Discard | Service::Http | Service::Chat => continue,
            };
            // From the address that was asked, which is not always the first one.
            let local = info.local.filter(|local| !local.is_multicast() && !is_broadcast(*local));
            let info = PacketInfo { local, ..PacketInfo::default() };
            let _ = self.socket.send_with_info(answer, from, info);
        }
    }
}

fn is_broadcast(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V4(v4) if v4.is_broadcast())
}
