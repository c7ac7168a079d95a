//! The sending half of a synchronized connection: RFC 9293's SND variables and what stands behind them.
//!
//! Invariants: SND.UNA ≤ SND.NXT ≤ end of the queued data + FIN; the buffer begins at SND.UNA; SACKed ranges lie within what is in
//! flight; `resend` lies within SND.UNA..SND.NXT.

use super::congestion::{Congestion, Controller};
use super::recovery::Recovery;
use super::rto::Rto;
use super::rtt::Rtt;
use super::send_buffer::SendBuffer;
use crate::base::{Instant, RangeSet};
use crate::trace::Why;
use crate::wire::seq::SeqNumber;

/// Data to be sent again, in order, as the congestion window allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resend {
    pub from: SeqNumber,
    pub to: SeqNumber,
    pub why: Why,
}

/// Why new data is held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Blocked {
    /// It is not.
    #[default]
    No,
    /// By the congestion window.
    Cwnd,
    /// By a closed or full peer window.
    Window,
    /// By a window too small to be worth a segment.
    Silly,
    /// By Nagle's algorithm.
    Nagle,
    /// By `TCP_CORK` or `MSG_MORE`.
    Cork,
}

/// SND.
#[derive(Debug)]
pub(super) struct Sender {
    /// Sequence number of stream offset 0: ISS + 1.
    first: SeqNumber,
    pub una: SeqNumber,
    pub nxt: SeqNumber,
    /// SND.WND in octets.
    pub wnd: u32,
    pub wl1: SeqNumber,
    pub wl2: SeqNumber,
    /// Largest SND.WND seen (RFC 9293 §3.8.6.2.1, RFC 5961 §5).
    pub max_wnd: u32,
    /// The peer's shift.
    pub scale: u8,
    /// SendMSS: what the peer announced, bounded.
    pub peer_mss: u16,
    /// Eff.snd.MSS: payload of a full segment, timestamps subtracted.
    pub mss: u32,
    pub buffer: SendBuffer,
    /// Did the buffer have room for the user when last looked at?
    pub was_writable: bool,
    /// The user has shut the sending side: FIN follows the data.
    pub fin: bool,
    /// The last `send` said `MSG_MORE`.
    pub more: bool,
    /// Cork and Nagle are overruled once.
    pub push_once: bool,
    /// SND.UP, while it is not acknowledged.
    pub urgent: Option<SeqNumber>,
    /// End of the last segment sent that was not full.
    pub small_end: SeqNumber,
    /// What the peer holds out of order (RFC 2018), by stream offset.
    pub sacked: RangeSet,
    pub rtt: Rtt,
    pub rto: Rto,
    pub congestion: Congestion,
    pub recovery: Recovery,
    /// The segment at SND.UNA goes again, whatever the congestion window says.
    pub head_due: Option<Why>,
    pub resend: Option<Resend>,
    pub blocked: Blocked,
    /// Something of the initial window was lost: later restarts are more careful (RFC 6928 §2).
    pub rough_start: bool,
    /// When data was last sent, for restart after idle time.
    pub last_sent: Option<Instant>,
    /// Since when the peer owes an acknowledgment or a window (user timeout).
    pub owed_since: Option<Instant>,
    pub usage: Usage,
}

/// How much of the congestion window is used (RFC 7661's concern, done as Linux's `tcp_cwnd_validate`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Largest flight of this round trip.
    pub flight: u32,
    /// End of the round trip.
    until: SeqNumber,
    /// The window was what limited sending.
    limited: bool,
    /// Something was sent since the last look.
    pub sent: bool,
}

/// What a sender starts from.
pub(super) struct SenderStart {
    pub iss: SeqNumber,
    pub wnd: u32,
    pub wl1: SeqNumber,
    pub scale: u8,
    pub peer_mss: u16,
    pub mss: u32,
    pub buffer: SendBuffer,
    pub rtt: Rtt,
    pub rto: Rto,
    pub congestion: Congestion,
}

impl Sender {
    pub fn new(start: SenderStart) -> Sender {
        let first = start.iss.add(1);
        Sender {
            first,
            una: first,
            nxt: first,
            wnd: start.wnd,
            wl1: start.wl1,
            wl2: first,
            max_wnd: start.wnd,
            scale: start.scale,
            peer_mss: start.peer_mss,
            mss: start.mss,
            buffer: start.buffer,
            was_writable: true,
            fin: false,
            more: false,
            push_once: false,
            urgent: None,
            small_end: first,
            sacked: RangeSet::new(),
            rtt: start.rtt,
            rto: start.rto,
            congestion: start.congestion,
            recovery: Recovery::new(start.iss),
            head_due: None,
            resend: None,
            blocked: Blocked::No,
            rough_start: false,
            last_sent: None,
            owed_since: None,
            usage: Usage { until: first, ..Usage::default() },
        }
    }

