//! How a dialogue begins: settings, addresses, and the segments that lead to a state.

use super::super::checker::Checker;
use super::super::text::SegmentText;
use super::{Config, Exchange, Flow, Narrator};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::sync::{Arc, Mutex};
use tunstack::base::config::CongestionControl;
use tunstack::base::{Cidr, Duration, Instant};
use tunstack::host::{Domain, Errno, Host, Link, Opt, Shutdown, Type};
use tunstack::trace::TcpState;

/// Where the peer's sequence numbers begin unless a test says otherwise.
const PEER_ISN: u32 = 1_000_000;

/// Settings of a dialogue.
pub struct Setup {
    config: Config,
    mtu: u32,
    v6: bool,
    peer_isn: u32,
    syn_options: String,
    window: u16,
    backlog: u32,
    seed: u8,
    options: Vec<Opt>,
    quick: bool,
}

impl Setup {
    /// Defaults: IPv4, MTU 1500, a peer that offers an MSS of 1460 and nothing else, and a window of 65535.
    pub fn new() -> Setup {
        Setup {
            // A send buffer that does not grow: most dialogues are not about it.
            config: Config { tcp_wmem: [4096, 2 << 20, 4 << 20], ..Config::default() },
            mtu: 1500,
            v6: false,
            peer_isn: PEER_ISN,
            syn_options: "mss 1460".into(),
            window: 65535,
            backlog: 16,
            seed: 1,
            options: Vec::new(),
            quick: false,
        }
    }

    /// The same under RFC 5681's congestion control.
    pub fn reno() -> Setup {
        Setup::new().config(|config| config.tcp_congestion_control = CongestionControl::Reno)
    }

