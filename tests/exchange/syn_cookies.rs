//! SYN floods (RFC 4987): half-open connections are few and small, and a full SYN queue is answered with cookies.

use super::common::exchange::Setup;
use super::common::exchange::data::{scale, timestamps};
use super::common::packet::{self, SYN, Tcp};
use super::common::{Exchange, ms, secs};
use std::net::IpAddr;
use tunstack::base::Rng;
use tunstack::host::RxMeta;

/// The legitimate peer of these dialogues; the flood comes from other ports.
const CLIENT: u16 = 45_000;
const MODERN: &str = "mss 1460,sackOK,TS val 1000 ecr 0,nop,wscale 7";

/// A listener with room for three half-open connections, all taken.
fn full(setup: Setup) -> Exchange {
    let mut x = setup.backlog(2).listening();
    for port in 40_000..40_003 {
        x.on_port(port).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    }
    assert_eq!(x.counter("TcpExtSyncookiesSent"), 0);
    x.on_port(CLIENT);
    x
}

/// conformance: 4987-3.6-syn-cookies, 4987-3.6-only-under-load
#[test]
fn with_the_queue_full_a_cookie_completes_the_handshake() {
    let mut x = full(Setup::new());
    x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1 win 64240 <mss 1460>");
    x.state_is("CLOSED"); // nothing is kept
    x.quiet_for(ms(900));
    x.peer(". 1:1(0) ack 1").accept().state_is("ESTABLISHED");
    x.peer("P. 1:101(100) ack 1").stack(". 1:1(0) ack 101");
    x.reads(100);
    x.write(b"welcome").stack("P. 1:8(7) ack 101");
    x.peer(". 101:101(0) ack 8");
    let counts =
        ["SyncookiesSent", "SyncookiesRecv", "SyncookiesFailed", "TCPReqQFullDoCookies", "ListenDrops"]
            .map(|name| x.counter(&format!("TcpExt{name}")));
    assert_eq!(counts, [1, 1, 0, 1, 0]);
    // The others were not forgotten, and one that finishes makes room.
    x.on_port(40_001).peer(". 1:1(0) ack 1").accept().state_is("ESTABLISHED");
    x.on_port(40_009).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.state_is("SYN-RECEIVED");
    assert_eq!(x.counter("TcpExtSyncookiesSent"), 1);
    x.skip(secs(1));
}

/// ECN is agreed on in the timestamp.
#[test]
fn a_cookie_remembers_ecn() {
    for (syn, syn_ack, ecn) in [("SEW", "SE.", true), ("S", "S.", false)] {
        let mut x = full(Setup::new());
        x.peer(&format!("{syn} 0:0(0) <{MODERN}>")).stack(&format!("{syn_ack} 0:0(0) ack 1"));
        x.peer(". 1:1(0) ack 1").accept();
        assert_eq!(x.info().ecn, ecn);
        x.write(b"data");
        x.stack_ecn(if ecn { 2 } else { 0 }, "P. 1:5(4) ack 1");
        x.skip(secs(1));
    }
}

/// conformance: 4987-3.6-cookie-valid
#[test]
fn an_ack_without_a_valid_cookie_gets_a_reset() {
    let mut x = full(Setup::new());
    x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    // Another number, the peer's other ISN, another port.
    x.peer(". 1:1(0) ack 2").stack("R 2:2(0)");
    x.peer(". 2:2(0) ack 1").stack("R 1:1(0)");
    let cookie = x.initial_numbers().1;
    x.on_port(45_001).peer(&format!(". 1:1(0) ack ={}", cookie.wrapping_add(1)));
    x.stack(&format!("R ={0}:={0}(0)", cookie.wrapping_add(1)));
    assert_eq!(x.counter("TcpExtSyncookiesFailed"), 3);
    // The true one, in time; one more try with it while it lives finds the connection.
    x.on_port(CLIENT).peer(". 1:1(0) ack 1").accept().state_is("ESTABLISHED");
    x.abort().stack("R. 1:1(0) ack 1");
}

