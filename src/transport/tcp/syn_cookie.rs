//! SYN cookies (RFC 4987 §3.6): a listener whose SYN queue is full keeps nothing of a SYN. What it would have kept goes out in the
//! SYN-ACK, and the peer's ACK brings it back: a table index for the MSS in the sequence number, and window scale, SACK and ECN in
//! the low bits of TSval, all as Linux does.
//!
//! ISS = F(ends) + IRS + 2²⁴·minute + (F(ends, minute, IRS) + 2²²·index mod 2²⁴), with two secrets. It binds the four-tuple, the
//! peer's ISN and the time; eight of the 2³² numbers are good at a time. What is left out: without timestamps there is neither scaling, SACK nor ECN, the SYN-ACK is
//! never sent again, and text on the SYN is not kept.

use super::common::{Common, Origin};
use super::connection::{Connection, Isn, Mtus};
use super::ecn::{Agreed, SETUP};
use super::handshake;
use super::isn::tuple;
use super::settings::Settings;
use super::table::Reply;
use super::timestamps;
use crate::base::{Config, Duration, Instant, Key, Rng};
use crate::trace::Flow;
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Options, Segment, Timestamps};
use std::sync::Arc;

/// How long the clock of cookies stands still.
const MINUTE: u64 = 60;
/// Minutes, the present one included, whose cookies are good.
const MINUTES: u32 = 2;
/// How long after the last cookie an ACK may be the answer to one.
const ANSWERED_WITHIN: Duration = Duration::from_secs(MINUTE * MINUTES as u64);
/// The MSS values that fit: those that most peers have (Linux's tables).
const MSS_V4: [u16; 4] = [536, 1300, 1440, 1460];
const MSS_V6: [u16; 4] = [1220, 1420, 1440, 8940];
const LOW_24: u32 = 0x00ff_ffff;
/// The index stands in the two highest of 24 bits: a number beside a cookie is none.
const INDEX_SHIFT: u32 = 22;

/// What the low bits of TSval say: the window scale in four bits (15: none), SACK, ECN.
const OPTION_BITS: u32 = 6;
const NO_SCALE: u32 = 0xf;
const SACK: u32 = 1 << 4;
const ECN: u32 = 1 << 5;

/// Makes cookies and knows its own again.
#[derive(Debug)]
pub(super) struct SynCookies {
    keys: [Key; 2],
}

impl SynCookies {
    /// With secrets of its own.
    pub fn new(rng: &mut Rng) -> SynCookies {
        SynCookies { keys: [rng.key(), rng.key()] }
    }

    /// The answer to a SYN of which nothing is kept; `None` when the peer's MSS is below all that a cookie can tell.
    pub fn answer(
        &self,
        env: &Env,
        syn: &Segment<'_>,
        (flow, isn): (Flow, Isn),
        settings: &Arc<Settings>,
        mtus: Mtus,
    ) -> Option<Reply> {
        let common = Common::new(flow, isn, Origin::Passive, Arc::clone(settings), mtus);
        let agreement = handshake::agree(&common, env, syn);
        let index = index_of(mss_table(&flow), agreement.mss.unwrap_or(common.default_mss()))?;
        let stamped = agreement.timestamps.as_ref();
        let scale = agreement.scale.filter(|_| stamped.is_some());
        let sack = agreement.sack && stamped.is_some();
        let ecn = if stamped.is_some() { agreement.ecn } else { Agreed::No };
        let timestamps = stamped.map(|ts| Timestamps {
            value: mark(env.now, scale.map(|(peer, _)| peer), sack, ecn == Agreed::Yes)
                .wrapping_add(isn.ts_offset),
            echo: ts.recent,
        });
        Some(Reply {
            flow,
            seq: self.iss(minute(env.now), &flow, syn.seq, index),
            ack: syn.seq.add(1),
            flags: Flags::SYN | Flags::ACK | ecn.flags(),
            window: common.initial_window() as u16,
            options: Options {
                mss: Some(common.own_mss()),
                window_scale: scale.map(|(_, own)| own),
                sack_permitted: sack,
                timestamps,
                ..Options::default()
            },
            ttl: settings.ttl,
            tos: settings.tos,
        })
    }

