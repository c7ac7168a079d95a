//! One connection against a test that plays the peer, in numbers relative to the two ISNs.

use super::{End, Sent, flow, ms};
use crate::base::config::CongestionControl;
use crate::base::io::{Source, Target};
use crate::base::{Duration, Errno, Instant, MsgFlags, Readiness};
use crate::trace::{TcpState, Why};
use crate::transport::tcp::{Settings, Verdict};
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, Options, SackBlock, Timestamps};

/// Our ISS; near the wrap, so that every test crosses it.
const ISS: u32 = 0xffff_fff0;
/// The peer's.
const IRS: u32 = 0xffff_fff8;

/// Options of the peer's SYN.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerSyn {
    pub mss: Option<u16>,
    pub scale: Option<u8>,
    pub sack: bool,
    pub timestamps: bool,
    pub window: u16,
}

impl PeerSyn {
    /// MSS 1000, nothing else.
    pub const PLAIN: PeerSyn =
        PeerSyn { mss: Some(1000), scale: None, sack: false, timestamps: false, window: 60_000 };
    pub const SACK: PeerSyn = PeerSyn { sack: true, ..PeerSyn::PLAIN };
    pub const FULL: PeerSyn = PeerSyn { sack: true, timestamps: true, scale: Some(0), ..PeerSyn::PLAIN };
}

/// The dialogue.
pub(super) struct Script {
    pub end: End,
    pub now: Instant,
    pub settings: Settings,
    syn: PeerSyn,
    /// TSval of the peer's segments; counts up with time.
    pub ts_base: u32,
    pub last_verdict: Verdict,
}

impl Script {
    /// Nothing has happened.
    pub fn new(syn: PeerSyn) -> Script {
        let mut end = End::new(flow(), 1);
        // The windows in these scripts are RFC 5681's.
        end.config.tcp_congestion_control = CongestionControl::Reno;
        let settings = Settings::new(&end.config);
        let now = Instant::ZERO + Duration::from_secs(5000);
        Script { end, now, settings, syn, ts_base: 7000, last_verdict: Verdict::Taken }
    }

    /// SYN-SENT; the SYN is out.
    pub fn syn_sent(mut self) -> Script {
        self.end.connect(self.now, ISS, self.settings.clone(), 1500);
        self.expect(&["S 0:1(0)"]);
        self
    }

    /// SYN-RECEIVED by a passive open; the SYN-ACK is out.
    pub fn syn_received(mut self) -> Script {
        let syn_ack = self.accept_syn();
        assert!(show(&syn_ack).starts_with("S. 0:1(0) ack 1 "), "{syn_ack:?}");
        self
    }

    /// The peer opens; returns the SYN-ACK.
    pub fn accept_syn(&mut self) -> Sent {
        let syn = self.peer_syn();
        self.end.accept(self.now, ISS, &syn, self.settings.clone(), 1500);
        let sent = self.sent();
        assert_eq!(sent.len(), 1);
        sent[0].clone()
    }

    /// ESTABLISHED, opened by us, with a round trip of 100 ms (RTO 300 ms).
    pub fn established(self) -> Script {
        let mut x = self.syn_sent();
        x.wait(ms(100));
        let syn = Sent { flags: Flags::SYN | Flags::ACK, ack: SeqNumber(ISS + 1), ..x.peer_syn() };
        x.inject(&syn);
        x.expect(&[". 1:1(0) ack 1"]);
        x.delay_acks();
        assert_eq!(x.state(), TcpState::Established);
        x
    }

    /// ESTABLISHED, opened by the peer.
    pub fn accepted(self) -> Script {
        let mut x = self.syn_received();
        x.wait(ms(100));
        x.peer(".", 1, 1, "");
        x.expect(&[]);
        x.delay_acks();
        assert_eq!(x.state(), TcpState::Established);
        x
    }

    /// ESTABLISHED, opened by a peer that asks for ECN.
    pub fn accepted_with_ecn(mut self) -> Script {
        let syn = Sent { flags: Flags::SYN | Flags::ECE | Flags::CWR, ..self.peer_syn() };
        self.end.accept(self.now, ISS, &syn, self.settings.clone(), 1500);
        assert!(self.sent()[0].flags.contains(Flags::ECE));
        self.wait(ms(100));
        self.peer(".", 1, 1, "");
        self
    }