/// conformance: 4987-3.6-cookie-valid
#[test]
fn a_cookie_ages_within_two_minutes() {
    for (age, good) in [(59, true), (119, true), (121, false), (180, false)] {
        let mut x = Setup::new().config(|config| config.tcp_syncookies = 2).listening();
        // The clock of cookies stands at the beginning of a minute.
        x.quiet_for(secs(59));
        x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
        x.quiet_for(secs(age)).peer(". 1:1(0) ack 1");
        if good {
            x.accept().state_is("ESTABLISHED");
        } else {
            x.stack("R 1:1(0)");
        }
    }
}

/// conformance: 4987-3.6-only-under-load
#[test]
fn while_no_cookie_is_about_no_acknowledgment_is_looked_at() {
    let mut x = Setup::new().listening();
    x.peer(". 1:1(0) ack =77").stack("R =77:=77(0)");
    assert_eq!(x.counter("TcpExtSyncookiesFailed"), 0);
    let mut x = full(Setup::new().config(|config| config.tcp_syncookies = 0));
    x.peer("S 0:0(0) <mss 1460>").quiet();
    x.peer(". 1:1(0) ack =77").stack("R =77:=77(0)");
    assert_eq!((x.counter("TcpExtTCPReqQFullDrop"), x.counter("TcpExtListenDrops")), (1, 1));
}

/// conformance: 4987-3.6-cookie-options
#[test]
fn timestamps_bring_scale_and_sack_back() {
    let mut x = full(Setup::new());
    let syn_ack = x.peer(&format!("S 0:0(0) <{MODERN}>")).stack("S. 0:0(0) ack 1");
    let (cookie, echo) = timestamps(&syn_ack).expect("offered");
    assert_eq!((scale(&syn_ack), echo), (Some(10), 1000));
    x.quiet_for(ms(50));
    x.peer(". 1:1(0) ack 1 win 1000 <nop,nop,TS val 1050 ecr *>").accept();
    let info = x.info();
    assert!(info.sack && info.timestamps && info.window_scaling);
    assert_eq!((info.snd_wscale, info.rcv_wscale, info.snd_wnd), (7, 10, 128_000));
    assert_eq!(info.rtt, 0, "nobody knows when the SYN-ACK was sent");
    x.write(b"x");
    let (later, _) = timestamps(&x.stack("P. 1:2(1) ack 1 <nop,nop,TS val * ecr 1050>")).expect("in use");
    assert!(later.wrapping_sub(cookie) >= 50, "the clock does not go back");
    // Without timestamps nothing of it could be remembered, so nothing is offered.
    x.peer(". 1:1(0) ack 2 <nop,nop,TS val 1051 ecr *>");
    x.on_port(45_001)
        .peer("S 0:0(0) <mss 1460,nop,nop,sackOK,nop,wscale 7>")
        .stack("S. 0:0(0) ack 1 <mss 1460>");
    x.peer(". 1:1(0) ack 1 win 1000").accept();
    let info = x.info();
    assert!(!info.sack && !info.timestamps && !info.window_scaling);
    assert_eq!(info.snd_wnd, 1000);
}

/// conformance: 4987-3.6-syn-cookies
#[test]
fn the_mss_is_the_next_that_a_cookie_can_tell() {
    let cases =
        [(false, 1400, 1300), (false, 9000, 1460), (false, 536, 536), (true, 1430, 1420), (true, 1220, 1220)];
    for (v6, offered, used) in cases {
        let mut x = full(if v6 { Setup::new().v6() } else { Setup::new() });
        x.peer(&format!("S 0:0(0) <mss {offered}>")).stack("S. 0:0(0) ack 1");
        x.peer(". 1:1(0) ack 1").accept();
        assert_eq!(x.info().snd_mss, used, "{offered}");
    }
    // Below all of them there is no cookie: segments must never be larger than the peer can take.
    let mut x = full(Setup::new());
    x.peer("S 0:0(0) <mss 500>").quiet();
    assert_eq!(x.counter("TcpExtListenDrops"), 1);
}

