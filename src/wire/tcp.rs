//! A TCP segment as values: what a header says once its options are read, and what one is written from.
//!
//! RFC 9293 §3.1. Parsing checks structure only; whether a segment is acceptable is the connection's question.

use super::{Malformed, checksum::Sum, seq::SeqNumber};
use arrayvec::ArrayVec;
use bitflags::bitflags;
use core::fmt;
use core::net::IpAddr;
use etherparse::{TcpHeaderSlice, err::tcp::HeaderSliceError};

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

/// The cookie of a Fast Open option (RFC 7413 §4.1.1): 4 to 16 octets, an even number; empty in a request for one.
pub type FastOpenCookie = ArrayVec<u8, 16>;

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
    /// Fast Open (SYN only).
    pub fast_open: Option<FastOpenCookie>,
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

/// Protocol number of TCP.
pub const PROTOCOL: u8 = 6;
/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;
/// Octets of the longest header.
pub const MAX_HEADER_LEN: usize = 60;
/// Where in the header the checksum stands.
pub const CHECKSUM_OFFSET: u16 = 16;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;
const FAST_OPEN: u8 = 34;

/// Reads a segment from the payload of an IP packet; the checksum is [`verify`]'s question.
///
/// # Errors
/// [`Malformed`] when the header does not fit (data offset below 5 or beyond the segment).
pub fn parse(bytes: &[u8]) -> Result<Segment<'_>, Malformed> {
    let header = TcpHeaderSlice::from_slice(bytes).map_err(|error| match error {
        HeaderSliceError::Len(_) => Malformed::Truncated,
        HeaderSliceError::Content(_) => Malformed::Structure,
    })?;
    let slice = header.slice();
    Ok(Segment {
        src_port: header.source_port(),
        dst_port: header.destination_port(),
        seq: SeqNumber(header.sequence_number()),
        ack: SeqNumber(header.acknowledgment_number()),
        // RFC 9293 §3.1: reserved bits are ignored; the eight flags are one octet.
        flags: Flags::from_bits_retain(slice[13]),
        window: header.window_size(),
        urgent: header.urgent_pointer(),
        options: parse_options(&slice[HEADER_LEN..], header.syn()),
        payload: &bytes[slice.len()..],
    })
}

/// Is the checksum of a whole segment right (9293-MUST-3)?
pub fn verify(src: IpAddr, dst: IpAddr, bytes: &[u8]) -> bool {
    Sum::pseudo(src, dst, PROTOCOL, bytes.len()).with(bytes).is_valid()
}

/// The options of a header. Those that mean something only on a SYN are ignored elsewhere; an option that is not as
/// long as it must be is ignored; a length that cannot be ends the walk (9293-MUST-7).
fn parse_options(mut rest: &[u8], syn: bool) -> Options {
    let mut options = Options::default();
    // What nearly every segment carries: NOP, NOP, timestamps.
    if let [NOP, NOP, TIMESTAMPS, 10, value @ ..] = rest
        && let [v0, v1, v2, v3, e0, e1, e2, e3] = *value
    {
        options.timestamps = Some(Timestamps {
            value: u32::from_be_bytes([v0, v1, v2, v3]),
            echo: u32::from_be_bytes([e0, e1, e2, e3]),
        });
        return options;
    }
    while let [kind, tail @ ..] = rest {
        match kind {
            &END => break,
            &NOP => rest = tail,
            kind => {
                let Some(len) = tail.first().map(|len| usize::from(*len)) else { break };
                // RFC 9293 §3.1: a length counts kind and length; less, or more than there is, is nonsense.
                let Some(value) = rest.get(2..len) else { break };
                read_option(&mut options, *kind, value, syn);
                rest = &rest[len..];
            }
        }
    }
    options
}

fn read_option(options: &mut Options, kind: u8, value: &[u8], syn: bool) {
    match (kind, value) {
        (MSS, &[a, b]) if syn => options.mss = Some(u16::from_be_bytes([a, b])),
        (WINDOW_SCALE, &[shift]) if syn => options.window_scale = Some(shift),
        (SACK_PERMITTED, []) if syn => options.sack_permitted = true,
        (TIMESTAMPS, &[v0, v1, v2, v3, e0, e1, e2, e3]) => {
            options.timestamps = Some(Timestamps {
                value: u32::from_be_bytes([v0, v1, v2, v3]),
                echo: u32::from_be_bytes([e0, e1, e2, e3]),
            });
        }
        // RFC 7413 §4.1.1: any other length is as if the option were not there.
        (FAST_OPEN, cookie) if syn && matches!(cookie.len(), 0 | 4..=16) && cookie.len() % 2 == 0 => {
            options.fast_open = FastOpenCookie::try_from(cookie).ok();
        }
        (SACK, blocks) if !syn && !blocks.is_empty() && blocks.len() % 8 == 0 => {
            // A second SACK option adds to the first as far as there is room.
            for block in blocks.chunks_exact(8) {
                let edge = |at: usize| {
                    SeqNumber(u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]))
                };
                let _ = options.sack.try_push(SackBlock { left: edge(0), right: edge(4) });
            }
        }
        _ => {}
    }
}

