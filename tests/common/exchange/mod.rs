//! A dialogue with a host, segment by segment: what the peer sends, what the stack must answer, and nothing else.
//!
//! Drives the public [`Host`] only and reaches every state by playing the segments that lead there. Numbers are
//! relative to each ISN (see [`text`](super::text)). Every packet passes the [`Checker`]; a packet that the script did
//! not ask for fails the test, at the latest when the dialogue ends.

mod bulk;
mod bystander;
pub mod data;
mod ecn;
mod icmp;
mod places;
mod segments;
mod setup;
mod socket;

use super::checker::Checker;
use super::packet::{self, Packet, Tcp};
use super::text::{self, Isns, SegmentText};
#[allow(unused_imports)]
pub use ecn::{CE, ECT_0};
#[allow(unused_imports)]
pub use setup::{Place, Setup};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::Location;
use std::sync::{Arc, Mutex};
pub use tunstack::base::Config;
use tunstack::base::{Duration, Instant};
use tunstack::host::{Host, Readiness, RxMeta, SocketId};
use tunstack::trace::{Event, EventKind, Sink, View};

/// The octet at `position` of every stream that a peer sends; the first octet after the SYN has position 1.
pub fn pattern(position: i64) -> u8 {
    (position.rem_euclid(251)) as u8
}

/// One connection of the dialogue, as both ends number it.
#[derive(Clone, Debug)]
struct Flow {
    local: SocketAddr,
    remote: SocketAddr,
    peer_isn: u32,
    stack_isn: Option<u32>,
    /// The window field that the peer sends unless the script says otherwise.
    window: u16,
    /// Did both SYNs carry timestamps?
    stack_offered_ts: bool,
    peer_offered_ts: bool,
    /// Window scale of the stack, when both sides scale.
    stack_scale: u8,
    peer_scales: bool,
    /// TSval of the last segment from the stack.
    last_ts: u32,
    /// The numbers after all that each side has sent so far.
    stack_nxt: i64,
    peer_nxt: i64,
    /// What the test wrote into the socket.
    written: Vec<u8>,
    /// Position up to which the test has read.
    read: i64,
}

/// A scripted dialogue.
pub struct Exchange {
    pub host: Host,
    pub now: Instant,
    pub checker: Checker,
    /// The listener, when the stack was opened passively.
    pub listener: Option<SocketId>,
    /// The socket that the calls below act on.
    pub sock: Option<SocketId>,
    /// Readiness events not looked at yet.
    pub events: Vec<(SocketId, Readiness)>,
    flows: Vec<Flow>,
    current: usize,
    outbox: VecDeque<(Instant, Packet)>,
    log: Arc<Mutex<Vec<String>>>,
    views: Arc<Mutex<HashMap<tunstack::trace::Flow, View>>>,
    here: &'static Location<'static>,
    batching: bool,
    /// ECN bits of the peer's next packet.
    mark: u8,
    /// The right edge of the window that the stack advertised last, relative to the peer's ISN.
    pub edge: Option<i64>,
}

/// Puts what the host tells about its states and timers into the dialogue.
struct Narrator(Arc<Mutex<Vec<String>>>, Arc<Mutex<HashMap<tunstack::trace::Flow, View>>>);

impl Sink for Narrator {
    fn event(&mut self, event: &Event<'_>) {
        let line = match &event.kind {
            EventKind::Packet(packet) => {
                // The dialogue shows packets itself.
                if let (Some(flow), Some(view)) = (event.flow, packet.after) {
                    self.1.lock().expect("no panic while noting").insert(flow, view);
                }
                return;
            }
            EventKind::State { from, to, why, rfc } => format!("{from} -> {to}: {why} ({rfc})"),
            EventKind::Timer { timer, attempt } => format!("timer: {timer}, attempt {attempt}"),
            EventKind::Congestion { why, cwnd, ssthresh } => {
                format!("{why}: cwnd {cwnd}, ssthresh {ssthresh}")
            }
            EventKind::Ended { error } => format!("ended: {}", error.unwrap_or("in good order")),
        };
        self.0.lock().expect("no panic while logging").push(format!("{:>14?}      . {line}", event.at));
    }
}

impl Exchange {
    /// The stack listens; nothing was said yet.
    #[track_caller]
    pub fn listening() -> Exchange {
        Setup::new().listening()
    }

    /// The stack was connected to, with no option but MSS, and has accepted.
    #[track_caller]
    pub fn established() -> Exchange {
        Setup::new().established()
    }

