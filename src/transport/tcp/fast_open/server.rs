//! The server's side of Fast Open (RFC 7413 §4.1.2, §4.2): cookies, and how many connections may be pending.

use super::bits;
use crate::base::{Duration, Instant, Key, Rng};
use crate::trace::Flow;
use crate::transport::Env;
use crate::transport::ports::v6_octets;
use crate::transport::tcp::listener::Listener;
use crate::wire::tcp::{FastOpenCookie, Segment};
use std::collections::VecDeque;

/// How long cookies are made with the same secret; those made with the one before are good, too (RFC 7413 §5.2).
const KEY_LIFE: Duration = Duration::from_secs(12 * 3600);
/// How long a connection that its peer has reset still counts as pending (RFC 7413 §5.1: such resets are what a victim of forged
/// SYNs answers with). As on Linux.
const RESET_COUNTS: Duration = Duration::from_secs(60);

/// Makes and checks cookies.
#[derive(Debug)]
pub(in super::super) struct CookieKeys {
    current: Key,
    previous: Option<Key>,
    since: Instant,
}

/// What a listener does with a SYN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Decision {
    /// Its text counts, and the connection is handed out before the handshake is complete.
    pub accept: bool,
    /// To be sent on the SYN-ACK.
    pub cookie: Option<FastOpenCookie>,
}

/// Connections of a listener that were handed out before their handshake was complete.
#[derive(Debug, Default)]
pub(in super::super) struct Pending {
    pub count: u32,
    /// Those that were reset, by the time until when they count.
    resets: VecDeque<Instant>,
}

impl CookieKeys {
    /// With a secret of its own.
    pub fn new(rng: &mut Rng) -> CookieKeys {
        CookieKeys { current: rng.key(), previous: None, since: Instant::ZERO }
    }

    /// A SYN arrived for a listener.
    pub fn decide(
        &mut self,
        env: &mut Env,
        listener: &mut Listener,
        flow: &Flow,
        syn: &Segment<'_>,
    ) -> Decision {
        let asked = syn.options.fast_open.as_ref();
        let mode = env.config.tcp_fastopen;
        if asked.is_some_and(|cookie| cookie.is_empty()) {
            env.counters.tcp_ext_fast_open_cookie_reqd += 1;
        }
        let concerned = asked.is_some() || !syn.payload.is_empty();
        if mode & bits::SERVER == 0 || !concerned || !listener.has_room_for_fast_open(env) {
            return Decision::default();
        }
        if mode & bits::SERVER_NO_COOKIE != 0 {
            env.counters.tcp_ext_fast_open_passive += 1;
            return Decision { accept: true, cookie: None };
        }
        let Some(cookie) = asked else { return Decision::default() };
        self.turn(env);
        let fresh = Some(cookie_of(&self.current, flow));
        if cookie.is_empty() {
            return Decision { accept: false, cookie: fresh };
        }
        let old = self.previous.as_ref().is_some_and(|key| cookie_of(key, flow) == *cookie);
        if !old && fresh.as_ref() != Some(cookie) {
            env.counters.tcp_ext_fast_open_passive_fail += 1;
            return Decision { accept: false, cookie: fresh };
        }
        env.counters.tcp_ext_fast_open_passive += 1;
        env.counters.tcp_ext_fast_open_passive_alt_key += u64::from(old);
        Decision { accept: true, cookie: fresh.filter(|_| old) }
    }

    /// Takes a new secret when the time of the present one is over.
    fn turn(&mut self, env: &mut Env) {
        let age = env.now.since(self.since);
        if age >= KEY_LIFE {
            let last = core::mem::replace(&mut self.current, env.rng.key());
            self.previous = (age < KEY_LIFE.mul(2)).then_some(last);
            self.since = env.now;
        }
    }
}

/// RFC 7413 §4.1.2: it tells that its bearer gets what is sent to this address.
fn cookie_of(key: &Key, flow: &Flow) -> FastOpenCookie {
    let mut octets = [0; 32];
    octets[..16].copy_from_slice(&v6_octets(flow.remote.ip()));
    octets[16..].copy_from_slice(&v6_octets(flow.local.ip()));
    key.hash(&octets).to_be_bytes().into_iter().collect()
}

impl Pending {
    /// One of them was reset by its peer.
    pub fn on_reset(&mut self, now: Instant) {
        self.resets.push_back(now + RESET_COUNTS);
    }
}

impl Listener {
    /// RFC 7413 §4.2 (PendingFastOpenRequests): above the limit SYNs are taken the ordinary way.
    fn has_room_for_fast_open(&mut self, env: &mut Env) -> bool {
        let limit = self.options.fast_open;
        if limit == 0 {
            return false;
        }
        let pending = &mut self.pending;
        while pending.resets.front().is_some_and(|until| *until <= env.now) {
            pending.resets.pop_front();
        }
        let room = (pending.count as usize) + pending.resets.len() < limit as usize;
        env.counters.tcp_ext_fast_open_listen_overflow += u64::from(!room);
        room
    }
}