    /// In one of the synchronized states.
    pub fn in_state(state: TcpState, syn: PeerSyn) -> Script {
        let mut x = Script::new(syn);
        if state == TcpState::SynReceived {
            return x.syn_received();
        }
        x = x.established();
        let (fin, seq) = match state {
            TcpState::Established => return x,
            TcpState::CloseWait | TcpState::LastAck => (1, 2),
            _ => (0, 1),
        };
        if fin == 1 {
            x.peer("F.", 1, 1, "");
            x.expect(&[". 1:1(0) ack 2"]);
        }
        if state == TcpState::CloseWait {
            return x;
        }
        x.shut_write();
        x.expect(&[&format!("F. 1:2(0) ack {seq}")]);
        match state {
            TcpState::FinWait2 => x.peer(".", 1, 2, ""),
            TcpState::Closing => x.peer("F.", 1, 1, ""),
            TcpState::TimeWait => x.peer("F.", 1, 2, ""),
            _ => {}
        }
        x.out();
        assert_eq!(x.state(), state);
        x
    }

    fn delay_acks(&mut self) {
        self.end.call(self.now, |conn, _| conn.set_quick_ack(false));
        self.expect(&[]);
    }

    pub fn state(&self) -> TcpState {
        self.end.conn().state()
    }

    pub fn set(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        let settings = self.settings.clone();
        self.end.call(self.now, |conn, env| conn.apply(env, settings));
    }

