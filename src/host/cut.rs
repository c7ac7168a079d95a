//! A run of full segments that leave one after the other: planned once by TCP as a super-segment, and cut here where the link
//! takes packets of wire size only. What is on the wire is what single plans would have put there, for less work.

use crate::transport::tcp::ConnId;
use crate::wire::checksum::checksum;
use crate::wire::ip::V4_HEADER_LEN;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{self, Flags};
use core::net::IpAddr;

/// Where the flags stand in a TCP header, and the sequence number.
const FLAGS: usize = 13;
const SEQ: core::ops::Range<usize> = 4..8;

/// What is left of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub id: ConnId,
    pub src: IpAddr,
    pub dst: IpAddr,
    /// The next segment's.
    pub seq: SeqNumber,
    /// Octets of text that have not left.
    pub left: usize,
    /// Octets of text of each segment.
    pub size: usize,
    /// Octets of the IP header, and of both.
    pub ip: usize,
    pub headers: usize,
    /// Of the last segment; the others have neither FIN nor PSH.
    pub flags: Flags,
}

impl Cut {
    /// Octets of the next segment's text.
    pub fn len(&self) -> usize {
        self.left.min(self.size)
    }

    /// Makes `headers`, which are those of the run or of its last segment, the next one's, and goes on.
    pub fn advance(&mut self, headers: &mut [u8], text: &[&[u8]; 3]) {
        let len = self.len();
        self.left -= len;
        let (ip, segment) = headers[..self.headers].split_at_mut(self.ip);
        fit_ip(ip, segment.len() + len);
        let flags = if self.left == 0 { self.flags } else { self.flags & !(Flags::FIN | Flags::PSH) };
        segment[SEQ].copy_from_slice(&self.seq.0.to_be_bytes());
        segment[FLAGS] = flags.bits();
        self.seq = self.seq.add(len as u32);
        tcp::fill_checksum(segment, self.src, self.dst, text);
    }
}

/// The length fields for so many octets behind an IP header, and its checksum.
fn fit_ip(header: &mut [u8], payload: usize) {
    if header.len() > V4_HEADER_LEN {
        // IPv6: the length is the payload's.
        header[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
        return;
    }
    let len = (V4_HEADER_LEN + payload) as u16;
    header[2..4].copy_from_slice(&len.to_be_bytes());
    header[10..12].fill(0);
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}
