//! One connection from SYN-SENT or SYN-RECEIVED to CLOSED: its states, and what the table and the socket call.

use super::settings::{Settings, TcpInfo};
use crate::base::{Errno, Instant, MsgFlags, Readiness};
use crate::trace::{Drop, Flow, TcpState, View, Why};
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Options, Segment};

/// What a connection starts its numbers from; chosen by the table (RFC 6528, RFC 7323 §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isn {
    /// Initial send sequence number.
    pub iss: SeqNumber,
    /// Added to the millisecond clock in timestamps; the same for the same pair of sockets.
    pub ts_offset: u32,
}

/// What the IP layer knows about a segment that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentMeta {
    /// TOS or traffic class of the packet, with the ECN bits.
    pub tos: u8,
    /// Payload octets of each wire segment when this is a super-segment, else 0.
    pub segment_size: u16,
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was used.
    Taken,
    /// It was not; the connection does whatever has to be answered.
    Dropped(Drop),
    /// It was not, and the table answers it with a reset (RFC 9293 §3.10.7.1).
    Reset(Drop),
    /// A SYN that may open a new incarnation: the table replaces this connection, with an ISS above
    /// [`Connection::reopen_iss_floor`].
    Reopen,
}

/// What a packet may carry at most, beside the MSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Payload octets of a super-segment that the device cuts; below two segments, none are built.
    pub max_payload: u32,
}

/// A segment to send; the payload is lent.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// SEG.SEQ.
    pub seq: SeqNumber,
    /// SEG.ACK; zero without `Flags::ACK`.
    pub ack: SeqNumber,
    /// Control bits. Of a super-segment's, PSH and FIN belong to the last segment.
    pub flags: Flags,
    /// The window field as on the wire.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// The options.
    pub options: Options,
    /// The text in up to three pieces, in order; some may be empty.
    pub payload: [&'a [u8]; 3],
    /// Payload octets of each wire segment when this is a super-segment, else 0.
    pub segment_size: u16,
    /// Why it is sent.
    pub why: Why,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class, with the ECN bits.
    pub tos: u8,
    /// Set DF (IPv4).
    pub dont_fragment: bool,
    /// The connection before this segment; only when the trace is on.
    pub before: Option<View>,
}

/// What a receive call got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Octets written to the buffer (with `MsgFlags::TRUNC`: thrown away).
    pub len: usize,
    /// It was the urgent octet.
    pub oob: bool,
}

/// One TCP connection.
///
/// Handlers change state and mark work as due; only [`next_segment`](Connection::next_segment) builds segments.
/// After any call: drain `next_segment`, then look at `take_wakes` and `deadline`. Once `is_closed`, and nothing is left to send,
/// a connection without a user can be dropped.
pub struct Connection {}

#[allow(unused_variables, missing_docs, clippy::too_many_arguments)]
impl Connection {
    /// Active open: the SYN is due. `path_mtu` is the largest IP packet to the destination, headers included.
    pub fn connect(env: &mut Env, flow: Flow, isn: Isn, settings: Settings, path_mtu: u32) -> Connection {
        todo!()
    }

    /// Passive open from a valid SYN: SYN-RECEIVED, the SYN-ACK is due.
    pub fn accept_syn(
        env: &mut Env,
        flow: Flow,
        isn: Isn,
        syn: &Segment<'_>,
        settings: Settings,
        path_mtu: u32,
    ) -> Connection {
        todo!()
    }

    // --- events --------------------------------------------------------------------------------------------------

    /// A segment arrived.
    pub fn on_segment(&mut self, env: &mut Env, seg: &Segment<'_>, meta: SegmentMeta) -> Verdict {
        todo!()
    }

    /// An ICMP error arrived that quotes this connection. `mtu` only for "fragmentation needed" and "packet too big".
    /// False: the quote was of nothing in flight, and nothing was done.
    pub fn on_icmp(
        &mut self,
        env: &mut Env,
        error: Errno,
        hard: bool,
        mtu: Option<u32>,
        quoted_seq: Option<SeqNumber>,
    ) -> bool {
        todo!()
    }

    /// The path to the destination takes other packet sizes from now on.
    pub fn set_path_mtu(&mut self, env: &mut Env, path_mtu: u32) {
        todo!()
    }

    /// Some deadline has passed.
    pub fn on_timeout(&mut self, env: &mut Env) {
        todo!()
    }

