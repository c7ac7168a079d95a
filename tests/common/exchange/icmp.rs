//! ICMP in a dialogue: errors about what the stack sent.

use super::super::packet::{self, ACK, Tcp};
use super::super::text::{Num, SegmentText};
use super::Exchange;

impl Exchange {
    /// An ICMP error about a segment of the stack, `about` being that segment's text; the quote is cut as short as the RFC
    /// allows, header and eight octets. `rest` are the four octets after the checksum.
    #[track_caller]
    pub fn peer_icmp(&mut self, kind: u8, code: u8, rest: u32, about: &str) -> &mut Exchange {
        let bytes = self.icmp_about(kind, code, rest, about);
        self.inject(&bytes)
    }

    /// The octets of such an error.
    #[track_caller]
    pub fn icmp_about(&mut self, kind: u8, code: u8, rest: u32, about: &str) -> Vec<u8> {
        let spec = SegmentText::parse(about).unwrap_or_else(|why| self.fail(&why));
        let isns = self.isns(true);
        let flow = self.flow();
        let quoted = Tcp {
            src_port: flow.local.port(),
            dst_port: flow.remote.port(),
            seq: spec.seq.on_wire(isns.sender),
            ack: spec.ack.unwrap_or(Num::Absolute(0)).on_wire(isns.other),
            flags: spec.flags | ACK,
            payload: vec![0; spec.len as usize],
            ..Tcp::default()
        };
        let quoted = packet::tcp(flow.local.ip(), flow.remote.ip(), &quoted);
        let header = if flow.local.is_ipv4() { 20 } else { 40 };
        let (from, to) = (flow.remote.ip(), flow.local.ip());
        packet::icmp(from, to, kind, code, rest.to_be_bytes(), &quoted[..header + 8])
    }

    /// A router says that a segment of the stack was too big for the next link.
    #[track_caller]
    pub fn peer_too_big(&mut self, mtu: u32, about: &str) -> &mut Exchange {
        match self.flow().local.is_ipv4() {
            true => self.peer_icmp(3, 4, mtu & 0xffff, about),
            false => self.peer_icmp(2, 0, mtu, about),
        }
    }
}
