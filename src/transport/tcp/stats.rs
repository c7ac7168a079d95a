//! What a connection counts about itself, and its `TCP_INFO`.

use super::chrono::Chrono;
use super::common::{Common, Origin};
use super::congestion::{Controller, RateSample};
use super::fast_open::ClientFail;
use super::pack::pack_fields;
use super::recovery::Mode;
use super::sender::Sender;
use super::settings::TcpInfo;
use super::synchronized::Synchronized;
use crate::base::{Duration, Instant};

/// What `tcpi_ato` shows once data came, in microseconds: Linux's `TCP_ATO_MIN`.
const DELAY: u64 = 40_000;

/// Counts of one connection.
#[derive(Clone, Debug)]
pub(super) struct Stats {
    pub bytes_sent: u64,
    pub bytes_retrans: u64,
    pub segs_out: u32,
    pub segs_in: u32,
    pub data_segs_out: u32,
    pub data_segs_in: u32,
    pub retrans: u32,
    /// Text on the SYN was taken, by whichever end.
    pub syn_data_acked: bool,
    /// Why our Fast Open failed.
    pub fast_open: ClientFail,
    /// Segments delivered, by SACK or in order.
    pub delivered: u32,
    /// Those of them that an acknowledgment with ECE told of.
    pub delivered_ce: u32,
    /// D-SACKs, and how often reordering was seen.
    pub dsack_dups: u32,
    pub reord_seen: u32,
    /// The last delivery rate in octets per second, and whether the application limited it.
    pub delivery_rate: u64,
    pub app_limited: bool,
    pub chrono: Chrono,
}

pack_fields!(Stats {
    bytes_sent,
    bytes_retrans,
    segs_out,
    segs_in,
    data_segs_out,
    data_segs_in,
    retrans,
    syn_data_acked,
    fast_open,
    delivered,
    delivered_ce,
    dsack_dups,
    reord_seen,
    delivery_rate,
    app_limited,
    chrono
});

impl Stats {
    /// What the handshake left, as Linux counts: each end took a SYN and had one delivered, but a SYN-ACK does not count as sent.
    /// `syn_losses` of them had to go again.
    pub fn new(now: Instant, origin: Origin, syn_losses: u32) -> Stats {
        Stats {
            bytes_sent: 0,
            bytes_retrans: 0,
            segs_out: if origin == Origin::Active { 1 + syn_losses } else { 0 },
            segs_in: 1,
            data_segs_out: 0,
            data_segs_in: 0,
            retrans: syn_losses,
            syn_data_acked: false,
            fast_open: ClientFail::default(),
            delivered: 1,
            delivered_ce: 0,
            dsack_dups: 0,
            reord_seen: 0,
            delivery_rate: 0,
            app_limited: false,
            chrono: Chrono::new(now),
        }
    }

    /// An acknowledgment told the rate. As Linux: what the application limited counts only when it is higher.
    pub fn on_rate(&mut self, sample: &RateSample) {
        let rate = u64::from(sample.delivered) * 1_000_000_000 / sample.interval.as_nanos().max(1);
        if !sample.app_limited || rate >= self.delivery_rate {
            (self.delivery_rate, self.app_limited) = (rate, sample.app_limited);
        }
    }
}

/// Linux's numbers of what a sender is doing about losses (`tcp_ca_state`).
fn ca_state(snd: &Sender) -> u8 {
    match snd.out.recovery.mode {
        Mode::Open if snd.out.board.sacked() > 0 || snd.out.recovery.dup_acks > 0 => 1,
        Mode::Open => 0,
        Mode::Cwr => 2,
        Mode::Fast => 3,
        Mode::Loss => 4,
    }
}

/// The controller's pacing rate; without one what Linux would pace by: twice the window in a round trip, later 1.2 times.
fn pacing_rate(snd: &Sender) -> u64 {
    let cwnd = snd.congestion.cwnd();
    let fifths = if cwnd < snd.congestion.ssthresh() / 2 { 10 } else { 6 };
    let srtt = snd.rtt.srtt().map_or(1_000_000, |srtt| srtt.as_nanos());
    let by_window = || u64::from(cwnd) * fifths * 200_000_000 / srtt.max(1);
    snd.congestion.pacing_rate().unwrap_or_else(by_window)
}

