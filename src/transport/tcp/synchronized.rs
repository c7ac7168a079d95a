//! The synchronized states but TIME-WAIT (RFC 9293 §3.3.2): two halves, a phase, timers.

use super::common::Common;
use super::congestion::{Congestion, Controller, initial_window};
use super::delayed_ack::{DelayedAck, Due};
use super::ecn::{Agreed, Ecn};
use super::fast_open::FastOpenState;
use super::mtu_probing::MtuSearch;
use super::pack::{pack_fields, pack_names};
use super::receiver::Receiver;
use super::recv_buffer::RecvBuffer;
use super::recv_window::RecvWindow;
use super::rto::Rto;
use super::rtt::Rtt;
use super::send_buffer::SendBuffer;
use super::sender::{Sender, SenderStart};
use super::stats::Stats;
use super::timers::{SendTimer, Timers};
use super::timestamps::Timestamps;
use crate::base::Duration;
use crate::trace::{TcpState, View};
use crate::transport::Env;
use crate::wire::seq::SeqNumber;

/// Which of the synchronized states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
}

impl Phase {
    /// As the RFC names it.
    pub fn state(self) -> TcpState {
        match self {
            Phase::Established => TcpState::Established,
            Phase::FinWait1 => TcpState::FinWait1,
            Phase::FinWait2 => TcpState::FinWait2,
            Phase::CloseWait => TcpState::CloseWait,
            Phase::Closing => TcpState::Closing,
            Phase::LastAck => TcpState::LastAck,
        }
    }
}

impl Phase {
    /// Does ABORT send a reset (RFC 9293 §3.10.5)?
    pub fn is_reset_by_abort(self) -> bool {
        match self {
            Phase::Established | Phase::FinWait1 | Phase::FinWait2 | Phase::CloseWait => true,
            Phase::Closing | Phase::LastAck => false,
        }
    }
}

/// What the SYNs agreed on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Agreement {
    /// The peer's MSS option; `None`: it sent none.
    pub mss: Option<u16>,
    /// The peer's shift and ours; `None`: no scaling.
    pub scale: Option<(u8, u8)>,
    pub sack: bool,
    pub timestamps: Option<Timestamps>,
    pub ecn: Agreed,
}

/// What was called for before the handshake was complete.
#[derive(Debug, Default)]
pub(super) struct Early {
    pub buffer: SendBuffer,
    /// Stream offset after urgent data.
    pub urgent: Option<u64>,
    pub shut_write: bool,
}

/// What a connection starts from when its handshake is complete.
pub(super) struct Start {
    pub irs: SeqNumber,
    /// Window that our SYN announced.
    pub rcv_wnd: u32,
    /// SND.WND, SND.WL1.
    pub snd_wnd: u32,
    pub wl1: SeqNumber,
    pub agreement: Agreement,
    /// Round-trip time of the handshake, if Karn allows it.
    pub rtt: Option<Duration>,
    /// Retransmissions of our SYN or SYN-ACK.
    pub syn_losses: u32,
    pub early: Option<Box<Early>>,
}

/// A synchronized connection.
#[derive(Debug)]
pub(super) struct Synchronized {
    pub phase: Phase,
    pub snd: Sender,
    pub rcv: Receiver,
    pub ecn: Ecn,
    /// The path MTU is searched by probes.
    pub mtu_search: Option<Box<MtuSearch>>,
    pub timers: Timers,
    pub stats: Stats,
    pub fast_open: Option<Box<FastOpenState>>,
}

pack_names!(Phase { Established, FinWait1, FinWait2, CloseWait, Closing, LastAck });
pack_fields!(Synchronized { phase, snd, rcv, ecn, timers, stats; mtu_search: None, fast_open: None });