    /// When to call `on_timeout` at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        todo!()
    }

    // --- output --------------------------------------------------------------------------------------------------

    /// Might `next_segment` have something? True at most once too often.
    pub fn has_output(&self) -> bool {
        todo!()
    }

    /// The next segment to send. Call until `None` after every batch of input.
    pub fn next_segment(&mut self, env: &mut Env, limits: &Limits) -> Option<Outgoing<'_>> {
        todo!()
    }

    /// The text of a segment that `next_segment` just built, again: `len` octets from `seq`. Empty pieces for a segment
    /// without text. The host looks at it a second time, after the segment's headers are written.
    pub fn payload(&self, seq: SeqNumber, len: usize) -> [&[u8]; 3] {
        todo!()
    }

    // --- user calls (non-blocking, Linux's error numbers) -------------------------------------------------------

    /// Queues data; returns how much was taken. Flags: `OOB`, `MORE`, `EOR`.
    pub fn send(&mut self, env: &mut Env, data: &[u8], flags: MsgFlags) -> Result<usize, Errno> {
        todo!()
    }

    /// Takes received data. Flags: `PEEK`, `OOB`, `TRUNC` (throw away instead of copying).
    pub fn recv(&mut self, env: &mut Env, buf: &mut [u8], flags: MsgFlags) -> Result<Read, Errno> {
        todo!()
    }

    /// Shuts one or both directions.
    pub fn shutdown(&mut self, env: &mut Env, read: bool, write: bool) -> Result<(), Errno> {
        todo!()
    }

    /// The user is gone. Unread data makes it a reset, else the connection ends in the background.
    pub fn close(&mut self, env: &mut Env) {
        todo!()
    }

    /// Reset now; the user may or may not stay.
    pub fn abort(&mut self, env: &mut Env) {
        todo!()
    }

    /// Settings were changed.
    pub fn apply(&mut self, env: &mut Env, settings: Settings) {
        todo!()
    }

    /// Ends with `error` and without a packet.
    pub fn fail(&mut self, env: &mut Env, error: Errno) {
        todo!()
    }

    /// `SO_ERROR`: the pending error, else a soft one; cleared by reading.
    pub fn take_error(&mut self) -> Option<Errno> {
        todo!()
    }

    /// The last soft error that no progress has cleared (RFC 9293 §3.9.1.8).
    pub fn soft_error(&self) -> Option<Errno> {
        todo!()
    }

    // --- questions -----------------------------------------------------------------------------------------------

    pub fn flow(&self) -> Flow {
        todo!()
    }
    /// Largest payload of a segment at the moment (`TCP_MAXSEG` as read).
    pub fn mss(&self) -> u32 {
        todo!()
    }
    pub fn settings(&self) -> &Settings {
        todo!()
    }
    pub fn state(&self) -> TcpState {
        todo!()
    }
    pub fn view(&self) -> View {
        todo!()
    }
    pub fn info(&self, now: Instant) -> TcpInfo {
        todo!()
    }
    /// What `poll` reports now, as Linux's `tcp_poll`.
    pub fn readiness(&self) -> Readiness {
        todo!()
    }
    /// Edges since the last call; data that joins data already readable is an edge too (`EPOLLET`).
    pub fn take_wakes(&mut self) -> Readiness {
        todo!()
    }
    /// Has the user closed it?
    pub fn is_orphan(&self) -> bool {
        todo!()
    }
    /// Is it over: CLOSED, no timer runs (a last reset may still be due)?
    pub fn is_closed(&self) -> bool {
        todo!()
    }
    /// Was it opened by a peer's SYN?
    pub fn is_passive(&self) -> bool {
        todo!()
    }
    /// `FIONREAD`.
    pub fn bytes_readable(&self) -> usize {
        todo!()
    }
    /// Octets queued and not acknowledged (`SIOCOUTQ`).
    pub fn bytes_unacked(&self) -> usize {
        todo!()
    }
    /// `SIOCATMARK`.
    pub fn at_mark(&self) -> bool {
        todo!()
    }
    /// Has it data or a FIN that the peer has not acknowledged?
    pub fn lingers(&self) -> bool {
        todo!()
    }
    /// Octets of memory it holds.
    pub fn memory_octets(&self) -> usize {
        todo!()
    }
    /// Largest IP packet to the destination, as known here.
    pub fn path_mtu(&self) -> u32 {
        todo!()
    }
    /// A new incarnation's ISS must lie above this (RFC 9293 §3.6.1, RFC 6191 §2).
    pub fn reopen_iss_floor(&self) -> SeqNumber {
        todo!()
    }
    /// Everything that must hold at any time; `Err` says what does not. For tests and simulations.
    pub fn check_invariants(&self) -> Result<(), String> {
        todo!()
    }
}
