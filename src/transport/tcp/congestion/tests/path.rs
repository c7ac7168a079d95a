//! One bottleneck, several senders with endless or metered data, and a receiver that acknowledges selectively: a closed loop in which a
//! controller meets its own queue and losses. Loss detection is exact (three later deliveries), PRR is RFC 9937's.

use super::*;
use crate::base::Rng;
use std::collections::{BinaryHeap, VecDeque};

pub(in super::super) const MSS: u32 = 1460;

/// The way between sender and receiver and back.
pub(in super::super) struct Path {
    /// Octets per second through the bottleneck.
    pub rate: u64,
    pub rtt: Duration,
    /// Octets that the bottleneck holds.
    pub queue: u64,
    /// Chance of a loss that has nothing to do with the queue.
    pub loss: f64,
    /// Every so many packets one is lost; 0: none.
    pub loss_each: u64,
    /// Packets that one acknowledgment covers.
    pub per_ack: usize,
    /// Acknowledgments come at multiples of this only; zero: at any time.
    pub slot: Duration,
}

impl Path {
    pub fn new(megabits: u64, rtt_ms: u64, queue_in_bdp: f64) -> Path {
        let rate = megabits * 125_000;
        let queue = ((rate * rtt_ms / 1000) as f64 * queue_in_bdp) as u64;
        Path {
            rate,
            rtt: Duration::from_millis(rtt_ms),
            queue,
            loss: 0.0,
            loss_each: 0,
            per_ack: 1,
            slot: Duration::ZERO,
        }
    }

    pub fn bdp(&self) -> u64 {
        (u128::from(self.rate) * u128::from(self.rtt.as_nanos()) / 1_000_000_000) as u64
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Flying,
    Delivered,
    Lost,
}

struct Packet {
    fate: Fate,
    sent_at: Instant,
    /// As they were when it was sent (draft-ietf-ccwg-bbr, "Delivery Rate Samples").
    first_sent_at: Instant,
    delivered: u64,
    delivered_at: Instant,
    lost: u64,
    in_flight: u32,
    app_limited: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Fast,
    Timeout,
}

/// One sender.
pub(in super::super) struct Flow {
    pub control: Congestion,
    /// Octets per second that its application writes; none: always more than it can send.
    pub app: Option<u64>,
    pub delivered: u64,
    pub lost: u64,
    pub timeouts: u32,
    /// Greatest flight since this was last set to zero.
    pub peak: u32,
    /// Packets that the receiver has and has not acknowledged yet.
    unacked: Vec<u64>,
    packets: VecDeque<Packet>,
    base: u64,
    highest: u64,
    pub in_flight: u32,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Samples of what was sent before so much was delivered are limited by the application.
    app_limited_until: u64,
    written: u64,
    mode: Mode,
    recover: u64,
    round_end: u64,
    prr: (u64, u64, u64),
    pace_at: Instant,
    /// When it looks again whether it may send.
    send_at: Option<Instant>,
    limited: bool,
    timeout_at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(u64),
    Send,
    Timeout,
}

/// All of it, at one moment.
pub(in super::super) struct Loop {
    pub path: Path,
    pub now: Instant,
    pub flows: Vec<Flow>,
    /// Octets dropped because the queue was full.
    pub overflow: u64,
    busy_until: Instant,
    rng: Rng,
    events: BinaryHeap<core::cmp::Reverse<(Instant, u64, usize, Event)>>,
    order: u64,
    sent: u64,
}

impl Loop {
    pub fn new(path: Path, flows: impl IntoIterator<Item = Congestion>) -> Loop {
        let rng = Rng::from_seed(path.rate ^ path.rtt.as_nanos());
        let flows: Vec<Flow> = flows.into_iter().map(Flow::new).collect();
        let (now, events) = (Instant::ZERO, BinaryHeap::new());
        let mut all = Loop { path, now, flows, overflow: 0, busy_until: now, rng, events, order: 0, sent: 0 };
        (0..all.flows.len()).for_each(|flow| all.at(now, flow, Event::Send));
        all
    }

    fn at(&mut self, time: Instant, flow: usize, event: Event) {
        self.order += 1;
        self.events.push(core::cmp::Reverse((time, self.order, flow, event)));
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(core::cmp::Reverse((at, ..))) = self.events.peek()
            && *at <= end
        {
            let Some(core::cmp::Reverse((at, _, flow, event))) = self.events.pop() else { break };
            self.now = at;
            match event {
                Event::Send => self.flows[flow].send_at = None,
                Event::Arrive(packet) => self.arrive(flow, packet),
                Event::Timeout => self.timeout(flow),
            }
            self.send(flow);
        }
        self.now = end;
    }

    /// Share of the bottleneck that flow `n` got over `time`, which passes.
    pub fn share(&mut self, n: usize, time: Duration) -> f64 {
        let before = self.flows[n].delivered;
        self.run(time);
        (self.flows[n].delivered - before) as f64 / self.path.rate as f64 / time.as_secs_f64()
    }