    /// The stack has called connect and its SYN is out.
    #[track_caller]
    pub fn connecting() -> Exchange {
        Setup::new().connecting()
    }

    /// The stack has connected to the peer, with no option but MSS.
    #[track_caller]
    pub fn connected() -> Exchange {
        Setup::new().connected()
    }

    // --- the peer ----------------------------------------------------------------------------------------------

    /// The peer sends this segment.
    #[track_caller]
    pub fn peer(&mut self, text: &str) -> &mut Exchange {
        self.step();
        self.nothing_pending();
        let spec = self.parse(text);
        let tcp = self.build(&spec);
        let end = i64::from(tcp.seq.wrapping_sub(self.flow().peer_isn) as i32) + i64::from(tcp.seq_len());
        let edge = self.edge.unwrap_or(i64::MAX);
        let flow = self.flow_mut();
        if end > flow.peer_nxt && end <= edge {
            flow.peer_nxt = end;
        }
        let mut bytes = packet::tcp(flow.remote.ip(), flow.local.ip(), &tcp);
        packet::set_ecn(&mut bytes, core::mem::take(&mut self.mark));
        self.deliver(&bytes, &text::show(&tcp, self.isns(false)));
        self
    }

    /// The peer's segment as octets, for tests that change it before it goes.
    #[track_caller]
    pub fn peer_bytes(&mut self, text: &str) -> Vec<u8> {
        let spec = self.parse(text);
        let tcp = self.build(&spec);
        packet::tcp(self.flow().remote.ip(), self.flow().local.ip(), &tcp)
    }

    /// These segments arrive in one read of the device: the stack sends only after the last.
    #[track_caller]
    pub fn peers(&mut self, texts: &[&str]) -> &mut Exchange {
        self.step();
        self.nothing_pending();
        self.batching = true;
        for text in texts {
            self.peer(text);
        }
        self.batching = false;
        self.drain();
        self
    }

    /// Any packet arrives.
    #[track_caller]
    pub fn inject(&mut self, bytes: &[u8]) -> &mut Exchange {
        self.step();
        self.nothing_pending();
        let text = match Packet::parse(bytes) {
            Ok(packet) => self.show(&packet),
            Err(why) => format!("{} octets ({why})", bytes.len()),
        };
        self.deliver(bytes, &text);
        self
    }

    /// The window field that the peer sends from now on where the script gives none.
    pub fn peer_window(&mut self, window: u16) -> &mut Exchange {
        self.flow_mut().window = window;
        self
    }

    /// Another connection of the dialogue: the same host and port of the stack, this port of the peer.
    pub fn on_port(&mut self, port: u16) -> &mut Exchange {
        match self.flows.iter().position(|flow| flow.remote.port() == port) {
            Some(index) => self.current = index,
            None => {
                let mut flow = self.flows[0].clone();
                flow.remote.set_port(port);
                flow.peer_isn = flow.peer_isn.wrapping_add(0x0101_0000 * u32::from(port & 0xff));
                (flow.stack_isn, flow.last_ts, flow.read) = (None, 0, 1);
                (flow.stack_nxt, flow.peer_nxt) = (0, 0);
                (flow.stack_offered_ts, flow.peer_offered_ts) = (false, false);
                flow.written.clear();
                self.flows.push(flow);
                self.current = self.flows.len() - 1;
            }
        }
        self
    }

    /// A new connection on the same ports begins: the ISN that the stack chooses next is learned afresh.
    pub fn again(&mut self, peer_isn: u32) -> &mut Exchange {
        let flow = self.flow_mut();
        (flow.stack_isn, flow.peer_isn, flow.read) = (None, peer_isn, 1);
        (flow.stack_nxt, flow.peer_nxt) = (0, 0);
        (flow.stack_offered_ts, flow.peer_offered_ts) = (false, false);
        flow.written.clear();
        self
    }

    // --- the stack ---------------------------------------------------------------------------------------------

    /// The stack must have sent exactly this next.
    #[track_caller]
    pub fn stack(&mut self, text: &str) -> Tcp {
        self.step();
        let spec = self.parse(text);
        let Some((_, packet)) = self.outbox.pop_front() else {
            self.fail(&format!("the stack sent nothing, expected  {text}"));
        };
        let Some(tcp) = packet.tcp().cloned() else {
            self.fail(&format!("expected  {text}\n     got  {}", self.show(&packet)));
        };
        self.learn(&packet, &tcp);
        if let Err(why) = self.matches(&spec, &packet, &tcp) {
            self.fail(&format!(
                "expected  {text}\n     got  {}\n          {why}",
                text::show(&tcp, self.isns(true))
            ));
        }
        tcp
    }