    /// The SYN that `ack` answers for, as far as it can be told, when it carries a cookie of ours.
    pub fn recall(
        &self,
        now: Instant,
        isn: &Isn,
        flow: &Flow,
        ack: &Segment<'_>,
    ) -> Option<Segment<'static>> {
        let irs = ack.seq.sub(1);
        let mss = self.mss(minute(now), flow, irs, ack.ack.sub(1))?;
        let told = ack.options.timestamps.map(|ts| ts.echo.wrapping_sub(isn.ts_offset));
        let options = Options {
            mss: Some(mss),
            window_scale: told
                .map(|told| told & NO_SCALE)
                .filter(|scale| *scale != NO_SCALE)
                .map(|scale| scale as u8),
            sack_permitted: told.is_some_and(|told| told & SACK != 0),
            timestamps: ack.options.timestamps,
            ..Options::default()
        };
        Some(Segment {
            src_port: ack.src_port,
            dst_port: ack.dst_port,
            seq: irs,
            ack: SeqNumber::default(),
            flags: Flags::SYN | if told.is_some_and(|told| told & ECN != 0) { SETUP } else { Flags::empty() },
            window: ack.window,
            urgent: 0,
            options,
            payload: &[],
        })
    }

    fn iss(&self, minute: u32, flow: &Flow, irs: SeqNumber, index: u32) -> SeqNumber {
        let inner = self.hash(minute, flow, irs).wrapping_add(index << INDEX_SHIFT) & LOW_24;
        SeqNumber(self.base(flow)).add(irs.0).add(minute << 24).add(inner)
    }

    fn mss(&self, minute: u32, flow: &Flow, irs: SeqNumber, iss: SeqNumber) -> Option<u16> {
        let cookie = iss.0.wrapping_sub(self.base(flow)).wrapping_sub(irs.0);
        let age = minute.wrapping_sub(cookie >> 24) & 0xff;
        if age >= MINUTES {
            return None;
        }
        let told = cookie.wrapping_sub(self.hash(minute.wrapping_sub(age), flow, irs)) & LOW_24;
        let index = (told >> INDEX_SHIFT) as usize;
        mss_table(flow).get(index).filter(|_| told == (index as u32) << INDEX_SHIFT).copied()
    }

    fn base(&self, flow: &Flow) -> u32 {
        self.keys[0].hash(&tuple(flow)) as u32
    }

    fn hash(&self, minute: u32, flow: &Flow, irs: SeqNumber) -> u32 {
        let mut octets = [0; 44];
        octets[..36].copy_from_slice(&tuple(flow));
        octets[36..40].copy_from_slice(&minute.to_be_bytes());
        octets[40..].copy_from_slice(&irs.0.to_be_bytes());
        self.keys[1].hash(&octets) as u32
    }
}

impl Connection {
    /// A connection whose SYN-ACK was a cookie; `syn` is what was recalled of its SYN. It is in SYN-RECEIVED, and the ACK that brought
    /// the cookie completes it. `None` when options that were agreed on have been switched off since.
    pub fn from_cookie(
        env: &mut Env,
        (flow, isn): (Flow, Isn),
        syn: &Segment<'_>,
        settings: Arc<Settings>,
        mtus: Mtus,
    ) -> Option<Connection> {
        let agreed = |config: &Config| {
            (syn.options.window_scale.is_none() || config.tcp_window_scaling)
                && (!syn.options.sack_permitted || config.tcp_sack)
                && (syn.options.timestamps.is_none() || config.tcp_timestamps)
        };
        if !agreed(env.config) {
            return None;
        }
        let mut conn = Connection::accept_syn(env, flow, isn, syn, settings, mtus);
        conn.syn_ack_was_a_cookie(env.now);
        Some(conn)
    }
}

/// May an ACK be the answer to a cookie, the last of which was sent at `last`?
pub(super) fn may_answer(last: Option<Instant>, now: Instant) -> bool {
    last.is_some_and(|last| now.since(last) <= ANSWERED_WITHIN)
}

fn minute(now: Instant) -> u32 {
    (now.as_millis() / 1000 / MINUTE) as u32
}

fn mss_table(flow: &Flow) -> &'static [u16; 4] {
    if flow.remote.is_ipv4() { &MSS_V4 } else { &MSS_V6 }
}