    /// Octets waiting at the bottleneck.
    pub fn backlog(&self) -> u64 {
        let ahead = self.busy_until.since(self.now).as_nanos();
        (u128::from(ahead) * u128::from(self.path.rate) / 1_000_000_000) as u64
    }

    fn send(&mut self, n: usize) {
        loop {
            let flow = &mut self.flows[n];
            let room = flow.in_flight + MSS <= flow.control.cwnd();
            let empty = flow.app.is_some_and(|rate| {
                let has = u128::from(rate) * u128::from(self.now.as_nanos()) / 1_000_000_000;
                flow.written + u64::from(MSS) > has as u64
            });
            flow.limited = !room && !empty;
            if empty {
                flow.app_limited_until = flow.delivered + u64::from(flow.in_flight);
                return self.send_later(n, self.now + Duration::from_millis(1));
            }
            if !room {
                return;
            }
            if self.now < flow.pace_at {
                let at = flow.pace_at;
                return self.send_later(n, at);
            }
            self.transmit(n);
        }
    }

    fn send_later(&mut self, n: usize, at: Instant) {
        if self.flows[n].send_at.is_none() {
            self.flows[n].send_at = Some(at);
            self.at(at, n, Event::Send);
        }
    }

    fn transmit(&mut self, n: usize) {
        let (now, flow) = (self.now, &mut self.flows[n]);
        flow.control.on_sent(now, MSS, flow.in_flight);
        if flow.in_flight == 0 {
            (flow.first_sent_at, flow.delivered_at) = (now, now);
            flow.timeout_at = now + Duration::from_secs(1);
            let at = flow.timeout_at;
            self.order += 1;
            self.events.push(core::cmp::Reverse((at, self.order, n, Event::Timeout)));
        }
        flow.in_flight += MSS;
        flow.peak = flow.peak.max(flow.in_flight);
        flow.prr.1 += u64::from(MSS);
        flow.written += u64::from(MSS);
        flow.packets.push_back(Packet {
            fate: Fate::Flying,
            sent_at: now,
            first_sent_at: flow.first_sent_at,
            delivered: flow.delivered,
            delivered_at: flow.delivered_at,
            lost: flow.lost,
            in_flight: flow.in_flight,
            app_limited: flow.app_limited_until >= flow.delivered && flow.app.is_some(),
        });
        if let Some(rate) = flow.control.pacing_rate() {
            let gap = Duration::from_nanos(u64::from(MSS) * 1_000_000_000 / rate.max(1));
            flow.pace_at = flow.pace_at.max(now) + gap;
        }
        let id = flow.base + flow.packets.len() as u64 - 1;
        self.sent += 1;
        let unlucky = self.path.loss_each > 0 && self.sent.is_multiple_of(self.path.loss_each);
        if unlucky || self.path.loss > 0.0 && self.rng.chance(self.path.loss) {
            return;
        }
        if self.backlog() > self.path.queue {
            self.overflow += u64::from(MSS);
            return;
        }
        let through = Duration::from_nanos(u64::from(MSS) * 1_000_000_000 / self.path.rate);
        self.busy_until = self.busy_until.max(now) + through;
        let back = self.busy_until + self.path.rtt;
        let slot = self.path.slot.as_nanos().max(1);
        let back = Instant::from_nanos(back.as_nanos().next_multiple_of(slot));
        self.at(back, n, Event::Arrive(id));
    }

    fn arrive(&mut self, n: usize, id: u64) {
        let flow = &mut self.flows[n];
        flow.unacked.push(id);
        if flow.unacked.len() >= self.path.per_ack {
            let ids = core::mem::take(&mut flow.unacked);
            flow.acknowledge(self.now, &ids);
        }
    }

    fn timeout(&mut self, n: usize) {
        let (now, flow) = (self.now, &mut self.flows[n]);
        if flow.in_flight == 0 {
            return;
        }
        if now < flow.timeout_at {
            let at = flow.timeout_at;
            return self.at(at, n, Event::Timeout);
        }
        let flight = flow.in_flight;
        flow.timeouts += 1;
        flow.lose(now, u64::MAX);
        flow.control.on_timeout(now, flight, true);
        flow.mode = Mode::Timeout;
        flow.recover = flow.base + flow.packets.len() as u64;
        flow.pace_at = now;
    }
}

impl Flow {
    fn new(control: Congestion) -> Flow {
        Flow {
            control,
            app: None,
            delivered: 0,
            lost: 0,
            timeouts: 0,
            peak: 0,
            unacked: Vec::new(),
            packets: VecDeque::new(),
            base: 0,
            highest: 0,
            in_flight: 0,
            delivered_at: Instant::ZERO,
            first_sent_at: Instant::ZERO,
            app_limited_until: 0,
            written: 0,
            mode: Mode::Open,
            recover: 0,
            round_end: 0,
            prr: (0, 0, 1),
            pace_at: Instant::ZERO,
            send_at: None,
            limited: true,
            timeout_at: Instant::ZERO,
        }
    }