    /// Changes settings of the host.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Setup {
        change(&mut self.config);
        self
    }

    /// IPv6 instead of IPv4 (the peer's MSS becomes 1440).
    pub fn v6(mut self) -> Setup {
        self.v6 = true;
        if self.syn_options == "mss 1460" {
            self.syn_options = "mss 1440".into();
        }
        self
    }

    pub fn mtu(mut self, mtu: u32) -> Setup {
        self.mtu = mtu;
        self
    }

    /// The peer's ISN.
    pub fn peer_isn(mut self, isn: u32) -> Setup {
        self.peer_isn = isn;
        self
    }

    /// Options of the peer's SYN or SYN-ACK.
    pub fn syn_options(mut self, options: &str) -> Setup {
        self.syn_options = options.into();
        self
    }

    /// The peer offers what Linux offers: MSS 1460, SACK, timestamps, and this window scale.
    pub fn modern(self, scale: u8) -> Setup {
        let mss = if self.v6 { 1440 } else { 1460 };
        self.syn_options(&format!("mss {mss},sackOK,TS val * ecr *,nop,wscale {scale}"))
    }

    /// The window field of the peer's segments.
    pub fn window(mut self, window: u16) -> Setup {
        self.window = window;
        self
    }

    pub fn backlog(mut self, backlog: u32) -> Setup {
        self.backlog = backlog;
        self
    }

    /// The seed of the host's randomness.
    pub fn seed(mut self, seed: u8) -> Setup {
        self.seed = seed;
        self
    }

    /// An option set on the listener before listen, or on the socket before connect.
    pub fn option(mut self, option: Opt) -> Setup {
        self.options.push(option);
        self
    }

    /// Keeps Linux's habit of acknowledging the first segments of a connection at once; without this, ACKs are delayed from
    /// the start.
    pub fn quick(mut self) -> Setup {
        self.quick = true;
        self
    }

    /// A host with an address and no socket.
    #[track_caller]
    pub fn closed(&self) -> Exchange {
        let (stack, peer): (IpAddr, IpAddr) = match self.v6 {
            false => ([10, 9, 0, 2].into(), [10, 9, 0, 1].into()),
            true => ([0xfd09, 0, 0, 0, 0, 0, 0, 2].into(), [0xfd09, 0, 0, 0, 0, 0, 0, 1].into()),
        };
        let mut host = Host::new(self.config.clone(), [self.seed; 16]);
        let log = Arc::new(Mutex::new(Vec::new()));
        let views = Arc::new(Mutex::new(HashMap::new()));
        host.set_trace(Some(Box::new(Narrator(log.clone(), views.clone()))));
        host.set_link(Instant::ZERO, Link::plain(self.mtu));
        let cidr = Cidr::new(stack, if self.v6 { 64 } else { 24 }).expect("a legal prefix");
        host.add_address(cidr).expect("a legal address");
        let mut checker = Checker::new(self.mtu as usize, &[stack]);
        cidr.broadcast().into_iter().for_each(|address| checker.add_broadcast(address.into()));
        let flow = Flow {
            local: SocketAddr::new(stack, 80),
            remote: SocketAddr::new(peer, 40000),
            peer_isn: self.peer_isn,
            stack_isn: None,
            window: self.window,
            stack_offered_ts: false,
            peer_offered_ts: false,
            stack_nxt: 0,
            peer_nxt: 0,
            stack_scale: 0,
            peer_scales: false,
            last_ts: 0,
            written: Vec::new(),
            read: 1,
        };
        Exchange {
            host,
            now: Instant::from_nanos(1_000_000_000),
            checker,
            listener: None,
            sock: None,
            events: Vec::new(),
            flows: vec![flow],
            current: 0,
            outbox: VecDeque::new(),
            log,
            views,
            here: Location::caller(),
            batching: false,
            mark: 0,
            edge: None,
        }
    }

    /// The stack listens on port 80.
    #[track_caller]
    pub fn listening(&self) -> Exchange {
        let mut x = self.closed();
        let (domain, local, backlog) = (self.domain(), x.flow().local, self.backlog);
        let options = self.options.clone();
        let id = x.user("socket, bind, listen", |host, now| {
            let id = host.socket(domain, Type::Stream)?;
            options.into_iter().try_for_each(|option| host.set_option(now, id, option))?;
            host.bind(id, local)?;
            host.listen(now, id, backlog)?;
            Ok::<_, Errno>(id)
        });
        x.listener = Some(id.unwrap_or_else(|e| x.fail(&format!("listen failed: {e}"))));
        x.quiet();
        x
    }

    /// The peer's SYN was answered; the connection is in SYN-RECEIVED.
    #[track_caller]
    pub fn syn_received(&self) -> Exchange {
        let mut x = self.listening();
        x.peer(&format!("S 0:0(0) <{}>", self.syn_options));
        x.stack("S. 0:0(0) ack 1");
        x
    }

    /// The peer has connected, and the stack has accepted.
    #[track_caller]
    pub fn established(&self) -> Exchange {
        let mut x = self.syn_received();
        x.peer(". 1:1(0) ack 1");
        x.accept();
        if !self.quick {
            x.patient();
        }
        x
    }

    /// The stack has called connect to port 80 of the peer and its SYN is out.
    #[track_caller]
    pub fn connecting(&self) -> Exchange {
        let mut x = self.closed();
        let flow = x.flow_mut();
        flow.local.set_port(0);
        flow.remote.set_port(80);
        let (domain, remote) = (self.domain(), x.flow().remote);
        let options = self.options.clone();
        let (id, result) = x.user("socket, connect", |host, now| {
            let id = host.socket(domain, Type::Stream).expect("a socket");
            for option in options {
                host.set_option(now, id, option).expect("an option that can be set");
            }
            (id, host.connect(now, id, Some(remote)))
        });
        if result != Err(Errno::EINPROGRESS) {
            x.fail(&format!("connect gave {result:?}"));
        }
        x.sock = Some(id);
        x.stack("S 0:0(0)");
        x
    }

    /// The stack has connected to the peer.
    #[track_caller]
    pub fn connected(&self) -> Exchange {
        let mut x = self.connecting();
        x.peer(&format!("S. 0:0(0) ack 1 <{}>", self.syn_options));
        x.stack(". 1:1(0) ack 1");
        if !self.quick {
            x.patient();
        }
        x
    }

    /// A dialogue that has led to this state, by the segments that lead there; see [`Place`] for where it stands.
    #[track_caller]
    pub fn in_state(&self, state: TcpState) -> (Exchange, Place) {
        let x = match state {
            TcpState::Closed => self.closed(),
            TcpState::Listen => self.listening(),
            TcpState::SynSent => self.connecting(),
            TcpState::SynReceived => self.syn_received(),
            TcpState::Established
            | TcpState::FinWait1
            | TcpState::FinWait2
            | TcpState::CloseWait
            | TcpState::Closing
            | TcpState::LastAck
            | TcpState::TimeWait => self.established(),
        };
        lead_to(x, state)
    }

    fn domain(&self) -> Domain {
        if self.v6 { Domain::Inet6 } else { Domain::Inet }
    }
}

