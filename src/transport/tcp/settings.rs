//! What a user can set on one connection, and what one tells about itself.

use crate::base::config::CongestionControl;
use crate::base::{Config, Duration};

/// The settings of one connection. A listener's are inherited by what it accepts, as on Linux.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `TCP_NODELAY`: Nagle off.
    pub no_delay: bool,
    /// `TCP_CORK`: hold partial segments, at most 200 ms.
    pub cork: bool,
    /// `TCP_QUICKACK`: do not delay acknowledgments for now.
    pub quick_ack: bool,
    /// `SO_OOBINLINE`: urgent data stays in the stream.
    pub oob_inline: bool,
    /// `SO_KEEPALIVE`.
    pub keep_alive: bool,
    /// `TCP_KEEPIDLE`.
    pub keep_idle: Duration,
    /// `TCP_KEEPINTVL`.
    pub keep_intvl: Duration,
    /// `TCP_KEEPCNT`.
    pub keep_cnt: u32,
    /// `TCP_USER_TIMEOUT`; zero: by retransmission count.
    pub user_timeout: Duration,
    /// `TCP_SYNCNT`.
    pub syn_retries: u32,
    /// `TCP_LINGER2`: time an orphan stays in FIN-WAIT-2.
    pub linger2: Duration,
    /// `TCP_MAXSEG`: bounds the MSS sent and used; 0: none.
    pub max_seg: u16,
    /// Octets the send buffer may hold, at first unless `snd_buf_locked`.
    pub snd_buf: u32,
    /// Octets the receive buffer may hold, at first unless `rcv_buf_locked`.
    pub rcv_buf: u32,
    /// `SO_RCVLOWAT`.
    pub rcv_lowat: u32,
    /// Was the size of the receive buffer set by the user (then it is never tuned)?
    pub rcv_buf_locked: bool,
    /// Was the size of the send buffer set by the user?
    pub snd_buf_locked: bool,
    /// `TCP_WINDOW_CLAMP`; 0: none.
    pub window_clamp: u32,
    /// `TCP_NOTSENT_LOWAT`; u32::MAX: none.
    pub notsent_lowat: u32,
    /// TOS or traffic class, without the two ECN bits.
    ///
    /// conformance-review: 9293-SHLD-23
    /// None of our applications changes it during a connection.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Controller of the connection.
    pub congestion: CongestionControl,
    /// Discover the path MTU (DF set).
    pub discover_mtu: bool,
}

impl Settings {
    /// What a fresh socket starts with.
    pub fn new(config: &Config) -> Settings {
        Settings {
            no_delay: false,
            cork: false,
            quick_ack: false,
            oob_inline: false,
            keep_alive: false,
            keep_idle: config.tcp_keepalive_time,
            keep_intvl: config.tcp_keepalive_intvl,
            keep_cnt: config.tcp_keepalive_probes,
            user_timeout: Duration::ZERO,
            syn_retries: config.tcp_syn_retries,
            linger2: config.tcp_fin_timeout,
            max_seg: 0,
            snd_buf: config.tcp_wmem[1],
            rcv_buf: config.tcp_rmem[1],
            rcv_lowat: 1,
            rcv_buf_locked: false,
            snd_buf_locked: false,
            window_clamp: 0,
            notsent_lowat: u32::MAX,
            tos: 0,
            ttl: config.ip_default_ttl.min(255) as u8,
            congestion: config.tcp_congestion_control,
            discover_mtu: !config.ip_no_pmtu_disc,
        }
    }
}

/// A connection at this moment: fields, units and meanings of Linux's `struct tcp_info`.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct TcpInfo {
    /// RFC name of the state.
    pub state: &'static str,
    /// What is done about losses: 0 Open, 1 Disorder, 2 CWR, 3 Recovery, 4 Loss.
    pub ca_state: u8,
    /// The delivery rate is what the application offered, not what the path takes.
    pub app_limited: bool,
    /// Segments.
    pub reordering: u32,
    /// Octets per second.
    pub pacing_rate: u64,
    /// Octets per second.
    pub delivery_rate: u64,
    /// Segments.
    pub delivered: u32,
    /// Segments of them that the peer told of with ECE.
    pub delivered_ce: u32,
    /// Microseconds with something to send.
    pub busy_time: u64,
    /// Microseconds of them that the peer's window held it up.
    pub rwnd_limited: u64,
    /// Microseconds of them that the send buffer was too small.
    pub sndbuf_limited: u64,
    /// D-SACKs that came.
    pub dsack_dups: u32,
    /// How often reordering was seen first.
    pub reord_seen: u32,
    pub retransmits: u32,
    pub probes: u32,
    pub backoff: u32,
    pub timestamps: bool,
    pub sack: bool,
    pub window_scaling: bool,
    /// Text on the SYN was acknowledged with it (Fast Open).
    pub syn_data: bool,
    /// Why text did not go with our SYN: 0 it did or was not to, 1 no cookie, 2 not acknowledged, 3 the SYN was lost.
    pub fast_open_client_fail: u8,
    pub ecn: bool,
    /// The peer has sent what routers may mark.
    pub ecn_seen: bool,
    pub snd_wscale: u8,
    pub rcv_wscale: u8,
    /// Microseconds.
    pub rto: u64,
    /// Microseconds that an acknowledgment is delayed; 0 before any data came.
    pub ato: u64,
    pub snd_mss: u32,
    pub rcv_mss: u32,
    /// Segments in flight.
    pub unacked: u32,
    pub sacked: u32,
    pub lost: u32,
    pub retrans: u32,
    pub pmtu: u32,
    /// Milliseconds ago.
    pub last_data_sent: u32,
    /// Milliseconds ago.
    pub last_data_recv: u32,
    /// Milliseconds ago.
    pub last_ack_recv: u32,
    /// Microseconds, smoothed.
    pub rtt: u64,
    /// Microseconds.
    pub rttvar: u64,
    /// Microseconds.
    pub min_rtt: u64,
    /// Segments.
    pub snd_ssthresh: u32,
    /// Segments.
    pub snd_cwnd: u32,
    pub advmss: u32,
    /// Octets that the user took in the busiest round trip.
    pub rcv_space: u32,
    /// Octets that the window is never advertised above.
    pub rcv_ssthresh: u32,
    /// Microseconds, as the receiver measures it.
    pub rcv_rtt: u64,
    pub total_retrans: u32,
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    pub bytes_retrans: u64,
    pub segs_out: u32,
    pub segs_in: u32,
    pub data_segs_in: u32,
    pub data_segs_out: u32,
    /// Octets queued and not sent.
    pub notsent_bytes: u32,
    pub snd_wnd: u32,
    pub rcv_wnd: u32,
    pub rcv_ooopack: u32,
}