    fn next(&self) -> u64 {
        self.base + self.packets.len() as u64
    }

    /// What still flies and was sent before `end` is lost; gives its octets.
    fn lose(&mut self, now: Instant, end: u64) -> u32 {
        let mut lost = 0;
        let count = end.saturating_sub(self.base).min(self.packets.len() as u64) as usize;
        for packet in self.packets.range_mut(..count).filter(|packet| packet.fate == Fate::Flying) {
            packet.fate = Fate::Lost;
            lost += MSS;
            self.in_flight -= MSS;
            self.lost += u64::from(MSS);
            self.control.on_lost(&LostSample {
                now,
                octets: MSS,
                tx_in_flight: packet.in_flight,
                lost: (self.lost - packet.lost) as u32,
                app_limited: packet.app_limited,
            });
        }
        while self.packets.front().is_some_and(|packet| packet.fate != Fate::Flying) {
            self.packets.pop_front();
            self.base += 1;
        }
        lost
    }

    fn acknowledge(&mut self, now: Instant, ids: &[u64]) {
        let prior_in_flight = self.in_flight;
        let mut delivered = 0;
        let mut newest: Option<(u64, Instant, Instant, u64, u32, bool, Instant)> = None;
        for id in ids {
            let Some(packet) = id.checked_sub(self.base).and_then(|at| self.packets.get_mut(at as usize))
            else {
                continue;
            };
            if packet.fate != Fate::Flying {
                continue;
            }
            packet.fate = Fate::Delivered;
            newest = Some((
                packet.delivered,
                packet.delivered_at,
                packet.first_sent_at,
                packet.lost,
                packet.in_flight,
                packet.app_limited,
                packet.sent_at,
            ));
            delivered += MSS;
            self.highest = self.highest.max(*id);
        }
        let Some((prior_delivered, prior_at, first_sent_at, prior_lost, tx_in_flight, app_limited, sent_at)) =
            newest
        else {
            return;
        };
        self.in_flight -= delivered;
        self.delivered += u64::from(delivered);
        self.delivered_at = now;
        self.first_sent_at = sent_at;
        self.timeout_at = now + Duration::from_secs(1);
        let lost = self.lose(now, self.highest.saturating_sub(2));
        let interval = sent_at.since(first_sent_at).max(now.since(prior_at));
        let new_round = self.highest >= self.round_end;
        if new_round {
            self.round_end = self.next();
        }
        self.recover(now, prior_in_flight, lost);
        let (cwnd, ssthresh) = (self.control.cwnd(), self.control.ssthresh());
        let window_in_use = self.limited || cwnd < ssthresh && cwnd < prior_in_flight.saturating_mul(2);
        self.control.on_ack(&AckSample {
            now,
            acked: delivered,
            delivered,
            lost,

            in_flight: self.in_flight,
            rtt: Some(now.since(sent_at)),
            window_in_use,
            in_recovery: self.mode == Mode::Fast,
            new_round,
            rate: Some(RateSample {
                delivered_total: self.delivered,
                prior_delivered,
                delivered: (self.delivered - prior_delivered) as u32,
                interval,
                lost: (self.lost - prior_lost) as u32,
                tx_in_flight,
                app_limited,
            }),
        });
        if self.mode == Mode::Fast && !self.control.steers_recovery() {
            self.reduce_proportionally(u64::from(delivered), lost == 0);
        }
    }

    fn recover(&mut self, now: Instant, flight: u32, lost: u32) {
        if self.mode != Mode::Open && self.highest >= self.recover {
            if self.mode == Mode::Fast && !self.control.steers_recovery() {
                self.control.set_cwnd(self.control.ssthresh());
            }
            self.control.on_recovered(now);
            self.mode = Mode::Open;
        }
        if lost > 0 && self.mode == Mode::Open {
            self.control.on_congestion(now, Signal::Loss, flight);
            self.mode = Mode::Fast;
            self.recover = self.next();
            self.prr = (0, 0, u64::from(flight.max(1)));
        }
    }

    /// RFC 9937 §6.2.
    fn reduce_proportionally(&mut self, delivered: u64, safe: bool) {
        self.prr.0 += delivered;
        let (done, out, start) = self.prr;
        let (in_flight, ssthresh) = (u64::from(self.in_flight), u64::from(self.control.ssthresh()));
        let send = if in_flight > ssthresh {
            (done * ssthresh).div_ceil(start).saturating_sub(out)
        } else {
            let most = done.saturating_sub(out).max(delivered) + if safe { u64::from(MSS) } else { 0 };
            most.min(ssthresh - in_flight)
        };
        let send = if out == 0 { send.max(u64::from(MSS)) } else { send };
        self.control.set_cwnd((in_flight + send) as u32);
    }
}
