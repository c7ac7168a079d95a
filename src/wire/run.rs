//! TCP segments that follow each other without a gap, joined into a super-segment while they are read, as Linux's GRO does: each
//! is read behind the last one's text, over whose end its headers stand for a moment.
//!
//! Joined is what differs in nothing but the sequence number, with checksums that are right. Whatever else comes ends the run.

use super::checksum::{Sum, checksum};
use super::ip::{V4_HEADER_LEN, V6_HEADER_LEN};
use super::packet::RxMeta;
use super::tcp;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

/// Less text than this is not worth looking for more of it.
const LEAST: usize = 512;
/// Longest IP packet.
const MOST: usize = 65_535;
const MAX_HEADERS: usize = V6_HEADER_LEN + tcp::MAX_HEADER_LEN;

const SEQ: Range<usize> = 4..8;
const FLAGS: usize = 13;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// A super-segment that grows at the beginning of a buffer.
#[derive(Debug)]
pub struct Run {
    /// Octets of the IP header, and of both.
    ip: usize,
    headers: usize,
    /// Octets of the first segment's text: none has more.
    size: usize,
    /// Octets of it all.
    len: usize,
    segments: usize,
    /// Sequence number after the text.
    next: u32,
    /// Nothing follows any more.
    over: bool,
    /// What stands where the next packet's headers are read.
    covered: [u8; MAX_HEADERS],
}

impl Run {
    /// A run that begins with `packet`, if others may follow.
    pub fn begin(packet: &[u8]) -> Option<Run> {
        let (ip, headers) = headers(packet)?;
        let size = packet.len() - headers;
        if packet[ip + FLAGS] != ACK || size < LEAST || !is_intact(packet, ip) {
            return None;
        }
        let next = seq(&packet[ip..]).wrapping_add(size as u32);
        let len = packet.len();
        Some(Run { ip, headers, size, len, segments: 1, next, over: false, covered: [0; MAX_HEADERS] })
    }

    /// Where the next packet is to be read, of at most `mtu` octets; `None` when the run is over. Followed by [`Run::join`].
    pub fn room<'a>(&mut self, buffer: &'a mut [u8], mtu: usize) -> Option<&'a mut [u8]> {
        let at = self.len - self.headers;
        if self.over || at + mtu > buffer.len().min(MOST) {
            return None;
        }
        self.covered[..self.headers].copy_from_slice(&buffer[at..self.len]);
        Some(&mut buffer[at..])
    }

    /// Joins what was read into the room, if it follows. If it does not it is given back, and the run is over.
    pub fn join<'a>(&mut self, buffer: &'a mut [u8], len: usize) -> Option<&'a [u8]> {
        let at = self.len - self.headers;
        let (run, packet) = buffer.split_at(at);
        let packet = &packet[..len];
        if !self.follows(run, packet) {
            self.over = true;
            return Some(&buffer[at..at + len]);
        }
        let text = len - self.headers;
        let pushed = packet[self.ip + FLAGS] & PSH;
        self.uncover(buffer);
        buffer[self.ip + FLAGS] |= pushed;
        self.over = pushed != 0 || text < self.size;
        self.next = self.next.wrapping_add(text as u32);
        self.len += text;
        self.segments += 1;
        None
    }

    /// Puts back what stood where a packet was read, or nothing was.
    pub fn uncover(&self, buffer: &mut [u8]) {
        buffer[self.len - self.headers..self.len].copy_from_slice(&self.covered[..self.headers]);
    }

    /// Makes it one packet: its length, and what there is to know about it.
    pub fn end(self, buffer: &mut [u8]) -> (usize, RxMeta) {
        let whole = RxMeta { checksum_trusted: true, segment_size: 0 };
        if self.segments == 1 {
            return (self.len, whole);
        }
        if self.ip == V4_HEADER_LEN {
            buffer[2..4].copy_from_slice(&(self.len as u16).to_be_bytes());
            buffer[10..12].fill(0);
            let sum = checksum(&buffer[..V4_HEADER_LEN]);
            buffer[10..12].copy_from_slice(&sum.to_be_bytes());
        } else {
            buffer[4..6].copy_from_slice(&((self.len - V6_HEADER_LEN) as u16).to_be_bytes());
        }
        (self.len, RxMeta { segment_size: self.size as u16, ..whole })
    }

    /// Wire segments in it.
    pub fn segments(&self) -> usize {
        self.segments
    }

    fn follows(&self, run: &[u8], packet: &[u8]) -> bool {
        let Some((ip, headers)) = headers(packet) else { return false };
        let text = packet.len() - headers;
        if (ip, headers) != (self.ip, self.headers) || text > self.size || seq(&packet[ip..]) != self.next {
            return false;
        }
        // The headers of the run, where they are not covered: the first text is longer than they are.
        let (a, b) = (&run[..headers], &packet[..headers]);
        let same = |range: Range<usize>| a[range.clone()] == b[range];
        let same_ip = match ip {
            V4_HEADER_LEN => same(0..2) && same(6..10) && same(12..20),
            _ => same(0..4) && same(6..40),
        };
        let flags = a[ip + FLAGS] ^ b[ip + FLAGS];
        // Ports; acknowledgment and data offset; window; urgent pointer and options.
        let same_tcp = same(ip..ip + 4)
            && same(ip + 8..ip + 13)
            && flags & !PSH == 0
            && same(ip + 14..ip + 16)
            && same(ip + 18..headers);
        same_ip && same_tcp && is_intact(packet, ip)
    }
}

/// Octets of the IP header, and of both, of a packet of TCP with text that is whole, without options of IP.
fn headers(packet: &[u8]) -> Option<(usize, usize)> {
    let field = |at: usize| packet.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let ip = match packet.first()? {
        0x45 => {
            let whole = usize::from(field(2)?) == packet.len() && field(6)? & 0x3fff == 0;
            (whole && *packet.get(9)? == tcp::PROTOCOL).then_some(V4_HEADER_LEN)?
        }
        first if first >> 4 == 6 => {
            let whole = usize::from(field(4)?) + V6_HEADER_LEN == packet.len();
            (whole && *packet.get(6)? == tcp::PROTOCOL).then_some(V6_HEADER_LEN)?
        }
        _ => return None,
    };
    let segment = usize::from(packet.get(ip + 12)? >> 4) * 4;
    (segment >= tcp::HEADER_LEN && packet.len() > ip + segment).then_some((ip, ip + segment))
}

/// Are the checksums right (9293-MUST-3)?
fn is_intact(packet: &[u8], ip: usize) -> bool {
    let (src, dst): (IpAddr, IpAddr) = if ip == V4_HEADER_LEN {
        if checksum(&packet[..ip]) != 0 {
            return false;
        }
        (Ipv4Addr::from(octets(packet, 12)).into(), Ipv4Addr::from(octets(packet, 16)).into())
    } else {
        (Ipv6Addr::from(octets(packet, 8)).into(), Ipv6Addr::from(octets(packet, 24)).into())
    };
    Sum::pseudo(src, dst, tcp::PROTOCOL, packet.len() - ip).with(&packet[ip..]).is_valid()
}

fn octets<const N: usize>(packet: &[u8], at: usize) -> [u8; N] {
    let mut octets = [0; N];
    octets.copy_from_slice(&packet[at..at + N]);
    octets
}

fn seq(segment: &[u8]) -> u32 {
    u32::from_be_bytes(octets(segment, SEQ.start))
}

#[cfg(test)]
#[path = "run/tests.rs"]
mod tests;
