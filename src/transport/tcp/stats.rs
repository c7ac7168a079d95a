//! What a connection counts about itself, and its `TCP_INFO`.

use super::common::Common;
use super::congestion::Controller;
use super::fast_open::ClientFail;
use super::settings::TcpInfo;
use super::synchronized::Synchronized;
use crate::base::{Duration, Instant};

/// Counts of one connection.
#[derive(Clone, Debug, Default)]
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
        let ago = |at: Option<Instant>| at.map_or(0, |at| now.since(at).as_millis() as u32);
        TcpInfo {
            state: self.state().name(),
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
            snd_mss: snd.mss,
            rcv_mss: rcv.ack.segment,
            last_data_sent: ago(snd.last_sent),
            last_data_recv: ago(rcv.ack.last_data),
            last_ack_recv: ago(Some(self.timers.heard)),
            unacked: segments(snd.flight()),
            sacked: segments(snd.out.board.sacked()),
            lost: segments(snd.out.board.lost() + snd.out.board.again()),
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
            bytes_acked: snd.buffer.start(),
            bytes_received: rcv.buffer.next_offset(),
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