    /// Time passes; timers fire; nothing may be sent in between but what the next `expect` sees.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.end.conn().deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.end.call(self.now, |conn, env| conn.on_timeout(env));
            // Stop in front of output, so that it leaves at its time, and where the connection ends.
            if self.end.conn().has_output() || self.end.conn().is_closed() {
                return;
            }
        }
        self.now = end;
    }

    /// Time passes in which nothing is sent.
    pub fn quiet_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let left = Duration::from_nanos(end.as_nanos() - self.now.as_nanos());
            self.wait(left);
            let out = self.out();
            assert!(out.is_empty(), "at {:?} of silence: {out:?}", self.now);
        }
    }

    /// The next thing is sent after exactly `time` (within a millisecond).
    pub fn after(&mut self, time: Duration, expected: &[&str]) {
        let end = self.now + time;
        self.quiet_for(time.saturating_sub(ms(1)));
        self.wait(ms(2));
        self.expect(expected);
        self.now = self.now.max(end);
    }

    fn peer_syn(&self) -> Sent {
        let syn = self.syn;
        let timestamps =
            syn.timestamps.then_some(Timestamps { value: self.peer_clock(), echo: self.our_clock() });
        Sent {
            seq: SeqNumber(IRS),
            ack: SeqNumber(0),
            flags: Flags::SYN,
            window: syn.window,
            urgent: 0,
            options: Options {
                mss: syn.mss,
                window_scale: syn.scale,
                sack_permitted: syn.sack,
                timestamps,
                ..Options::default()
            },
            payload: Vec::new(),
            segment_size: 0,
            why: Why::Syn,
        }
    }

    pub fn peer_clock(&self) -> u32 {
        self.ts_base.wrapping_add(self.now.as_millis() as u32)
    }

    fn our_clock(&self) -> u32 {
        (self.now.as_millis() as u32).wrapping_add(ISS ^ 0x1234_5678)
    }

    /// A segment of the peer's at relative `seq` and `ack`.
    pub fn segment(&self, flags: &str, seq: u32, ack: u32, text: &str) -> Sent {
        let flags = flags.chars().fold(Flags::empty(), |all, letter| {
            all | match letter {
                'S' => Flags::SYN,
                'F' => Flags::FIN,
                'P' => Flags::PSH,
                'R' => Flags::RST,
                'U' => Flags::URG,
                'E' => Flags::ECE,
                '.' => Flags::ACK,
                other => panic!("no flag {other}"),
            }
        });
        let timestamps =
            self.syn.timestamps.then_some(Timestamps { value: self.peer_clock(), echo: self.our_clock() });
        Sent {
            seq: SeqNumber(IRS.wrapping_add(seq)),
            ack: SeqNumber(ISS.wrapping_add(ack)),
            flags,
            window: self.syn.window,
            urgent: 0,
            options: Options { timestamps, ..Options::default() },
            payload: text.as_bytes().to_vec(),
            segment_size: 0,
            why: Why::Data,
        }
    }

    pub fn inject(&mut self, sent: &Sent) -> Verdict {
        self.last_verdict = self.end.receive(self.now, sent);
        self.last_verdict
    }

    pub fn peer(&mut self, flags: &str, seq: u32, ack: u32, text: &str) {
        self.inject(&self.segment(flags, seq, ack, text));
    }

    /// As `peer`, with a window.
    pub fn peer_win(&mut self, flags: &str, seq: u32, ack: u32, text: &str, window: u16) {
        let segment = Sent { window, ..self.segment(flags, seq, ack, text) };
        self.inject(&segment);
    }

    /// As `peer`, with SACK blocks.
    pub fn peer_sack(&mut self, ack: u32, blocks: &[(u32, u32)]) {
        let mut segment = self.segment(".", 1, ack, "");
        segment.options.sack = blocks
            .iter()
            .map(|(left, right)| SackBlock {
                left: SeqNumber(ISS.wrapping_add(*left)),
                right: SeqNumber(ISS.wrapping_add(*right)),
            })
            .collect();
        self.inject(&segment);
    }

    /// What is sent now.
    pub fn sent(&mut self) -> Vec<Sent> {
        self.end.transmit(self.now)
    }

    /// What is sent now, as text.
    pub fn out(&mut self) -> Vec<String> {
        self.sent().iter().map(show).collect()
    }

    /// Exactly this is sent now; each line may leave out its end ("win …", SACK blocks).
    #[track_caller]
    pub fn expect(&mut self, expected: &[&str]) {
        let out = self.out();
        let fits = out.len() == expected.len()
            && out.iter().zip(expected).all(|(out, want)| {
                out == want || out.strip_prefix(want).is_some_and(|rest| rest.starts_with(' '))
            });
        assert!(fits, "\n  sent:     {out:#?}\n  expected: {expected:#?}");
    }

    pub fn send(&mut self, data: &[u8]) -> Result<usize, Errno> {
        self.send_flags(data, MsgFlags::empty())
    }

    pub fn send_flags(&mut self, data: &[u8], flags: MsgFlags) -> Result<usize, Errno> {
        self.end.call(self.now, |conn, env| conn.send(env, Source::Slice(data), flags))
    }

    pub fn recv(&mut self, most: usize) -> Result<String, Errno> {
        self.recv_flags(most, MsgFlags::empty())
    }

    pub fn recv_flags(&mut self, most: usize, flags: MsgFlags) -> Result<String, Errno> {
        let mut buf = vec![0; most];
        let read = self.end.call(self.now, |conn, env| conn.recv(env, Target::Slice(&mut buf), flags))?;
        buf.truncate(read.len);
        Ok(String::from_utf8(buf).expect("text"))
    }

    pub fn shut_write(&mut self) {
        self.end.call(self.now, |conn, env| conn.shutdown(env, false, true)).expect("connected");
    }

    pub fn close(&mut self) {
        self.end.call(self.now, |conn, env| conn.close(env));
    }

    pub fn abort(&mut self) {
        self.end.call(self.now, |conn, env| conn.abort(env));
    }

    pub fn wakes(&mut self) -> Readiness {
        self.end.conn.as_mut().expect("a connection").take_wakes()
    }

    pub fn ready(&self) -> Readiness {
        self.end.conn().readiness()
    }
}

/// tcpdump-like, relative: `P. 1:5(4) ack 1 win 64240 urg 3 sack 3:4`.
fn show(sent: &Sent) -> String {
    let from = sent.seq.0.wrapping_sub(ISS);
    let len = sent.payload.len() as u32;
    let end = from
        .wrapping_add(len)
        .wrapping_add(u32::from(sent.flags.contains(Flags::SYN)))
        .wrapping_add(u32::from(sent.flags.contains(Flags::FIN)));
    let mut text = format!("{} {}:{}({})", sent.flags, from as i32, end as i32, len);
    if sent.flags.contains(Flags::ACK) {
        text += &format!(" ack {}", sent.ack.0.wrapping_sub(IRS));
    }
    if sent.flags.contains(Flags::URG) {
        text += &format!(" urg {}", sent.urgent);
    }
    if !sent.options.sack.is_empty() {
        text += " sack";
        for block in &sent.options.sack {
            text += &format!(" {}:{}", block.left.0.wrapping_sub(IRS), block.right.0.wrapping_sub(IRS));
        }
    }
    text + &format!(" win {}", sent.window)
}