    /// Time passes until the stack sends something; it must be this. Gives the time that passed.
    #[track_caller]
    pub fn until(&mut self, text: &str) -> Duration {
        self.step();
        self.nothing_pending();
        let passed = self.until_anything();
        self.stack(text);
        passed
    }

    /// Time passes until the stack sends something; the script looks at it next.
    #[track_caller]
    pub fn until_anything(&mut self) -> Duration {
        self.step();
        self.nothing_pending();
        let start = self.now;
        while self.outbox.is_empty() {
            match self.host.next_timeout() {
                Some(deadline) => self.run_to(deadline.max(self.now)),
                None => self.fail("the stack will never send anything"),
            }
        }
        self.now.since(start)
    }

    /// Time passes until the stack's next deadline, whatever comes of it.
    #[track_caller]
    pub fn until_something_happens(&mut self) -> &mut Exchange {
        self.step();
        match self.host.next_timeout() {
            Some(deadline) => self.run_to(deadline.max(self.now)),
            None => self.fail("nothing will ever happen"),
        }
        self
    }

    /// Has the script looked at all that the stack sent?
    pub fn nothing_left(&self) -> bool {
        self.outbox.is_empty()
    }

    /// The next packet of the stack, whatever it is.
    #[track_caller]
    pub fn next(&mut self) -> Packet {
        self.step();
        match self.outbox.pop_front() {
            Some((_, packet)) => packet,
            None => self.fail("the stack sent nothing"),
        }
    }

    /// The next packet of the stack, if there is one.
    pub fn try_next(&mut self) -> Option<Packet> {
        self.outbox.pop_front().map(|(_, packet)| packet)
    }

    /// The stack has sent nothing else.
    #[track_caller]
    pub fn quiet(&mut self) -> &mut Exchange {
        self.step();
        self.nothing_pending();
        self
    }

    /// The stack sends nothing for this long.
    #[track_caller]
    pub fn quiet_for(&mut self, time: Duration) -> &mut Exchange {
        self.step();
        self.nothing_pending();
        self.run_to(self.now + time);
        self.nothing_pending();
        self
    }

    /// This long passes; the stack sends nothing before its end. What it sends then is for the script to expect.
    #[track_caller]
    pub fn after(&mut self, time: Duration) -> &mut Exchange {
        self.step();
        self.nothing_pending();
        let end = self.now + time;
        self.run_to(end);
        if self.outbox.iter().any(|(at, _)| *at < end) {
            self.nothing_pending();
        }
        self
    }

    /// Time passes; what the stack sends meanwhile is for the script to look at, whenever it was sent.
    #[track_caller]
    pub fn pass(&mut self, time: Duration) -> &mut Exchange {
        self.step();
        self.run_to(self.now + time);
        self
    }

    /// Time passes and what the stack sends meanwhile is not looked at (the checker does).
    #[track_caller]
    pub fn skip(&mut self, time: Duration) -> &mut Exchange {
        self.step();
        self.run_to(self.now + time);
        self.outbox.clear();
        self
    }

    /// A link to nowhere: drops what the stack has sent and the script does not care for.
    pub fn ignore(&mut self) -> &mut Exchange {
        self.outbox.clear();
        self
    }

    /// A remark in the dialogue.
    pub fn note(&mut self, text: &str) -> &mut Exchange {
        self.say(&format!("# {text}"));
        self
    }

    // --- inside ------------------------------------------------------------------------------------------------

    #[track_caller]
    fn step(&mut self) {
        self.here = Location::caller();
    }

    fn flow(&self) -> &Flow {
        &self.flows[self.current]
    }

    fn flow_mut(&mut self) -> &mut Flow {
        &mut self.flows[self.current]
    }

    /// ISNs as the sender sees them: ours when `stack` speaks.
    fn isns(&self, stack: bool) -> Isns {
        let (ours, theirs) = (self.flow().stack_isn.unwrap_or(0), self.flow().peer_isn);
        if stack { Isns { sender: ours, other: theirs } } else { Isns { sender: theirs, other: ours } }
    }

    #[track_caller]
    fn parse(&self, text: &str) -> SegmentText {
        SegmentText::parse(text).unwrap_or_else(|why| self.fail(&why))
    }

    /// The ISN of the stack and that of the peer, on the current connection.
    pub fn isns_of_flow(&self) -> (u32, u32) {
        (self.flow().stack_isn.unwrap_or(0), self.flow().peer_isn)
    }

