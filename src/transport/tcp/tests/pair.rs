//! Two ends and a wire between them that loses, delays, reorders and repeats, from one seed.

use super::{End, Sent, flow, ms};
use crate::base::io::{Source, Target};
use crate::base::{Duration, Instant, MsgFlags, Rng};
use crate::trace::{Flow, TcpState};
use crate::transport::tcp::{Settings, Verdict};
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::Flags;
use std::collections::BTreeMap;

/// What the wire does.
#[derive(Clone, Copy)]
pub(super) struct Wire {
    pub delay: Duration,
    pub jitter: Duration,
    pub loss: f64,
    pub repeat: f64,
}

impl Wire {
    pub const CLEAN: Wire = Wire { delay: ms(10), jitter: Duration::ZERO, loss: 0.0, repeat: 0.0 };
}

/// Decides for a segment of an end whether it reaches the wire.
pub(super) type Filter = Box<dyn FnMut(usize, &Sent) -> bool>;

/// Ends `0` (active) and `1`.
pub(super) struct Pair {
    pub now: Instant,
    pub ends: [End; 2],
    pub wire: Wire,
    pub settings: [Settings; 2],
    pub mtu: u32,
    pub iss: [u32; 2],
    rng: Rng,
    air: BTreeMap<(Instant, u64), (usize, Sent)>,
    sent: u64,
    /// Called for every segment before the wire: false loses it.
    pub filter: Filter,
    /// Everything that was sent, by which end, when.
    pub log: Vec<(usize, Instant, Sent)>,
    pub keep_log: bool,
}

impl Pair {
    pub fn new(seed: u64, wire: Wire) -> Pair {
        let there = flow();
        let back = Flow { local: there.remote, remote: there.local };
        let ends = [End::new(there, seed), End::new(back, seed + 1)];
        let settings = [Settings::new(&ends[0].config), Settings::new(&ends[1].config)];
        Pair {
            now: Instant::ZERO + Duration::from_secs(1000),
            ends,
            wire,
            settings,
            mtu: 1500,
            iss: [0xffff_ff00, 0x7fff_ff80],
            rng: Rng::from_seed(seed ^ 0xabcd),
            air: BTreeMap::new(),
            sent: 0,
            filter: Box::new(|_, _| true),
            log: Vec::new(),
            keep_log: false,
        }
    }

    /// Opens from end 0.
    pub fn open(&mut self) {
        self.ends[0].connect(self.now, self.iss[0], self.settings[0].clone(), self.mtu);
        self.flush(0);
    }

    /// An established pair.
    pub fn established(seed: u64, wire: Wire) -> Pair {
        let mut pair = Pair::new(seed, wire);
        pair.open();
        pair.run_until(|pair| {
            pair.state(0) == TcpState::Established && pair.state(1) == TcpState::Established
        });
        pair
    }

    pub fn state(&self, end: usize) -> TcpState {
        self.ends[end].conn.as_ref().map_or(TcpState::Listen, |conn| conn.state())
    }

    /// Sends what is due at an end.
    pub fn flush(&mut self, end: usize) {
        if self.ends[end].conn.is_none() {
            return;
        }
        for sent in self.ends[end].transmit(self.now) {
            self.put(end, sent);
        }
    }

    fn put(&mut self, end: usize, sent: Sent) {
        if self.keep_log {
            self.log.push((end, self.now, sent.clone()));
        }
        if !(self.filter)(end, &sent) || self.rng.chance(self.wire.loss) {
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(self.wire.repeat));
        for _ in 0..copies {
            let jitter = Duration::from_nanos(self.rng.below(self.wire.jitter.as_nanos() + 1));
            self.sent += 1;
            self.air.insert((self.now + self.wire.delay + jitter, self.sent), (1 - end, sent.clone()));
        }
    }

    /// The next thing happens; false when nothing ever will.
    pub fn step(&mut self) -> bool {
        let arrival = self.air.keys().next().copied();
        let timers = [0, 1].map(|end| self.ends[end].conn.as_ref().and_then(|conn| conn.deadline()));
        let Some(next) = arrival.map(|key| key.0).into_iter().chain(timers.into_iter().flatten()).min()
        else {
            return false;
        };
        self.now = self.now.max(next);
        if let Some(key) = arrival.filter(|key| key.0 == next) {
            let (end, sent) = self.air.remove(&key).expect("present");
            self.arrive(end, &sent);
        } else {
            for (end, timer) in self.ends.iter_mut().zip(timers) {
                if timer.is_some_and(|at| at <= self.now) {
                    end.call(self.now, |conn, env| conn.on_timeout(env));
                }
            }
        }
        self.flush(0);
        self.flush(1);
        true
    }

    fn arrive(&mut self, end: usize, sent: &Sent) {
        if self.ends[end].conn.is_none() {
            if sent.flags.contains(Flags::SYN) && !sent.flags.contains(Flags::ACK) {
                let settings = self.settings[end].clone();
                self.ends[end].accept(self.now, self.iss[end], sent, settings, self.mtu);
            }
            return;
        }
        if let Verdict::Reset(_) = self.ends[end].receive(self.now, sent)
            && !sent.flags.contains(Flags::RST)
        {
            let reset = Sent {
                seq: sent.ack,
                ack: SeqNumber(0),
                flags: Flags::RST,
                payload: Vec::new(),
                options: Default::default(),
                ..sent.clone()
            };
            self.put(end, reset);
        }
    }

    /// Goes on until `done`.
    pub fn run_until(&mut self, mut done: impl FnMut(&Pair) -> bool) {
        for _ in 0..2_000_000 {
            if done(self) {
                return;
            }
            if !self.step() {
                break;
            }
        }
        let ends = [0, 1].map(|end| self.ends[end].conn.as_ref().map(|conn| conn.view()));
        assert!(done(self), "it never happened; at {:?} the ends are {ends:#?}", self.now);
    }

    /// Goes on for `time`.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.air.keys().next().map(|key| key.0);
            let timers = [0, 1].map(|end| self.ends[end].conn.as_ref().and_then(|conn| conn.deadline()));
            match arrival.into_iter().chain(timers.into_iter().flatten()).min() {
                Some(next) if next <= end => self.step(),
                Some(_) | None => break,
            };
        }
        self.now = end;
    }

    /// Sends as much of `data` as fits; returns how much that was.
    pub fn send(&mut self, end: usize, data: &[u8]) -> usize {
        let count = self.ends[end]
            .call(self.now, |conn, env| conn.send(env, Source::Slice(data), MsgFlags::empty()))
            .unwrap_or(0);
        self.flush(end);
        count
    }

    /// Reads what is there.
    pub fn recv(&mut self, end: usize, most: usize) -> Vec<u8> {
        let mut buf = vec![0; most];
        let read = self.ends[end]
            .call(self.now, |conn, env| conn.recv(env, Target::Slice(&mut buf), MsgFlags::empty()));
        buf.truncate(read.map_or(0, |read| read.len));
        self.flush(end);
        buf
    }

    pub fn shut_write(&mut self, end: usize) {
        self.ends[end].call(self.now, |conn, env| conn.shutdown(env, false, true)).expect("connected");
        self.flush(end);
    }
}
