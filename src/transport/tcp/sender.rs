//! The sending half of a synchronized connection: RFC 9293's SND variables and what stands behind them.
//!
//! Invariants: SND.UNA ≤ SND.NXT ≤ end of the queued data + FIN; the buffer begins at SND.UNA; the scoreboard covers SND.UNA..SND.NXT.

use super::congestion::{Congestion, Controller};
use super::frto::Frto;
use super::in_flight::WhileInFlight;
use super::pack::{pack_fields, pack_names};
use super::rack::{DUP_THRESHOLD, Reordering};
use super::recovery::Mode;
use super::rto::Rto;
use super::rtt::Rtt;
use super::send_buffer::SendBuffer;
use crate::base::Instant;
use crate::trace::Why;
use crate::wire::seq::SeqNumber;

/// Why new data is held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Blocked {
    /// It is not.
    #[default]
    No,
    /// By the congestion window.
    Cwnd,
    /// Until its time has come (pacing).
    Pace,
    /// By a closed or full peer window.
    Window,
    /// By a window too small to be worth a segment.
    Silly,
    /// By Nagle's algorithm.
    Nagle,
    /// By `TCP_CORK` or `MSG_MORE`.
    Cork,
    /// By a mark on the last segment of the smallest window (RFC 3168).
    Mark,
}

pack_names!(Blocked { No, Cwnd, Pace, Window, Silly, Nagle, Cork, Mark });

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
    /// What is sent next was offered when nothing else was left to send.
    pub offered_late: bool,
    /// SND.UP, while it is not acknowledged.
    pub urgent: Option<SeqNumber>,
    /// End of the last segment sent that was not full.
    pub small_end: SeqNumber,
    /// Losses are found by RACK, not by counting duplicates: the peer sends SACK.
    pub by_sack: bool,
    /// What the past says about reordering.
    pub reordering: Reordering,
    pub out: WhileInFlight,
    pub rtt: Rtt,
    pub rto: Rto,
    pub congestion: Congestion,
    /// The segment at SND.UNA goes again, whatever the congestion window says.
    pub head_due: Option<Why>,
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
    /// End of the round trip as congestion control counts them.
    round: SeqNumber,
    /// The window was what limited sending.
    limited: bool,
    /// Something was sent since the last look.
    pub sent: bool,
}

pack_fields!(Usage { flight, until, round, limited, sent });

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
    pub by_sack: bool,
}

pack_fields!(Sender {
    first, una, nxt, wnd, wl1, wl2, max_wnd, scale, peer_mss, mss, buffer, was_writable, fin, more, push_once, offered_late,
    small_end, by_sack, reordering, rtt, rto, congestion, blocked, rough_start, last_sent, owed_since, usage;
    urgent: None, out: WhileInFlight::default(), head_due: None
});

impl Sender {
    pub fn new(start: SenderStart) -> Sender {
        let first = start.iss.add(1);
        // What a SYN carried and its SYN-ACK acknowledged is out of the buffer already (RFC 7413 §4.2.2).
        let una = first.add(start.buffer.start() as u32);
        Sender {
            first,
            una,
            nxt: una,
            wnd: start.wnd,
            wl1: start.wl1,
            wl2: una,
            max_wnd: start.wnd,
            scale: start.scale,
            peer_mss: start.peer_mss,
            mss: start.mss,
            buffer: start.buffer,
            was_writable: true,
            fin: false,
            more: false,
            push_once: false,
            offered_late: true,
            urgent: None,
            small_end: una,
            by_sack: start.by_sack,
            reordering: Reordering::default(),
            out: WhileInFlight::default(),
            rtt: start.rtt,
            rto: start.rto,
            congestion: start.congestion,
            head_due: None,
            blocked: Blocked::No,
            rough_start: false,
            last_sent: None,
            owed_since: None,
            usage: Usage { until: una, round: una, ..Usage::default() },
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
        if let Frto::Second { left } = self.out.recovery.frto {
            return left * self.mss;
        }
        let limited = self.out.recovery.limited_transmit(self.mss);
        let beyond = if self.congestion.steers_recovery() { 0 } else { limited };
        self.congestion.cwnd().saturating_add(beyond).saturating_sub(self.in_network())
    }

    /// More is about to be queued. As Linux (`tcp_rate_check_app_limited`): where that was waited for and not for the path, rates tell
    /// what the application offers until what is in flight now is delivered.
    pub fn on_offer(&mut self) {
        if self.unsent() >= self.mss || self.cwnd_room() == 0 || self.out.board.lost() > 0 {
            return;
        }
        self.offered_late = true;
        let in_flight = self.out.board.pipe();
        if let Some(out) = self.out.made() {
            out.rate.on_app_limited(in_flight);
        }
    }

    /// What counts against the congestion window. NewReno inflates the window instead of counting what has left; not of a controller
    /// that steers its window itself.
    pub fn in_network(&self) -> u32 {
        match self.out.recovery.mode {
            _ if self.congestion.steers_recovery() => self.pipe(),
            Mode::Fast if !self.by_sack => self.flight(),
            Mode::Open | Mode::Cwr | Mode::Fast | Mode::Loss => self.out.board.pipe(),
        }
    }

    /// Duplicates that mean a loss without SACK: more where things are reordered, but not more than what is in flight can draw.
    pub fn dup_threshold(&self) -> u32 {
        let most = (self.flight() / self.mss.max(1)).saturating_sub(1);
        self.reordering.segments().min(most).max(DUP_THRESHOLD)
    }

    /// In flight, without what duplicates tell of having arrived.
    pub fn pipe(&self) -> u32 {
        self.out.board.pipe().saturating_sub(self.out.recovery.arrived)
    }

    /// A loss was found; within the first window it shows that the window was too large for the path.
    pub fn note_loss(&mut self) {
        self.rough_start |= self.buffer.start() < 10 * u64::from(self.mss) && self.flight() > 4096;
    }

    /// Everything in flight is to be sent again.
    pub fn resend_all(&mut self) {
        self.head_due = None;
        if let Some(out) = self.out.made() {
            out.board.lose_all(None);
        }
        self.rtt.on_retransmit();
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

    /// Is all acknowledged that was in flight when the last round trip began? Then the next begins.
    pub fn new_round(&mut self, una: SeqNumber, nxt: SeqNumber) -> bool {
        let new = !una.before(self.round);
        if new {
            self.round = nxt;
        }
        new
    }

    /// A timeout emptied the path.
    pub fn reset(&mut self, nxt: SeqNumber) {
        *self = Usage { flight: 0, until: nxt, round: nxt, limited: true, sent: self.sent };
    }
}
