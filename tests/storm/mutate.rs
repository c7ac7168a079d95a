//! Packets that are nearly right, and what is done to them.

use crate::common::exchange::Exchange;
use crate::common::packet::{self, ACK, Packet, TCP, Tcp, UDP};
use std::net::{IpAddr, SocketAddr};
use tunstack::base::Rng;

/// A source of broken packets.
pub struct Mutator {
    rng: Rng,
}

impl Mutator {
    pub fn new(seed: u64) -> Mutator {
        Mutator { rng: Rng::from_seed(seed ^ 0x6d75_7461) }
    }

    /// A packet from the peer to the stack, nearly right for where the dialogue stands, then broken.
    pub fn packet(&mut self, x: &Exchange) -> Vec<u8> {
        let (local, remote) = x.ends();
        let mut bytes = match self.rng.below(20) {
            0 => self.udp(remote, local),
            1 => self.icmp(x, remote.ip(), local.ip()),
            2 => self.fragment(x),
            _ => {
                let segment = self.segment(x);
                packet::tcp(remote.ip(), local.ip(), &segment)
            }
        };
        let touched = self.rng.below(4);
        for _ in 0..touched {
            self.touch(&mut bytes);
        }
        if self.rng.chance(0.9) {
            mend(&mut bytes);
        }
        bytes
    }

    /// A segment whose numbers lie near those of the connection.
    fn segment(&mut self, x: &Exchange) -> Tcp {
        let (iss, irs) = x.isns_of_flow();
        let (local, remote) = x.ends();
        let view = x.last_view();
        let near = |rng: &mut Rng, base: u32| match rng.below(8) {
            0..=3 => base,
            4 => base.wrapping_add(rng.below(20) as u32),
            5 => base.wrapping_sub(rng.below(20) as u32),
            6 => base.wrapping_add(rng.below(70_000) as u32),
            _ => rng.next_u32(),
        };
        let seq = near(&mut self.rng, view.map_or(irs.wrapping_add(1), |(_, rcv_nxt)| rcv_nxt));
        let ack = near(&mut self.rng, view.map_or(iss.wrapping_add(1), |(snd_nxt, _)| snd_nxt));
        let flags = match self.rng.below(10) {
            0..=6 => ACK | [0, 0x08, 0x08, 0x01, 0x20, 0x02, 0x04][self.rng.below(7) as usize],
            7 => [0x02, 0x04, 0x01][self.rng.below(3) as usize],
            _ => self.rng.next_u32() as u8,
        };
        let len = match self.rng.below(4) {
            0 | 1 => 0,
            2 => self.rng.below(20),
            _ => self.rng.below(1461),
        };
        Tcp {
            src_port: remote.port(),
            dst_port: local.port(),
            seq,
            ack,
            flags,
            window: near(&mut self.rng, 1000) as u16,
            urgent: if self.rng.chance(0.1) { self.rng.next_u32() as u16 } else { 0 },
            options: self.options(x, irs, iss),
            payload: (0..len).map(|i| i as u8).collect(),
        }
    }

    fn options(&mut self, x: &Exchange, irs: u32, iss: u32) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..self.rng.below(4) {
            match self.rng.below(8) {
                0 => out.extend([2, 4, self.rng.next_u32() as u8, self.rng.next_u32() as u8]),
                1 => out.extend([3, 3, self.rng.below(256) as u8]),
                2 => out.extend([4, 2]),
                3..=4 => {
                    out.extend([1, 1, 8, 10]);
                    let clock = x.peer_clock().wrapping_add(self.rng.below(100) as u32).wrapping_sub(50);
                    out.extend(clock.to_be_bytes());
                    out.extend(self.rng.next_u32().to_be_bytes());
                }
                5 => {
                    let blocks = 1 + self.rng.below(4);
                    out.extend([5, 2 + 8 * blocks as u8]);
                    for _ in 0..2 * blocks {
                        out.extend(iss.wrapping_add(self.rng.below(8_000) as u32).to_be_bytes());
                    }
                }
                6 => out.extend((irs ^ self.rng.next_u32()).to_be_bytes()),
                _ => out.push(self.rng.below(2) as u8),
            }
        }
        out.truncate(40);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn udp(&mut self, src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
        let len = self.rng.below(600) as usize;
        packet::udp(src, dst, &vec![0x55; len])
    }

