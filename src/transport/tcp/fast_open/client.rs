//! The client's side of Fast Open (RFC 7413 §4.1.3, §4.2): what is known of each server, and what a SYN may carry.

use super::{ClientFail, FastOpenState, bits};
use crate::base::{Config, Duration, Instant, KeyedState, Rng};
use crate::transport::Env;
use crate::transport::tcp::common::Common;
use crate::transport::tcp::stats::Stats;
use crate::transport::tcp::syn_sent::SynSent;
use crate::transport::tcp::synchronized::effective_mss;
use crate::wire::tcp::{self, FastOpenCookie, Options, Segment};
use core::net::IpAddr;
use std::collections::{HashMap, VecDeque};

/// Servers remembered at most; the one known longest goes first.
const MOST_SERVERS: usize = 1024;
/// After a SYN was lost that asked for more than usual, the next ones are plain for this long, doubled with each loss. Some
/// middleboxes drop such SYNs (RFC 7413 §7.1).
const PAUSE: Duration = Duration::from_secs(60);
const MOST_DOUBLINGS: u32 = 10;
/// No SYN carries more, whatever the MSS: its text must lie in one packet of any link.
const LONGEST_TEXT: u32 = 65_000;

/// What a SYN may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) enum Ask {
    /// Nothing.
    #[default]
    No,
    /// A cookie for the next time.
    Cookie,
    /// That its text be taken: with the cookie of the last time (or none, if so configured), at most as much as fits the MSS.
    Text { cookie: Option<FastOpenCookie>, mss: Option<u16> },
}

/// The client's half of one attempt.
#[derive(Debug)]
pub(in super::super) struct Attempt {
    pub ask: Ask,
    /// Octets of text on the SYN.
    pub sent: u32,
}

/// What an attempt taught about a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Lesson {
    pub cookie: Option<FastOpenCookie>,
    pub mss: u16,
    /// Only the plain SYN that followed was answered.
    pub lost: bool,
}

#[derive(Debug, Default)]
struct Server {
    cookie: Option<FastOpenCookie>,
    mss: Option<u16>,
    losses: u32,
    last_loss: Instant,
}

/// What is known of servers.
#[derive(Debug)]
pub(in super::super) struct CookieCache {
    servers: HashMap<(IpAddr, IpAddr), Server, KeyedState>,
    /// In the order in which they became known.
    order: VecDeque<(IpAddr, IpAddr)>,
}

impl CookieCache {
    /// Nothing is known.
    pub fn new(rng: &mut Rng) -> CookieCache {
        CookieCache { servers: HashMap::with_hasher(KeyedState::new(rng)), order: VecDeque::new() }
    }

    /// What a SYN from `ends.0` to `ends.1` may ask for.
    pub fn ask(&self, now: Instant, config: &Config, ends: (IpAddr, IpAddr)) -> Ask {
        let server = self.servers.get(&ends);
        let paused = server.is_some_and(|server| server.is_paused(now));
        if config.tcp_fastopen & bits::CLIENT == 0 || paused {
            return Ask::No;
        }
        let mss = server.and_then(|server| server.mss);
        match server.and_then(|server| server.cookie.clone()) {
            Some(cookie) => Ask::Text { cookie: Some(cookie), mss },
            None if config.tcp_fastopen & bits::CLIENT_NO_COOKIE != 0 => Ask::Text { cookie: None, mss },
            None => Ask::Cookie,
        }
    }

    /// An attempt has ended.
    pub fn learn(&mut self, now: Instant, ends: (IpAddr, IpAddr), lesson: Lesson) {
        if !self.servers.contains_key(&ends) {
            if self.order.len() == MOST_SERVERS
                && let Some(oldest) = self.order.pop_front()
            {
                self.servers.remove(&oldest);
            }
            self.order.push_back(ends);
        }
        let server = self.servers.entry(ends).or_default();
        server.mss = Some(lesson.mss);
        if lesson.cookie.is_some() {
            server.cookie = lesson.cookie;
        }
        if lesson.lost {
            (server.losses, server.last_loss) = (server.losses + 1, now);
        } else {
            server.losses = 0;
        }
    }
}

impl Server {
    fn is_paused(&self, now: Instant) -> bool {
        let pause = PAUSE.backed_off(self.losses.saturating_sub(1).min(MOST_DOUBLINGS));
        self.losses > 0 && now.since(self.last_loss) < pause
    }
}

impl SynSent {
    /// The attempt is made when the SYN leaves; `deferred`: when there is text.
    pub fn try_fast_open(&mut self, ask: Ask, deferred: bool) {
        self.timer.due = !deferred;
        self.attempt = (ask != Ask::No).then(|| Box::new(Attempt { ask, sent: 0 }));
    }

    /// Does the SYN wait for text?
    pub fn is_deferred(&self) -> bool {
        !self.timer.due && !self.timer.is_sent()
    }

    /// Octets of text that the SYN carried.
    pub fn text_sent(&self) -> u32 {
        self.attempt.as_ref().map_or(0, |attempt| attempt.sent)
    }