/// The largest entry that is not above the peer's MSS. Linux takes the first one even then, and so more than the peer can.
fn index_of(table: &[u16; 4], mss: u16) -> Option<u32> {
    table.iter().rposition(|entry| *entry <= mss).map(|index| index as u32)
}

/// The clock of this moment or shortly before, with options in its low bits. Never ahead, so that the clock does not go back later.
fn mark(now: Instant, scale: Option<u8>, sack: bool, ecn: bool) -> u32 {
    let unmarked = timestamps::clock(now, &Isn { iss: SeqNumber(0), ts_offset: 0 });
    let flags = if sack { SACK } else { 0 } | if ecn { ECN } else { 0 };
    let told = scale.map_or(NO_SCALE, u32::from) | flags;
    let marked = unmarked >> OPTION_BITS << OPTION_BITS | told;
    if timestamps::before(unmarked, marked) { marked.wrapping_sub(1 << OPTION_BITS) } else { marked }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(port: u16) -> Flow {
        let local = "10.0.0.1:80".parse().expect("valid");
        Flow { local, remote: ([10, 0, 0, 2], port).into() }
    }

    /// conformance: 4987-3.6-cookie-valid
    #[test]
    fn a_cookie_binds_ends_peer_isn_and_time() {
        let cookies = SynCookies::new(&mut Rng::from_seed(1));
        let irs = SeqNumber(77);
        for minute in [0, 1, 254, 255, 256, u32::MAX] {
            for (index, mss) in MSS_V4.iter().enumerate() {
                let iss = cookies.iss(minute, &flow(9), irs, index as u32);
                assert_eq!(cookies.mss(minute, &flow(9), irs, iss), Some(*mss));
                assert_eq!(cookies.mss(minute.wrapping_add(1), &flow(9), irs, iss), Some(*mss));
                assert_eq!(cookies.mss(minute.wrapping_add(2), &flow(9), irs, iss), None);
                assert_eq!(cookies.mss(minute.wrapping_sub(1), &flow(9), irs, iss), None);
                assert_eq!(cookies.mss(minute, &flow(8), irs, iss), None);
                for off in 1..10 {
                    assert_eq!(cookies.mss(minute, &flow(9), irs.add(off), iss), None);
                    assert_eq!(cookies.mss(minute, &flow(9), irs, iss.add(off)), None);
                    assert_eq!(cookies.mss(minute, &flow(9), irs, iss.sub(off)), None);
                }
            }
        }
        let other = SynCookies::new(&mut Rng::from_seed(2));
        assert_eq!(other.mss(0, &flow(9), irs, cookies.iss(0, &flow(9), irs, 0)), None);
    }

    /// conformance: 4987-3.6-cookie-valid
    #[test]
    fn guesses_hardly_ever_hit() {
        let cookies = SynCookies::new(&mut Rng::from_seed(3));
        let mut rng = Rng::from_seed(4);
        let hits = (0..1_000_000)
            .filter(|_| cookies.mss(7, &flow(9), SeqNumber(1), SeqNumber(rng.next_u32())).is_some())
            .count();
        assert_eq!(hits, 0);
    }

    /// conformance: 4987-3.6-cookie-options
    #[test]
    fn a_marked_clock_is_never_ahead_and_tells_the_options() {
        for millis in (0..200).chain([1 << 32, (1 << 32) + 5]) {
            let now = Instant::from_nanos((millis + 1000) * 1_000_000);
            for (scale, sack) in [(None, false), (Some(0), true), (Some(14), true), (Some(7), false)] {
                let marked = mark(now, scale, sack, !sack);
                let clock = now.as_millis() as u32;
                assert!(clock.wrapping_sub(marked) < 64, "{marked} at {clock}");
                assert_eq!(marked & NO_SCALE, scale.map_or(15, u32::from));
                assert_eq!((marked & SACK != 0, marked & ECN != 0), (sack, !sack));
            }
        }
    }

    #[test]
    fn the_mss_is_never_more_than_the_peer_can_take() {
        assert_eq!(index_of(&MSS_V4, 535), None);
        assert_eq!(index_of(&MSS_V4, 536), Some(0));
        assert_eq!(index_of(&MSS_V4, 1459), Some(2));
        assert_eq!(index_of(&MSS_V6, 65_535), Some(3));
    }
}