/// Octets that `options` take in a header, padding included: a multiple of 4, at most 40.
pub fn option_len(options: &Options) -> usize {
    let mut buf = [0; MAX_HEADER_LEN];
    write_options(&mut buf, options) - HEADER_LEN
}

/// Writes the header of `segment` with the checksum field zero and returns its length. The payload is not looked at.
///
/// Options stand in Linux's order and padding: MSS, SACK permitted, timestamps, window scale, Fast Open, SACK blocks.
/// Blocks that find no room are left out.
pub fn emit_header(buf: &mut [u8; MAX_HEADER_LEN], segment: &Segment<'_>) -> usize {
    let len = write_options(buf, &segment.options);
    buf[0..2].copy_from_slice(&segment.src_port.to_be_bytes());
    buf[2..4].copy_from_slice(&segment.dst_port.to_be_bytes());
    buf[4..8].copy_from_slice(&segment.seq.0.to_be_bytes());
    buf[8..12].copy_from_slice(&segment.ack.0.to_be_bytes());
    buf[12] = (len as u8 / 4) << 4;
    buf[13] = segment.flags.bits();
    buf[14..16].copy_from_slice(&segment.window.to_be_bytes());
    buf[16..18].fill(0);
    buf[18..20].copy_from_slice(&segment.urgent.to_be_bytes());
    len
}

/// Completes the checksum of a header that `payload` follows (9293-MUST-2).
pub fn fill_checksum(header: &mut [u8], src: IpAddr, dst: IpAddr, payload: &[&[u8]]) {
    let len = header.len() + payload.iter().map(|part| part.len()).sum::<usize>();
    header[16..18].fill(0);
    let sum =
        payload.iter().fold(Sum::pseudo(src, dst, PROTOCOL, len).with(header), |sum, part| sum.with(part));
    header[16..18].copy_from_slice(&sum.checksum().to_be_bytes());
}

/// Puts the sum of the pseudo header into the checksum field, for a device that adds the rest.
pub fn fill_pseudo_checksum(header: &mut [u8], src: IpAddr, dst: IpAddr, payload_len: usize) {
    let sum = Sum::pseudo(src, dst, PROTOCOL, header.len() + payload_len).folded();
    header[16..18].copy_from_slice(&sum.to_be_bytes());
}

/// Writes options behind the fixed header and returns where they end.
fn write_options(buf: &mut [u8; MAX_HEADER_LEN], options: &Options) -> usize {
    let mut at = HEADER_LEN;
    let mut put = |bytes: &[u8]| {
        buf[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
        at
    };
    let mut end = HEADER_LEN;
    if let Some(mss) = options.mss {
        let [a, b] = mss.to_be_bytes();
        end = put(&[MSS, 4, a, b]);
    }
    if let Some(timestamps) = options.timestamps {
        // With timestamps SACK permitted takes the place of the two NOPs.
        let lead = if options.sack_permitted { [SACK_PERMITTED, 2] } else { [NOP, NOP] };
        put(&[lead[0], lead[1], TIMESTAMPS, 10]);
        put(&timestamps.value.to_be_bytes());
        end = put(&timestamps.echo.to_be_bytes());
    } else if options.sack_permitted {
        end = put(&[NOP, NOP, SACK_PERMITTED, 2]);
    }
    if let Some(shift) = options.window_scale {
        end = put(&[NOP, WINDOW_SCALE, 3, shift]);
    }
    if let Some(cookie) = &options.fast_open {
        put(&[FAST_OPEN, 2 + cookie.len() as u8]);
        end = put(cookie);
        while !end.is_multiple_of(4) {
            end = put(&[NOP]);
        }
    }
    let blocks = options.sack.len().min((MAX_HEADER_LEN - end).saturating_sub(4) / 8);
    if blocks > 0 {
        put(&[NOP, NOP, SACK, 2 + 8 * blocks as u8]);
        for block in &options.sack[..blocks] {
            put(&block.left.0.to_be_bytes());
            end = put(&block.right.0.to_be_bytes());
        }
    }
    end
}

#[cfg(test)]
mod tests;