impl Synchronized {
    pub fn new(common: &mut Common, env: &mut Env, start: Start) -> Synchronized {
        let Start { irs, rcv_wnd, snd_wnd, wl1, agreement, rtt: sample, syn_losses, early } = start;
        let least = env.config.tcp_min_snd_mss.min(65_535) as u16;
        let peer_mss = agreement.mss.unwrap_or(common.default_mss()).max(least);
        let option_octets = if agreement.timestamps.is_some() { 12 } else { 0 };
        let largest = common.path_mtu.min(u32::from(peer_mss) + common.header_octets());
        let overhead = common.header_octets() + option_octets;
        let mtu_search = (env.config.tcp_mtu_probing == 2)
            .then(|| Box::new(MtuSearch::new(env.config, env.now, overhead, largest)));
        let limit =
            mtu_search.as_ref().map_or(common.path_mtu, |search| search.packet_limit(common.path_mtu));
        let mss = effective_mss(common, limit, peer_mss, agreement.timestamps.is_some());
        let (mut rtt, mut rto) = (Rtt::default(), Rto::new(env.config, syn_losses > 0));
        if let Some(sample) = sample {
            rtt.sample(sample, env.now);
            rto.on_sample(&rtt, env.config);
        }
        let initial = initial_window(mss, env.config.tcp_init_cwnd, syn_losses);
        let (peer_scale, own_scale) = agreement.scale.unwrap_or((0, 0));
        let early = early.map(|early| *early).unwrap_or_default();
        let mut snd = Sender::new(SenderStart {
            iss: common.isn.iss,
            wnd: snd_wnd,
            wl1,
            scale: peer_scale,
            peer_mss,
            mss,
            buffer: early.buffer,
            rtt,
            rto,
            congestion: Congestion::open(env, common.settings.congestion, (initial, mss), sample),
            by_sack: agreement.sack,
        });
        snd.urgent = early.urgent.map(|offset| snd.seq(offset));
        let rcv = Receiver {
            irs,
            buffer: RecvBuffer::default(),
            fin: None,
            eof: false,
            window: RecvWindow::new(irs.add(1), rcv_wnd, own_scale),
            ssthresh: rcv_wnd,
            tuning: None,
            mss: common.own_mss(),
            last_ack_sent: irs.add(1),
            ack: DelayedAck::new(common.own_mss(), common.receive_capacity()),
            challenge_due: false,
            timestamps: agreement.timestamps,
            sack_permitted: agreement.sack,
            sack: None,
            urgent: None,
        };
        let ecn = Ecn::new(agreement.ecn, common.isn.iss);
        let (phase, timers) = (Phase::Established, Timers::new(env.now));
        let stats = Stats::new(env.now, common.origin, syn_losses);
        let mut sync = Synchronized { phase, snd, rcv, ecn, mtu_search, timers, stats, fast_open: None };
        sync.expand_snd_buf(common, env);
        if common.settings.quick_ack {
            sync.rcv.ack.set_quick(true);
        }
        if early.shut_write {
            sync.shut_write(common, env);
        }
        common.output_due = true;
        sync
    }

    /// The phase changed.
    pub fn enter(
        &mut self,
        common: &Common,
        env: &mut Env,
        phase: Phase,
        why: &'static str,
        rfc: &'static str,
    ) {
        common.moved(env, self.state(), phase.state(), why, rfc);
        self.phase = phase;
    }

    /// Is there nothing in it but what is packed?
    pub fn is_at_rest(&self) -> bool {
        let Synchronized { phase, snd, rcv, mtu_search, timers, fast_open, .. } = self;
        matches!(phase, Phase::Established | Phase::CloseWait | Phase::FinWait2)
            && snd.out.is_idle()
            && snd.buffer.is_at_rest()
            && rcv.buffer.is_at_rest()
            && rcv.ack.due == Due::No
            && rcv.sack.is_none()
            && (snd.urgent.is_none() && rcv.urgent.is_none())
            && snd.head_due.is_none()
            && !matches!(snd.congestion, Congestion::Bbr(_))
            && (mtu_search.is_none() && fast_open.is_none())
            && matches!(timers.send, SendTimer::Idle | SendTimer::KeepAlive { .. })
            && timers.probe_due.is_none()
    }

    /// Octets of memory behind it.
    pub fn memory_octets(&self) -> usize {
        let sack = self.rcv.sack.as_ref().map_or(0, |sack| size_of_val(&**sack) + 48 * sack.due.capacity());
        let sacked = self.snd.out.memory_octets();
        let tuning = self.rcv.tuning.as_ref().map_or(0, |tuning| size_of_val(&**tuning));
        let search = self.mtu_search.as_ref().map_or(0, |search| size_of_val(&**search));
        let buffers = self.snd.buffer.memory_octets() + self.rcv.buffer.memory_octets();
        size_of::<Synchronized>() + sack + sacked + tuning + search + buffers
    }

    /// The key variables at this moment.
    pub fn view(&self, common: &Common) -> View {
        View {
            state: self.state(),
            iss: common.isn.iss.0,
            irs: self.rcv.irs.0,
            snd_una: self.snd.una.0,
            snd_nxt: self.snd.nxt.0,
            snd_wnd: self.snd.wnd,
            rcv_nxt: self.rcv.nxt().0,
            rcv_wnd: self.rcv.wnd(),
            cwnd: self.snd.congestion.cwnd(),
            ssthresh: self.snd.congestion.ssthresh(),
            srtt: self.snd.rtt.srtt(),
            rto: self.snd.rto.interval,
        }
    }
}

/// Eff.snd.MSS (RFC 9293 §3.7.1, MUST-16): the smaller of the peer's MSS and what fits a packet of `limit` octets, less the options of
/// every segment.
pub(super) fn effective_mss(common: &Common, limit: u32, peer_mss: u16, timestamps: bool) -> u32 {
    let path = limit.saturating_sub(common.header_octets());
    let user = if common.settings.max_seg == 0 { u32::MAX } else { u32::from(common.settings.max_seg) };
    let options = if timestamps { 12 } else { 0 };
    // At least as much as options may need, whatever was announced.
    u32::from(peer_mss).min(path).min(user).saturating_sub(options).max(8)
}
