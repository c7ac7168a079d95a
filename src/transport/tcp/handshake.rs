//! What the two halves of the handshake share (RFC 9293 §3.5): the SYN's timer, its options, what the options agree on.

use super::common::{Common, Origin};
use super::connection::{Isn, Outgoing};
use super::ecn::Agreed;
use super::recv_window::{MAX_SCALE, scale_for};
use super::synchronized::{Agreement, Early};
use super::timestamps::{self, Timestamps};
use crate::base::io::Source;
use crate::base::{Config, Duration, Errno, Instant, MsgFlags};
use crate::trace::Why;
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Options, Segment};

/// Retransmission of a SYN or SYN-ACK (RFC 6298 §2.1, §5; RFC 9293 §3.8.3, MUST-22).
#[derive(Clone, Debug, Default)]
pub(super) struct SynTimer {
    /// It is to be sent.
    pub due: bool,
    pub first_sent: Option<Instant>,
    at: Option<Instant>,
    /// Times it was sent again by the timer.
    pub retransmits: u8,
    timing: Timing,
}

/// How the round trip of the handshake can be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Timing {
    /// Sent at most once: by the clock.
    #[default]
    Clock,
    /// Sent more than once, for whatever reason (Karn): by the echoed timestamp only.
    Echo,
    /// Not at all: nobody knows when it was sent.
    Unknown,
}

impl SynTimer {
    /// It is to be sent for the first time.
    pub fn start() -> SynTimer {
        SynTimer { due: true, ..SynTimer::default() }
    }

    /// It was sent at some time that was not kept (RFC 4987 §3.6).
    pub fn sent_statelessly(now: Instant) -> SynTimer {
        SynTimer { first_sent: Some(now), timing: Timing::Unknown, ..SynTimer::default() }
    }

    /// It leaves.
    pub fn on_sent(&mut self, now: Instant, config: &Config) {
        self.due = false;
        if self.first_sent.is_some() {
            self.timing = Timing::Echo;
        }
        self.first_sent.get_or_insert(now);
        let interval = config.tcp_initial_rto_ms.backed_off(u32::from(self.retransmits));
        self.at.get_or_insert(now + interval.min(config.tcp_rto_max_ms));
    }

    /// When it is to be sent again, or `patience` (zero: endless) ends.
    pub fn deadline(&self, patience: Duration) -> Option<Instant> {
        let end = self.patience_end(patience);
        self.at.into_iter().chain(end).min()
    }

    fn patience_end(&self, patience: Duration) -> Option<Instant> {
        self.first_sent.filter(|_| !patience.is_zero()).map(|sent| sent + patience)
    }

    /// The deadline passed; false: give up.
    pub fn on_timeout(&mut self, now: Instant, retries: u32, patience: Duration) -> bool {
        let impatient = self.patience_end(patience).is_some_and(|end| end <= now);
        if self.at.is_some_and(|at| at <= now) {
            if u32::from(self.retransmits) >= retries {
                return false;
            }
            self.retransmits += 1;
            self.at = None;
            self.due = true;
        }
        !impatient
    }

    /// Was it sent at all?
    pub fn is_sent(&self) -> bool {
        self.first_sent.is_some()
    }

    /// The round trip that ends now, by timing or by the echoed timestamp.
    pub fn round_trip(
        &self,
        common: &Common,
        now: Instant,
        seg: &Segment<'_>,
        use_echo: bool,
    ) -> Option<Duration> {
        match self.timing {
            Timing::Clock => self.first_sent.map(|sent| now.since(sent)),
            Timing::Echo if use_echo => {
                seg.options.timestamps.and_then(|ts| timestamps::round_trip(now, &common.isn, ts.echo))
            }
            Timing::Echo | Timing::Unknown => None,
        }
    }
}

/// Our shift: for the largest buffer that this connection may come to have (RFC 7323 §2.2).
pub(super) fn own_scale(common: &Common, config: &Config) -> u8 {
    scale_for(config.tcp_rmem[2].max(common.receive_capacity()))
}

/// The timestamps of a segment that leaves now.
pub(super) fn stamp(now: Instant, isn: &Isn, echo: u32) -> crate::wire::tcp::Timestamps {
    crate::wire::tcp::Timestamps { value: timestamps::clock(now, isn), echo }
}

/// What our SYN offers.
pub(super) fn offer(common: &Common, env: &Env) -> Options {
    let config = env.config;
    Options {
        mss: Some(common.own_mss()),
        window_scale: config.tcp_window_scaling.then(|| own_scale(common, config)),
        sack_permitted: config.tcp_sack,
        // RFC 7323 §3.2: TSecr is zero where ACK is not set.
        timestamps: config.tcp_timestamps.then(|| stamp(env.now, &common.isn, 0)),
        ..Options::default()
    }
}

/// What `syn` and our settings agree on: an option is in use when both sides sent it.
pub(super) fn agree(common: &Common, env: &Env, syn: &Segment<'_>) -> Agreement {
    let (config, options) = (env.config, &syn.options);
    let scale = options.window_scale.filter(|_| config.tcp_window_scaling);
    let timestamps = options.timestamps.filter(|_| config.tcp_timestamps);
    Agreement {
        mss: options.mss,
        // RFC 7323 §2.3: more than 14 is taken as 14.
        scale: scale.map(|peer| (peer.min(MAX_SCALE), own_scale(common, config))),
        sack: options.sack_permitted && config.tcp_sack,
        timestamps: timestamps.map(|ts| Timestamps { recent: ts.value, recent_at: env.now }),
        ecn: Agreed::on_syn(common.origin, config, syn.flags),
    }
}

/// Takes data before the handshake is complete (RFC 9293 §3.10.2).
pub(super) fn send_early(
    early: &mut Option<Box<Early>>,
    common: &Common,
    env: &mut Env,
    data: Source<'_>,
    flags: MsgFlags,
) -> Result<usize, Errno> {
    let early = early.get_or_insert_default();
    if early.shut_write {
        return Err(Errno::EPIPE);
    }
    let room = (common.snd_buf as usize).saturating_sub(early.buffer.len());
    if room == 0 && !data.is_empty() {
        return Err(Errno::EAGAIN);
    }
    let (count, all) = (room.min(data.len()), room >= data.len());
    early.buffer.take(env.pool, data, count);
    if flags.contains(MsgFlags::EOR) && all {
        early.buffer.mark_boundary();
    }
    if flags.contains(MsgFlags::OOB) {
        early.urgent = Some(early.buffer.end());
    }
    Ok(count)
}

/// A segment without text, before there is a send window.
pub(super) fn bare<'a>(
    common: &Common,
    seq: SeqNumber,
    ack: Option<SeqNumber>,
    flags: Flags,
    options: Options,
    why: Why,
) -> Outgoing<'a> {
    Outgoing {
        seq,
        ack: ack.unwrap_or_default(),
        flags,
        // RFC 7323 §2.2: the window of a SYN is not scaled.
        window: common.initial_window() as u16,
        urgent: 0,
        options,
        payload: [&[]; 3],
        segment_size: 0,
        why,
        ttl: common.settings.ttl,
        tos: common.settings.tos,
        dont_fragment: common.settings.discover_mtu,
        before: None,
    }
}

/// Retransmissions that this handshake is given.
pub(super) fn retries(common: &Common, config: &Config) -> u32 {
    match common.origin {
        Origin::Active => common.settings.syn_retries,
        Origin::Passive => config.tcp_synack_retries,
    }
}