    fn icmp(&mut self, x: &Exchange, src: IpAddr, dst: IpAddr) -> Vec<u8> {
        let (local, remote) = x.ends();
        let (iss, _) = x.isns_of_flow();
        let quoted = Tcp {
            src_port: local.port(),
            dst_port: remote.port(),
            seq: iss.wrapping_add(self.rng.below(3) as u32),
            flags: ACK,
            ..Tcp::default()
        };
        let quoted = packet::tcp(dst, src, &quoted);
        let cut = self.rng.below(quoted.len() as u64 + 1) as usize;
        let kind = if self.rng.chance(0.7) {
            [3, 11, 12, 4, 1, 2, 8, 128][self.rng.below(8) as usize]
        } else {
            self.rng.below(256) as u8
        };
        let code = self.rng.below(16) as u8;
        let rest = (self.rng.below(2_000) as u32).to_be_bytes();
        packet::icmp(src, dst, kind, code, rest, &quoted[..cut])
    }

    /// A piece of a segment, of which the rest may or may not come.
    fn fragment(&mut self, x: &Exchange) -> Vec<u8> {
        let (local, remote) = x.ends();
        let segment = self.segment(x);
        let bytes = packet::tcp(remote.ip(), local.ip(), &segment);
        if bytes[0] >> 4 == 6 {
            return bytes;
        }
        let whole = Packet::parse(&bytes).expect("just built");
        let payload = whole.payload();
        let cut = (self.rng.below(payload.len() as u64 / 8 + 1) * 8) as usize;
        let id = self.rng.below(4) as u16;
        match self.rng.chance(0.5) {
            true if cut > 0 => packet::fragment_v4(&whole, &payload[..cut], id, 0, true),
            _ => packet::fragment_v4(&whole, &payload[cut..], id, cut, false),
        }
    }

    /// Breaks something.
    fn touch(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let headers = bytes.len().min(60) as u64;
        let anywhere = bytes.len() as u64;
        match self.rng.below(12) {
            0..=3 => {
                let at = self.rng.below(headers) as usize;
                bytes[at] ^= 1 << self.rng.below(8);
            }
            4..=5 => {
                let at = self.rng.below(anywhere) as usize;
                bytes[at] = self.rng.next_u32() as u8;
            }
            6 => {
                // The TCP data offset, and option lengths.
                let at = (if bytes[0] >> 4 == 6 { 52 } else { 32 }).min(bytes.len() - 1);
                bytes[at] = self.rng.next_u32() as u8;
            }
            7 => bytes.truncate(self.rng.below(anywhere + 1) as usize),
            8 => {
                let extra = self.rng.below(40) as usize;
                bytes.resize(bytes.len() + extra, 0xaa);
            }
            9 => {
                let at = self.rng.below(anywhere) as usize;
                bytes.insert(at, self.rng.next_u32() as u8);
            }
            10 => {
                let at = self.rng.below(anywhere) as usize;
                bytes.remove(at);
            }
            _ => {
                let (at, value) =
                    (self.rng.below(headers) as usize, [0, 0xff, 0x7f, 0x80][self.rng.below(4) as usize]);
                bytes[at] = value;
            }
        }
    }
}

/// Makes lengths and checksums right again where there is enough of a packet to have them.
fn mend(bytes: &mut [u8]) {
    let len = bytes.len();
    match bytes.first().map(|b| b >> 4) {
        Some(4) if len >= 20 => {
            let header = usize::from(bytes[0] & 0x0f) * 4;
            if header < 20 || header > len {
                return;
            }
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            bytes[10..12].fill(0);
            let sum = packet::sum(&[&bytes[..header]]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            let (src, dst) =
                ([bytes[12], bytes[13], bytes[14], bytes[15]], [bytes[16], bytes[17], bytes[18], bytes[19]]);
            mend_transport(bytes, header, bytes[9], src.into(), dst.into());
        }
        Some(6) if len >= 40 => {
            bytes[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
            let address = |from: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&bytes[from..from + 16]);
                IpAddr::from(octets)
            };
            let (src, dst) = (address(8), address(24));
            mend_transport(bytes, 40, bytes[6], src, dst);
        }
        _ => {}
    }
}

fn mend_transport(bytes: &mut [u8], header: usize, protocol: u8, src: IpAddr, dst: IpAddr) {
    let payload = &mut bytes[header..];
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        packet::ICMP | packet::ICMPV6 => 2,
        _ => return,
    };
    if payload.len() < at + 2 {
        return;
    }
    payload[at..at + 2].fill(0);
    let sum = match protocol {
        packet::ICMP => packet::sum(&[payload]),
        _ => packet::sum(&[&packet::pseudo(src, dst, protocol, payload.len()), payload]),
    };
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