/// conformance: 4987-3.6-cookie-syn-data
#[test]
fn text_on_a_syn_is_not_kept_by_queue_or_cookie() {
    let mut x = full(Setup::new());
    x.peer("S 0:10(10) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.peer("P. 1:11(10) ack 1").stack(". 1:1(0) ack 11");
    x.accept().reads(10);
    // The same with room in the queue.
    let mut x = Setup::new().listening();
    x.peer("S 0:10(10) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.peer("P. 1:11(10) ack 1").stack(". 1:1(0) ack 11");
    x.accept().reads(10);
}

#[test]
fn a_cookie_that_finds_the_accept_queue_full_may_come_again() {
    let mut x = Setup::new().backlog(0).config(|config| config.tcp_syncookies = 2).listening();
    for port in [40_001, 40_002] {
        x.on_port(port).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    }
    x.on_port(40_001).peer(". 1:1(0) ack 1").state_is("ESTABLISHED");
    x.on_port(40_002).peer(". 1:1(0) ack 1").quiet().state_is("CLOSED");
    assert_eq!(x.counter("TcpExtListenOverflows"), 1);
    x.on_port(40_001).accept();
    x.on_port(40_002).peer("P. 1:5(4) ack 1").stack(". 1:1(0) ack 5");
    x.accept().reads(4);
}

/// conformance: 4987-3.3-synack-retries
#[test]
fn a_silent_client_is_given_up_after_the_retries() {
    let mut x = Setup::new().config(|config| config.tcp_synack_retries = 3).syn_received();
    for wait in [1, 2, 4] {
        assert_eq!(x.until("S. 0:0(0) ack 1"), secs(wait));
    }
    x.quiet_for(ms(7999)).state_is("SYN-RECEIVED");
    x.quiet_for(ms(1)).state_is("CLOSED");
    assert_eq!(x.host.memory_octets(), 0);
}

/// conformance: 4987-3.5-syn-cache
#[test]
fn a_half_open_connection_is_small() {
    let mut x = Setup::new().listening();
    for port in 40_000..40_010 {
        x.on_port(port).peer(&format!("S 0:0(0) <{MODERN}>")).stack("S. 0:0(0) ack 1");
    }
    assert!(x.host.memory_octets() <= 10 * 400, "{} octets for ten", x.host.memory_octets());
}

/// SYNs from everywhere: the stack's answers are counted, not looked at.
fn flood(x: &mut Exchange, rng: &mut Rng, count: u32) -> u32 {
    let mut answers = 0;
    for _ in 0..count {
        let source = IpAddr::from([10, 9, 0, 3 + rng.below(250) as u8]);
        let syn = Tcp {
            src_port: rng.below(65_535) as u16 + 1,
            dst_port: 80,
            seq: rng.next_u32(),
            flags: SYN,
            window: 65_535,
            options: vec![2, 4, 5, 180],
            ..Tcp::default()
        };
        x.host.receive(x.now, &packet::tcp(source, [10, 9, 0, 2].into(), &syn), RxMeta::default());
        while x.host.transmit(x.now).is_some() {
            answers += 1;
        }
    }
    answers
}

/// conformance: 4987-3.2-backlog, 4987-3.6-syn-cookies
#[test]
fn a_hundred_thousand_syns_take_no_memory_and_keep_nobody_out() {
    let mut x = Setup::new().backlog(128).listening();
    x.host.set_trace(None);
    let mut rng = Rng::from_seed(4987);
    flood(&mut x, &mut rng, 1000);
    let (held, sockets) = (x.host.memory_octets(), x.host.sockets().len());
    assert_eq!(sockets, 1 + 129, "the listener, and one more than the backlog half open");
    let answers = flood(&mut x, &mut rng, 50_000);
    assert!(answers > 49_000, "nearly each was answered, {answers}");
    x.on_port(CLIENT).peer(&format!("S 0:0(0) <{MODERN}>")).stack("S. 0:0(0) ack 1");
    flood(&mut x, &mut rng, 49_000);
    assert_eq!((x.host.memory_octets(), x.host.sockets().len()), (held, sockets));
    x.peer(". 1:1(0) ack 1 <nop,nop,TS val 1001 ecr *>").accept();
    x.peer("P. 1:1001(1000) ack 1 <nop,nop,TS val 1002 ecr *>").stack(". 1:1(0) ack 1001");
    x.reads(1000);
    // What is left of the flood is soon forgotten, SYN-ACKs that nobody answers included.
    x.checker.forget_flows();
    x.skip(secs(64));
    assert_eq!(x.host.sockets().len(), 2, "the listener and the client");
}