/// Where a dialogue stands: what the stack has sent, and what of it is acknowledged; what it expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub snd_una: i64,
    pub snd_nxt: i64,
    pub rcv_nxt: i64,
    /// The right edge of the stack's window.
    pub edge: i64,
}

/// From ESTABLISHED to a later state. ESTABLISHED and CLOSE-WAIT have four octets in flight.
fn lead_to(mut x: Exchange, state: TcpState) -> (Exchange, Place) {
    // Ten octets have come, so that there are old ones.
    if !matches!(state, TcpState::Closed | TcpState::Listen | TcpState::SynSent | TcpState::SynReceived) {
        x.peer("P. 1:11(10) ack 1").reads(10);
        x.skip_taking(Duration::from_millis(40));
        x.patient();
    }
    let (snd_una, snd_nxt, rcv_nxt) = match state {
        TcpState::Closed | TcpState::Listen => (1, 1, 1),
        TcpState::SynSent | TcpState::SynReceived => (0, 1, 1),
        TcpState::Established => {
            x.write(b"data").stack("P. 1:5(4) ack 11");
            (1, 5, 11)
        }
        TcpState::CloseWait => {
            x.write(b"data").stack("P. 1:5(4) ack 11");
            x.peer("F. 11:11(0) ack 1").stack(". 5:5(0) ack 12");
            (1, 5, 12)
        }
        TcpState::LastAck => {
            x.peer("F. 11:11(0) ack 1").stack(". 1:1(0) ack 12");
            x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 12");
            (1, 2, 12)
        }
        TcpState::FinWait1 => {
            x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 11");
            (1, 2, 11)
        }
        TcpState::FinWait2 => {
            x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 11");
            x.peer(". 11:11(0) ack 2");
            (2, 2, 11)
        }
        TcpState::Closing => {
            x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 11");
            x.peer("F. 11:11(0) ack 1").stack(". 2:2(0) ack 12");
            (1, 2, 12)
        }
        TcpState::TimeWait => {
            x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 11");
            x.peer("F. 11:11(0) ack 2").stack(". 2:2(0) ack 12");
            (2, 2, 12)
        }
    };
    if !matches!(state, TcpState::Closed | TcpState::Listen) {
        x.state_is(state.name());
    }
    let edge = x.edge.unwrap_or(rcv_nxt + 65535);
    (x, Place { snd_una, snd_nxt, rcv_nxt, edge })
}

/// A dialogue text that is wrong fails where it stands, not in the middle of a test.
#[test]
fn the_default_options_can_be_read() {
    for setup in [Setup::new(), Setup::new().v6(), Setup::new().modern(7)] {
        SegmentText::parse(&format!("S 0:0(0) <{}>", setup.syn_options)).expect("legal");
    }
}
