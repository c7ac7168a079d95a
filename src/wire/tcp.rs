//! A TCP segment as values: what a header says once its options are read, and what one is written from.
//!
//! RFC 9293 §3.1. Parsing checks structure only; whether a segment is acceptable is the connection's question.

use super::seq::SeqNumber;
use arrayvec::ArrayVec;
use bitflags::bitflags;
use core::fmt;

bitflags! {
    /// Control bits (RFC 9293 §3.1, RFC 3168).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// No more data from the sender.
        const FIN = 0x01;
        /// Synchronize sequence numbers.
        const SYN = 0x02;
        /// Reset the connection.
        const RST = 0x04;
        /// Push function.
        const PSH = 0x08;
        /// The acknowledgment field is significant.
        const ACK = 0x10;
        /// The urgent pointer is significant.
        const URG = 0x20;
        /// ECN-Echo (RFC 3168).
        const ECE = 0x40;
        /// Congestion window reduced (RFC 3168).
        const CWR = 0x80;
    }
}

impl fmt::Display for Flags {
    /// tcpdump's letters: `S` `F` `P` `R` `U` `E` `W`, `.` for ACK, `none` when empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [(Flags, char); 8] = [
            (Flags::FIN, 'F'),
            (Flags::SYN, 'S'),
            (Flags::RST, 'R'),
            (Flags::PSH, 'P'),
            (Flags::URG, 'U'),
            (Flags::ECE, 'E'),
            (Flags::CWR, 'W'),
            (Flags::ACK, '.'),
        ];
        if self.is_empty() {
            return f.write_str("none");
        }
        LETTERS
            .iter()
            .filter(|(flag, _)| self.contains(*flag))
            .try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// One timestamps option (RFC 7323 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval: the sender's clock.
    pub value: u32,
    /// TSecr: the echoed clock of the other side.
    pub echo: u32,
}

/// One SACK block: `left` up to, not including, `right` (RFC 2018 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SackBlock {
    /// First octet held.
    pub left: SeqNumber,
    /// First octet not held.
    pub right: SeqNumber,
}

/// The options that mean something to us, as found or as to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size (SYN only).
    pub mss: Option<u16>,
    /// Window scale shift as it stands in the option, not yet limited to 14 (SYN only).
    pub window_scale: Option<u8>,
    /// SACK permitted (SYN only).
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// SACK blocks, most recent first.
    pub sack: ArrayVec<SackBlock, 4>,
}

/// A segment that arrived or is to be sent; `payload` is lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Port of the sender.
    pub src_port: u16,
    /// Port of the receiver.
    pub dst_port: u16,
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK; meaningless without `Flags::ACK`.
    pub ack: SeqNumber,
    /// Control bits.
    pub flags: Flags,
    /// SEG.WND as it stands on the wire, not scaled.
    pub window: u16,
    /// SEG.UP.
    pub urgent: u16,
    /// The options.
    pub options: Options,
    /// The text.
    pub payload: &'a [u8],
}

impl Segment<'_> {
    /// SEG.LEN: octets of sequence space, SYN and FIN counted (RFC 9293 §3.4).
    pub fn len(&self) -> u32 {
        self.payload.len() as u32
            + u32::from(self.flags.contains(Flags::SYN))
            + u32::from(self.flags.contains(Flags::FIN))
    }

    /// Does it occupy no sequence space?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequence number after its last octet.
    pub fn end(&self) -> SeqNumber {
        self.seq.add(self.len())
    }
}