impl Synchronized {
    /// `getsockopt(TCP_INFO)`.
    pub fn info(&self, common: &Common, now: Instant) -> TcpInfo {
        let (snd, rcv) = (&self.snd, &self.rcv);
        let segments = |octets: u32| octets.div_ceil(snd.mss.max(1));
        let micros = |time: Duration| time.as_micros();
        let rttvar = match snd.rtt.estimate {
            super::rtt::Estimate::NoSample => Duration::ZERO,
            super::rtt::Estimate::Measured { rttvar, .. } => rttvar,
        };
        // As Linux, a SYN that we sent and a FIN are octets as well.
        let active = common.origin == Origin::Active;
        let spent = self.stats.chrono.spent(now);
        // What goes again as a probe is not thought lost.
        let probe = if snd.out.recovery.tail_loss.resent() { snd.mss } else { 0 };
        let ago = |at: Option<Instant>| at.map_or(0, |at| now.since(at).as_millis() as u32);
        TcpInfo {
            state: self.state().name(),
            ca_state: ca_state(snd),
            app_limited: self.stats.app_limited,
            reordering: snd.reordering.segments(),
            pacing_rate: pacing_rate(snd),
            delivery_rate: self.stats.delivery_rate,
            delivered: self.stats.delivered,
            delivered_ce: self.stats.delivered_ce,
            busy_time: spent.busy,
            rwnd_limited: spent.window,
            sndbuf_limited: spent.buffer,
            dsack_dups: self.stats.dsack_dups,
            reord_seen: self.stats.reord_seen,
            retransmits: u32::from(snd.rto.expiries),
            probes: self.timers.probes_unanswered(),
            backoff: u32::from(snd.rto.backoff),
            timestamps: rcv.timestamps.is_some(),
            sack: rcv.sack_permitted,
            window_scaling: snd.scale > 0 || rcv.window.scale > 0,
            ecn: self.ecn.is_on(),
            ecn_seen: self.ecn.seen,
            snd_wscale: snd.scale,
            rcv_wscale: rcv.window.scale,
            rto: micros(snd.rto.interval),
            ato: rcv.ack.last_data.map_or(0, |_| DELAY),
            snd_mss: snd.mss,
            rcv_mss: rcv.ack.segment,
            last_data_sent: ago(snd.last_sent),
            last_data_recv: ago(rcv.ack.last_data),
            last_ack_recv: ago(Some(self.timers.heard)),
            unacked: segments(snd.flight()),
            sacked: segments(snd.out.board.sacked() + snd.out.recovery.arrived),
            lost: segments(snd.out.board.lost() + snd.out.board.again().saturating_sub(probe)),
            retrans: segments(snd.out.board.again()),
            pmtu: common.path_mtu,
            rtt: snd.rtt.srtt().map_or(0, micros),
            rttvar: micros(rttvar),
            min_rtt: snd.rtt.min().map_or(0, micros),
            snd_ssthresh: match snd.congestion.ssthresh() {
                u32::MAX => u32::MAX >> 1,
                ssthresh => ssthresh / snd.mss.max(1),
            },
            snd_cwnd: snd.congestion.cwnd() / snd.mss.max(1),
            advmss: rcv.payload_mss(),
            rcv_space: rcv.space(),
            rcv_ssthresh: rcv.ssthresh,
            rcv_rtt: rcv.tuning.as_ref().map_or(0, |tuning| micros(tuning.rtt)),
            total_retrans: self.stats.retrans,
            bytes_acked: snd.buffer.start() + u64::from(active) + u64::from(snd.fin_acked()),
            bytes_received: rcv.buffer.next_offset() + u64::from(rcv.eof),
            bytes_sent: self.stats.bytes_sent,
            bytes_retrans: self.stats.bytes_retrans,
            segs_out: self.stats.segs_out,
            segs_in: self.stats.segs_in,
            data_segs_in: self.stats.data_segs_in,
            data_segs_out: self.stats.data_segs_out,
            notsent_bytes: snd.unsent(),
            snd_wnd: snd.wnd,
            rcv_wnd: rcv.wnd(),
            syn_data: self.stats.syn_data_acked,
            fast_open_client_fail: self.stats.fast_open as u8,
            rcv_ooopack: u32::try_from(rcv.buffer.ahead().len()).unwrap_or(u32::MAX),
        }
    }
}