    /// The stack's end and the peer's, on the current connection.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.flow().local, self.flow().remote)
    }

    /// The key variables of the current connection after its last packet, as the trace tells them.
    pub fn view(&self) -> Option<View> {
        let flow = tunstack::trace::Flow { local: self.flow().local, remote: self.flow().remote };
        self.views.lock().expect("no panic while noting").get(&flow).copied()
    }

    /// SND.NXT and RCV.NXT of the current connection after its last packet.
    pub fn last_view(&self) -> Option<(u32, u32)> {
        self.view().map(|view| (view.snd_nxt, view.rcv_nxt))
    }

    /// From now on the checker judges packets one by one: the peer sends what no TCP would.
    pub fn only_single_packets(&mut self) -> &mut Exchange {
        self.checker.forget_flows();
        self
    }

    /// The peer's clock for timestamps: a tick per millisecond, from an arbitrary start.
    pub fn peer_clock(&self) -> u32 {
        1_000 + self.now.as_millis() as u32
    }

    #[track_caller]
    fn deliver(&mut self, bytes: &[u8], text: &str) {
        self.say(&format!("peer  > {text}"));
        self.checker.arrived(bytes);
        self.host.receive(self.now, bytes, RxMeta::default());
        if !self.batching {
            self.drain();
        }
    }

    /// Takes every output of the host, as its caller must after every input.
    #[track_caller]
    fn drain(&mut self) {
        while let Some(packet) = self.host.transmit(self.now) {
            let bytes = packet.to_vec();
            let parsed = Packet::parse(&bytes);
            let text = match &parsed {
                Ok(packet) => self.show(packet),
                Err(why) => format!("{} octets: {why}", bytes.len()),
            };
            self.say(&format!("stack < {text}"));
            if let Err(fault) = self.checker.sent(self.now, &bytes) {
                self.fail(&fault.to_string());
            }
            self.outbox.push_back((self.now, parsed.expect("the checker has seen it")));
        }
        while let Some(event) = self.host.poll_event() {
            self.events.push((event.socket, event.readiness));
        }
        if let Err(what) = self.host.check_invariants() {
            self.fail(&format!("the host's own invariants: {what}"));
        }
        self.checker.settle();
    }

    /// Lets time pass, waking the host at each of its deadlines.
    #[track_caller]
    fn run_to(&mut self, end: Instant) {
        let mut spins = 0;
        while let Some(deadline) = self.host.next_timeout().filter(|deadline| *deadline <= end) {
            spins = if deadline <= self.now { spins + 1 } else { 0 };
            if spins > 100 {
                self.fail(&format!(
                    "the host asks again and again to be woken at {deadline:?}, and it is past that"
                ));
            }
            self.now = self.now.max(deadline);
            self.checker.acted();
            self.host.advance(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Calls the host as a user would and takes what it sends.
    #[track_caller]
    pub fn user<R>(&mut self, what: &str, call: impl FnOnce(&mut Host, Instant) -> R) -> R {
        self.here = Location::caller();
        self.nothing_pending();
        self.say(&format!("user    {what}"));
        self.checker.acted();
        let result = call(&mut self.host, self.now);
        self.drain();
        result
    }

    /// Calls the host as a user would, whatever is pending.
    #[track_caller]
    fn user_quietly<R>(&mut self, call: impl FnOnce(&mut Host, Instant) -> R) -> R {
        self.checker.acted();
        let result = call(&mut self.host, self.now);
        self.drain();
        result
    }

    #[track_caller]
    fn nothing_pending(&mut self) {
        if let Some((_, packet)) = self.outbox.pop_front() {
            let text = self.show(&packet);
            self.fail(&format!("the script does not expect  {text}"));
        }
    }

    fn say(&self, line: &str) {
        let line = format!("{:>14?} {line}", self.now);
        self.log.lock().expect("no panic while logging").push(line);
    }

    /// Ends the test with the whole dialogue.
    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        let log = self.log.lock().map(|log| log.join("\n")).unwrap_or_default();
        panic!("\n{log}\n\n  at {}: {why}\n", Location::caller())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.outbox.is_empty() {
            let text = self.outbox.iter().map(|(_, packet)| self.show(packet)).collect::<Vec<_>>().join("\n");
            let log = self.log.lock().map(|log| log.join("\n")).unwrap_or_default();
            panic!("\n{log}\n\n  after {}: the script ends, and nobody expected\n{text}\n", self.here);
        }
    }
}
