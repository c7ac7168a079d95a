//! Two connections talk directly, or one talks to a test that plays its peer. Virtual time, segments as values.

mod opening;
mod pair;
mod receiving;
mod script;
mod sending;
mod states;
mod storm;
mod timing;
mod transfer;

use super::connection::State;
use super::{Connection, Isn, Limits, Outgoing, SegmentMeta, Settings, Verdict};
use crate::base::{Config, Counters, Duration, Instant, Pool, Rng};
use crate::trace::{Flow, Tracer, Why};
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Options, Segment};

/// Milliseconds.
pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A segment that travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub seq: SeqNumber,
    pub ack: SeqNumber,
    pub flags: Flags,
    pub window: u16,
    pub urgent: u16,
    pub options: Options,
    pub payload: Vec<u8>,
    pub segment_size: u16,
    pub why: Why,
}

impl Sent {
    fn new(out: &Outgoing<'_>) -> Sent {
        Sent {
            seq: out.seq,
            ack: out.ack,
            flags: out.flags,
            window: out.window,
            urgent: out.urgent,
            options: out.options.clone(),
            payload: out.payload.concat(),
            segment_size: out.segment_size,
            why: out.why,
        }
    }

    pub fn as_segment(&self, flow: &Flow) -> Segment<'_> {
        Segment {
            src_port: flow.local.port(),
            dst_port: flow.remote.port(),
            seq: self.seq,
            ack: self.ack,
            flags: self.flags,
            window: self.window,
            urgent: self.urgent,
            options: self.options.clone(),
            payload: &self.payload,
        }
    }
}

/// One end: a connection and the host around it.
pub(super) struct End {
    pub conn: Option<Connection>,
    pub flow: Flow,
    pub config: Config,
    pub counters: Counters,
    pub budget: u32,
    pub max_payload: u32,
    rng: Rng,
    pool: Pool,
    tracer: Tracer,
}

impl End {
    pub fn new(flow: Flow, seed: u64) -> End {
        End {
            conn: None,
            flow,
            config: config(),
            counters: Counters::default(),
            budget: 1000,
            max_payload: 0,
            rng: Rng::from_seed(seed),
            pool: Pool::default(),
            tracer: Tracer::default(),
        }
    }

    /// Calls `f` with what the host provides.
    pub fn host<T>(&mut self, now: Instant, f: impl FnOnce(&mut Option<Connection>, &mut Env<'_>) -> T) -> T {
        let mut env = Env {
            now,
            config: &self.config,
            counters: &mut self.counters,
            rng: &mut self.rng,
            pool: &mut self.pool,
            trace: &mut self.tracer,
            challenge_budget: &mut self.budget,
        };
        f(&mut self.conn, &mut env)
    }

    /// Calls `f` with the connection.
    pub fn call<T>(&mut self, now: Instant, f: impl FnOnce(&mut Connection, &mut Env<'_>) -> T) -> T {
        self.host(now, |conn, env| f(conn.as_mut().expect("a connection"), env))
    }

    pub fn conn(&self) -> &Connection {
        self.conn.as_ref().expect("a connection")
    }

    /// Sends the trace to `sink`.
    pub fn trace_to(&mut self, sink: Box<dyn crate::trace::Sink>) {
        self.tracer.set(Some(sink));
    }

    /// Opens actively.
    pub fn connect(&mut self, now: Instant, iss: u32, settings: Settings, mtu: u32) {
        let flow = self.flow;
        let isn = Isn { iss: SeqNumber(iss), ts_offset: iss ^ 0x1234_5678 };
        self.host(now, |conn, env| *conn = Some(Connection::connect(env, flow, isn, settings, mtus(mtu))));
    }

    /// Takes a SYN as a listener would.
    pub fn accept(&mut self, now: Instant, iss: u32, syn: &Sent, settings: Settings, mtu: u32) {
        let flow = self.flow;
        let isn = Isn { iss: SeqNumber(iss), ts_offset: iss ^ 0x8765_4321 };
        let syn = syn.clone();
        self.host(now, |conn, env| {
            let segment = syn.as_segment(&flow);
            *conn = Some(Connection::accept_syn(env, flow, isn, &segment, settings, mtus(mtu)));
        });
    }

    /// A segment arrives.
    pub fn receive(&mut self, now: Instant, sent: &Sent) -> Verdict {
        let flow = Flow { local: self.flow.remote, remote: self.flow.local };
        let meta = SegmentMeta { tos: 0, segment_size: sent.segment_size };
        self.call(now, |conn, env| conn.on_segment(env, &sent.as_segment(&flow), meta))
    }

    /// Everything that is due to be sent.
    pub fn transmit(&mut self, now: Instant) -> Vec<Sent> {
        let limits = Limits { max_payload: self.max_payload, cut_by_host: false };
        let mut all = Vec::new();
        while let Some(sent) =
            self.call(now, |conn, env| conn.next_segment(env, &limits).map(|out| Sent::new(&out)))
        {
            all.push(sent);
            assert!(all.len() < 10_000, "output without end: {:?}", all.last());
        }
        if let Err(what) = self.conn().check_invariants() {
            panic!("{what}: {:?}", self.conn());
        }
        all
    }
}

/// The flow of the active end.
pub(super) fn flow() -> Flow {
    Flow { local: "10.0.0.1:40000".parse().expect("valid"), remote: "10.0.0.2:80".parse().expect("valid") }
}

/// An idle connection holds no buffer, and what it does hold can be packed into little.
#[test]
fn an_idle_connection_is_small() {
    let mut x = script::Script::new(script::PeerSyn::FULL).established();
    x.end.call(x.now, |conn, _| conn.take_wakes());
    assert!(x.end.conn().memory_octets() <= 1400, "{}", x.end.conn().memory_octets());
    assert!(x.end.conn().is_at_rest());
    let mut octets = Vec::new();
    x.end.conn().pack(&mut super::pack::Packer::new(&mut octets));
    assert!(octets.len() <= 184, "{}", octets.len());
}

/// What keeps account of a flight is not made for the acknowledgments of a peer that only sends, nor when its window opens.
#[test]
fn a_receiver_keeps_no_account_of_a_flight() {
    for syn in [script::PeerSyn::PLAIN, script::PeerSyn::FULL] {
        let mut x = script::Script::new(syn).established();
        let keeps_none = |x: &script::Script| match &x.end.conn().state {
            State::Synchronized(state) => state.snd.out.is_idle(),
            state => panic!("{state:?}"),
        };
        for (seq, window) in [(1, 1000), (2, 0), (3, 1000)] {
            x.peer_win("P.", seq, 1, "x", window);
            assert_eq!(x.recv(1).as_deref(), Ok("x"));
            assert!(keeps_none(&x), "after {seq}");
        }
    }
}

/// Defaults, but for a send buffer that does not grow: most dialogues are not about it.
fn config() -> Config {
    Config { tcp_wmem: [4096, 2 << 20, 4 << 20], ..Config::default() }
}

/// The same in both directions.
fn mtus(mtu: u32) -> super::Mtus {
    super::Mtus { path: mtu, receive: mtu }
}