    /// The first `len` octets of text.
    pub fn text(&self, len: usize) -> [&[u8]; 3] {
        self.early.as_ref().map_or([&[]; 3], |early| early.buffer.slices(0, len))
    }

    /// The SYN leaves for the first time: adds the option, and tells how much text it carries.
    pub fn attempt_options(&mut self, common: &Common, options: &mut Options) -> usize {
        let Some(attempt) = &mut self.attempt else { return 0 };
        let (cookie, mss) = match &attempt.ask {
            Ask::No => return 0,
            Ask::Cookie => {
                options.fast_open = Some(FastOpenCookie::new());
                return 0;
            }
            Ask::Text { cookie, mss } => (cookie.clone(), *mss),
        };
        options.fast_open = cookie;
        let queued = self.early.as_ref().map_or(0, |early| early.buffer.len() as u32);
        // RFC 7413 §4.2.2: as much as fits the MSS that the server announced the last time.
        let mss = effective_mss(common, common.path_mtu, mss.unwrap_or(common.default_mss()), false);
        let room = mss.saturating_sub(tcp::option_len(options) as u32);
        attempt.sent = queued.min(room).min(LONGEST_TEXT);
        attempt.sent as usize
    }

    /// The SYN-ACK came: what it acknowledged leaves the buffer, the rest goes at once as new data (RFC 7413 §4.2.2).
    pub fn end_attempt(
        &mut self,
        common: &Common,
        env: &mut Env,
        syn_ack: &Segment<'_>,
    ) -> Option<(FastOpenState, Stats)> {
        let attempt = self.attempt.take()?;
        let acked = syn_ack.ack.since(common.isn.iss.add(1)).unwrap_or(0);
        if let Some(early) = &mut self.early {
            early.buffer.release(env.pool, u64::from(acked));
        }
        let again = self.timer.retransmits > 0;
        let whole = acked == attempt.sent;
        let cookie = syn_ack.options.fast_open.clone().filter(|cookie| !cookie.is_empty());
        // A lost SYN whose text or request was ignored afterwards: perhaps the option was what made it get lost.
        let lost = again && cookie.is_none() && (attempt.sent == 0 || !whole);
        let mss = syn_ack.options.mss.unwrap_or(common.default_mss());
        let learned = FastOpenState::Learned(Lesson { cookie, mss, lost });
        env.counters.tcp_ext_fast_open_active += u64::from(attempt.sent > 0 && whole);
        env.counters.tcp_ext_fast_open_active_fail += u64::from(!whole);
        let stats = Stats {
            bytes_sent: u64::from(attempt.sent),
            data_segs_out: u32::from(attempt.sent > 0),
            syn_data_acked: attempt.sent > 0 && whole,
            fast_open: match &attempt.ask {
                Ask::Cookie => ClientFail::NoCookie,
                Ask::Text { .. } if !whole && again => ClientFail::SynLost,
                Ask::Text { .. } if !whole => ClientFail::NotAcked,
                Ask::No | Ask::Text { .. } => ClientFail::No,
            },
            ..Stats::new(env.now, common.origin, u32::from(self.timer.retransmits))
        };
        Some((learned, stats))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(number: u16) -> (IpAddr, IpAddr) {
        let [high, low] = number.to_be_bytes();
        ([10, 0, 0, 1].into(), [10, 1, high, low].into())
    }

    #[test]
    fn the_cache_is_bounded_and_the_oldest_goes_first() {
        let (mut cache, config) = (CookieCache::new(&mut Rng::from_seed(1)), Config::default());
        let lesson = Lesson { cookie: Some([1, 2, 3, 4].into_iter().collect()), mss: 1400, lost: false };
        for number in 0..3000 {
            cache.learn(Instant::ZERO, ends(number), lesson.clone());
        }
        assert_eq!((cache.servers.len(), cache.order.len()), (MOST_SERVERS, MOST_SERVERS));
        assert_eq!(cache.ask(Instant::ZERO, &config, ends(0)), Ask::Cookie);
        let known = Ask::Text { cookie: lesson.cookie, mss: Some(1400) };
        assert_eq!(cache.ask(Instant::ZERO, &config, ends(2999)), known);
    }

    #[test]
    fn each_loss_in_a_row_doubles_the_pause() {
        let (mut cache, config) = (CookieCache::new(&mut Rng::from_seed(1)), Config::default());
        let lost = Lesson { cookie: None, mss: 1400, lost: true };
        let mut now = Instant::ZERO;
        for pause in [60, 120, 240] {
            cache.learn(now, ends(1), lost.clone());
            now += Duration::from_secs(pause - 1);
            assert_eq!(cache.ask(now, &config, ends(1)), Ask::No);
            now += Duration::from_secs(1);
            assert_eq!(cache.ask(now, &config, ends(1)), Ask::Cookie);
        }
        cache.learn(now, ends(1), Lesson { lost: false, ..lost });
        assert_eq!(cache.ask(now, &config, ends(1)), Ask::Cookie);
    }
}