    /// The sequence number of a stream offset.
    pub fn seq(&self, offset: u64) -> SeqNumber {
        self.first.add(offset as u32)
    }

    /// The stream offset of a sequence number from SND.UNA on.
    pub fn offset(&self, seq: SeqNumber) -> u64 {
        let start = self.seq(self.buffer.start());
        self.buffer.start() + u64::from(seq.since(start).unwrap_or(0))
    }

    /// The sequence number after all data that was queued: the FIN's.
    pub fn data_end(&self) -> SeqNumber {
        self.seq(self.buffer.end())
    }

    /// Octets queued and never sent.
    pub fn unsent(&self) -> u32 {
        self.data_end().since(self.nxt).unwrap_or(0)
    }

    /// Was the FIN sent?
    pub fn fin_sent(&self) -> bool {
        self.fin && self.nxt.after(self.data_end())
    }

    /// Is the FIN acknowledged?
    pub fn fin_acked(&self) -> bool {
        self.fin && self.una.after(self.data_end())
    }

    /// Is there data or a FIN that was never sent?
    pub fn wants_to_send(&self) -> bool {
        self.unsent() > 0 || self.fin && !self.fin_sent()
    }

    /// FlightSize: sent and not acknowledged.
    pub fn flight(&self) -> u32 {
        self.nxt.distance_from(self.una)
    }

    /// The first sequence number beyond the peer's window.
    pub fn window_end(&self) -> SeqNumber {
        self.una.add(self.wnd)
    }

    /// Octets that the peer's window still takes; zero also when the peer has shrunk it below the flight (MUST-34).
    pub fn window_room(&self) -> u32 {
        self.window_end().since(self.nxt).unwrap_or(0)
    }

    /// Octets of new data that the congestion window still takes, limited transmit included.
    pub fn cwnd_room(&self) -> u32 {
        let window = self.congestion.cwnd().saturating_add(self.recovery.limited_transmit(self.mss));
        window.saturating_sub(self.flight())
    }

    /// Octets sent again and presumably in flight, while `resend` is under way: what was before it is lost or SACKed.
    pub fn resend_pipe(&self, from: SeqNumber) -> u32 {
        let (start, end) = (self.offset(self.una), self.offset(from));
        let held: u64 =
            self.sacked.iter().take_while(|r| r.start < end).map(|r| r.end.min(end) - r.start).sum();
        (end - start).saturating_sub(held) as u32
    }

    /// A loss was found; within the first window it shows that the window was too large for the path.
    pub fn note_loss(&mut self) {
        self.rough_start |= self.buffer.start() < 10 * u64::from(self.mss) && self.flight() > 4096;
    }

    /// Everything in flight is to be sent again.
    pub fn resend_all(&mut self, why: Why) {
        self.head_due = None;
        self.resend = (self.una != self.nxt).then_some(Resend { from: self.una, to: self.nxt, why });
    }

    /// SND.NXT for a segment without text: within the peer's window even after the peer has shrunk it.
    pub fn acceptable_seq(&self) -> SeqNumber {
        let end = self.window_end();
        let granule = 1u32 << self.scale;
        if self.nxt.at_or_before(end) || self.nxt.distance_from(end) < granule { self.nxt } else { end }
    }

    /// Has the buffer room enough to wake a writer: a third free, and little of it unsent (`sk_stream_is_writeable`)?
    pub fn is_writable(&self, snd_buf: u32, notsent_lowat: u32) -> bool {
        let used = self.buffer.len();
        let free = (snd_buf as usize).saturating_sub(used);
        free > 0 && free >= used / 2 && u64::from(self.unsent()) * 2 < u64::from(notsent_lowat)
    }
}

impl Usage {
    /// The output round is over: note how much of the congestion window was in use.
    pub fn on_round_end(&mut self, una: SeqNumber, nxt: SeqNumber, limited: bool) {
        if !core::mem::take(&mut self.sent) {
            return;
        }
        let flight = nxt.distance_from(una);
        let new_round = !una.before(self.until);
        if new_round || limited || (!self.limited && flight > self.flight) {
            self.limited = limited;
            self.flight = flight;
            self.until = nxt;
        }
    }

    /// May the window grow? Only when it was in use: in slow start when more than half of it was.
    pub fn allows_growth(&self, cwnd: u32, ssthresh: u32) -> bool {
        self.limited || cwnd < ssthresh && cwnd < self.flight.saturating_mul(2)
    }

    /// A timeout emptied the path.
    pub fn reset(&mut self, nxt: SeqNumber) {
        *self = Usage { flight: 0, until: nxt, limited: true, sent: self.sent };
    }
}
