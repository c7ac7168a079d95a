//! Made-up exchanges for the tests of the readers.

use crate::base::{Duration, Instant};
use crate::trace::{Direction, Drop, Event, EventKind, Flow, PacketEvent, Reason, Sink, TcpState, View, Why};
use etherparse::{PacketBuilder, TcpOptionElement};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

/// A writer that others can look into.
#[derive(Clone, Default)]
pub(super) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no test panics while writing").clone()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.bytes()).expect("text")
    }
}

impl std::io::Write for Paper {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no test panics while writing").extend_from_slice(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Our end: port 80 of 10.9.0.2. The peer's initial sequence number is 7000, ours 1000.
pub(super) struct Script<'a> {
    pub sink: &'a mut dyn Sink,
    pub at: Instant,
    pub flow: Flow,
    /// Our variables; `None` while there is no connection.
    pub view: Option<View>,
}

impl<'a> Script<'a> {
    pub fn new(sink: &'a mut dyn Sink, peer_port: u16) -> Script<'a> {
        let local: SocketAddr = "10.9.0.2:80".parse().expect("address");
        let remote = SocketAddr::new("10.9.0.1".parse().expect("address"), peer_port);
        Script { sink, at: Instant::from_nanos(5_000_000), flow: Flow { local, remote }, view: None }
    }

    pub fn wait(&mut self, micros: u64) -> &mut Self {
        self.at += Duration::from_micros(micros);
        self
    }

    /// A segment arrives and leads us to `state`.
    pub fn peer(&mut self, flags: &str, seq: u32, ack: u32, len: usize, state: TcpState) -> &mut Self {
        let bytes =
            self.bytes(Direction::In, flags, 7000u32.wrapping_add(seq), 1000u32.wrapping_add(ack), len);
        self.packet(Direction::In, &bytes, Reason::Taken, state)
    }

    /// A segment arrives and is dropped.
    pub fn dropped(&mut self, flags: &str, seq: u32, ack: u32, len: usize, why: Drop) -> &mut Self {
        let bytes =
            self.bytes(Direction::In, flags, 7000u32.wrapping_add(seq), 1000u32.wrapping_add(ack), len);
        let state = self.view.map_or(TcpState::Closed, |view| view.state);
        self.packet(Direction::In, &bytes, Reason::Dropped(why), state)
    }

    /// We send a segment and are then in `state`.
    pub fn us(
        &mut self,
        flags: &str,
        seq: u32,
        ack: u32,
        len: usize,
        why: Why,
        state: TcpState,
    ) -> &mut Self {
        let bytes =
            self.bytes(Direction::Out, flags, 1000u32.wrapping_add(seq), 7000u32.wrapping_add(ack), len);
        self.packet(Direction::Out, &bytes, Reason::Sent(why), state)
    }

    pub fn packet(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        reason: Reason,
        state: TcpState,
    ) -> &mut Self {
        self.at += Duration::from_micros(20);
        let before = self.view;
        if before.is_some_and(|view| view.state != state) || (before.is_none() && state != TcpState::Closed) {
            let from = before.map_or(TcpState::Listen, |view| view.state);
            self.say(EventKind::State { from, to: state, why: "a segment", rfc: "RFC 9293 §3.10.7" });
        }
        self.view = Some(view(state));
        let bytes = &[bytes][..];
        let after = self.view;
        self.say(EventKind::Packet(PacketEvent { direction, bytes, segment_size: 0, reason, before, after }));
        self
    }

    pub fn say(&mut self, kind: EventKind<'_>) -> &mut Self {
        self.sink.event(&Event { at: self.at, flow: Some(self.flow), kind });
        self
    }

    fn bytes(&self, direction: Direction, flags: &str, seq: u32, ack: u32, len: usize) -> Vec<u8> {
        let (from, to) = match direction {
            Direction::In => (self.flow.remote, self.flow.local),
            Direction::Out => (self.flow.local, self.flow.remote),
        };
        tcp_packet(from, to, flags, seq, ack, len)
    }

    pub fn handshake(&mut self) -> &mut Self {
        self.peer("S", 0, 0, 0, TcpState::SynReceived)
            .us("S.", 0, 1, 0, Why::SynAck, TcpState::SynReceived)
            .wait(30)
            .peer(".", 1, 1, 0, TcpState::Established)
    }
}

pub(super) fn view(state: TcpState) -> View {
    View {
        state,
        iss: 1000,
        irs: 7000,
        snd_una: 1001,
        snd_nxt: 1001,
        snd_wnd: 64240,
        rcv_nxt: 7001,
        rcv_wnd: 65160,
        cwnd: 14480,
        ssthresh: u32::MAX,
        srtt: Some(Duration::from_micros(90)),
        rto: Duration::from_millis(200),
    }
}

pub(super) fn tcp_packet(
    from: SocketAddr,
    to: SocketAddr,
    flags: &str,
    seq: u32,
    ack: u32,
    len: usize,
) -> Vec<u8> {
    let has = |letter| flags.contains(letter);
    let ip = match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64)
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            PacketBuilder::ipv6(from.ip().octets(), to.ip().octets(), 64)
        }
        _ => panic!("mixed families"),
    };
    let mut tcp = ip.tcp(from.port(), to.port(), seq, if has('0') { 0 } else { 502 });
    if has('S') {
        let options = [
            TcpOptionElement::MaximumSegmentSize(1460),
            TcpOptionElement::SelectiveAcknowledgementPermitted,
            TcpOptionElement::Timestamp(1, 0),
            TcpOptionElement::WindowScale(7),
        ];
        tcp = tcp.options(&options).expect("fits").syn();
    }
    if has('.') {
        tcp = tcp.ack(ack);
    }
    if has('F') {
        tcp = tcp.fin();
    }
    if has('R') {
        tcp = tcp.rst();
    }
    if has('P') {
        tcp = tcp.psh();
    }
    let payload = vec![b'x'; len];
    let mut bytes = Vec::with_capacity(tcp.size(len));
    tcp.write(&mut bytes, &payload).expect("a vector takes everything");
    bytes
}
