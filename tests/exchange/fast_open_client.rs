//! Fast Open (RFC 7413), the client's side.

use super::common::exchange::Setup;
use super::common::{Errno, Exchange, secs};
use tunstack::host::{Opt, Readiness};
use tunstack::trace::TcpState;

const COOKIE: &str = "0123456789abcdef";

/// The options of every SYN of ours, before Fast Open's.
const OFFER: &str = "mss 1460,sackOK,TS val * ecr 0,nop,wscale 10";

/// A host that was given a cookie by a peer with this MSS; the connection that brought it is over.
fn with_cookie(setup: Setup, mss: u16) -> Exchange {
    let mut x = setup.closed();
    assert_eq!(x.connect_with(b"first"), Err(Errno::EINPROGRESS));
    x.stack(&format!("S 0:0(0) <{OFFER},FO,nop,nop>"));
    x.peer(&format!("S. 0:0(0) ack 1 <mss {mss},FO {COOKIE},nop,nop>")).stack(". 1:1(0) ack 1");
    assert_eq!(x.info().fast_open_client_fail, 1);
    x.abort().stack("R. 1:1(0) ack 1");
    x
}

/// Connects with five octets; the SYN has them.
fn connect_with_text(x: &mut Exchange) {
    assert_eq!(x.connect_with(b"hello"), Ok(5));
    x.stack(&format!("S 0:5(5) <{OFFER},FO {COOKIE},nop,nop>"));
}

/// conformance: 7413-4.2.1-request
#[test]
fn the_first_syn_asks_for_a_cookie_and_carries_nothing() {
    let mut x = Setup::new().closed();
    assert_eq!(x.connect_with(b"first"), Err(Errno::EINPROGRESS));
    x.stack(&format!("S 0:0(0) <{OFFER},FO,nop,nop>"));
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack(". 1:1(0) ack 1");
    assert_eq!((x.info().syn_data, x.info().fast_open_client_fail), (false, 1));
    // Nothing was given: the next one asks again.
    assert_eq!(x.connect_with(b"second"), Err(Errno::EINPROGRESS));
    x.stack(&format!("S 0:0(0) <{OFFER},FO,nop,nop>"));
}

/// conformance: 7413-4.2.2-data
#[test]
fn with_a_cookie_the_syn_carries_text() {
    let mut x = with_cookie(Setup::new(), 1460);
    connect_with_text(&mut x);
    x.peer("S. 0:0(0) ack 6 <mss 1460>").stack(". 6:6(0) ack 1");
    x.state_is("ESTABLISHED");
    let info = x.info();
    assert_eq!(
        (info.syn_data, info.fast_open_client_fail, info.bytes_acked, info.unacked),
        (true, 0, 1 + 5, 0)
    );
    assert_eq!((x.counter("TcpExtTCPFastOpenActive"), x.counter("TcpExtTCPFastOpenActiveFail")), (1, 0));
    x.write(b"more").stack("P. 6:10(4) ack 1");
    x.peer("P. 1:11(10) ack 10").stack(". 10:10(0) ack 11");
    x.reads(10);
}

/// conformance: 7413-4.2.2-data
#[test]
fn the_syn_carries_no_more_than_the_mss_of_the_last_time() {
    for (mss, room) in [(500, 500 - 32), (1460, 1460 - 32), (9000, 1460 - 32)] {
        let mut x = with_cookie(Setup::new(), mss);
        assert_eq!(x.connect_with(&[7; 3000]), Ok(3000), "the rest is queued");
        x.stack(&format!("S 0:{room}({room}) <{OFFER},FO {COOKIE},nop,nop>"));
        x.peer(&format!("S. 0:0(0) ack {} <mss 1460>", room + 1));
        let end = (room + 1 + 1460).min(3001);
        x.stack(&format!(". {}:{end}({}) ack 1", room + 1, end - room - 1));
        x.ignore();
    }
}

/// conformance: 7413-4.2.2-partial
#[test]
fn text_that_the_syn_ack_does_not_cover_goes_again_at_once() {
    let mut x = with_cookie(Setup::new(), 1460);
    connect_with_text(&mut x);
    x.peer("S. 0:0(0) ack 1 <mss 1460,FO fedcba9876543210,nop,nop>");
    x.stack("P. 1:6(5) ack 1");
    assert_eq!((x.info().syn_data, x.info().fast_open_client_fail), (false, 2));
    assert_eq!(x.counter("TcpExtTCPFastOpenActiveFail"), 1);
    x.peer(". 1:1(0) ack 6");
    // The new cookie is the one to use.
    assert_eq!(x.connect_with(b"hello"), Ok(5));
    x.stack(&format!("S 0:5(5) <{OFFER},FO fedcba9876543210,nop,nop>"));
    // Half of it may be covered, too.
    x.peer("S. 0:0(0) ack 3 <mss 1460>").stack("P. 3:6(3) ack 1");
    x.peer(". 1:1(0) ack 6");
}

/// conformance: 7413-4.2.2-fallback
#[test]
fn a_syn_that_gets_lost_is_followed_by_plain_ones_and_by_a_pause() {
    let mut x = with_cookie(Setup::new(), 1460);
    connect_with_text(&mut x);
    assert_eq!(x.until(&format!("S 0:0(0) <{OFFER}>")), secs(1));
    assert_eq!(x.until(&format!("S 0:0(0) <{OFFER}>")), secs(2));
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack("P. 1:6(5) ack 1");
    x.peer(". 1:1(0) ack 6");
    assert_eq!(x.info().fast_open_client_fail, 3);
    // For a minute nothing is asked of this peer.
    x.quiet_for(secs(59));
    assert_eq!(x.connect_with(b"hello"), Err(Errno::EINPROGRESS));
    x.stack(&format!("S 0:0(0) <{OFFER}>"));
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack(". 1:1(0) ack 1");
    x.quiet_for(secs(1));
    connect_with_text(&mut x);
    // Lost again: twice as long.
    x.until(&format!("S 0:0(0) <{OFFER}>"));
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack("P. 1:6(5) ack 1");
    x.peer(". 1:1(0) ack 6").quiet_for(secs(119));
    assert_eq!(x.connect_with(b"hello"), Err(Errno::EINPROGRESS));
    x.stack(&format!("S 0:0(0) <{OFFER}>"));
    x.peer("R. 0:0(0) ack 1").quiet_for(secs(1));
    connect_with_text(&mut x);
}

#[test]
fn a_lost_answer_is_no_reason_to_stop() {
    let mut x = with_cookie(Setup::new(), 1460);
    connect_with_text(&mut x);
    // The server had the text; its answer to the second SYN says so.
    x.until(&format!("S 0:0(0) <{OFFER}>"));
    x.peer("S. 0:0(0) ack 6 <mss 1460>").stack(". 6:6(0) ack 1");
    assert!(x.info().syn_data);
    connect_with_text(&mut x);
}

#[test]
fn a_refusal_acknowledges_the_text_or_not() {
    for ack in [1, 6] {
        let mut x = with_cookie(Setup::new(), 1460);
        connect_with_text(&mut x);
        x.peer("R. 0:0(0) ack 7").quiet().state_is("SYN-SENT");
        x.peer(&format!("R. 0:0(0) ack {ack}")).state_is("CLOSED");
        assert_eq!(x.error(), Some(Errno::ECONNREFUSED));
    }
}

#[test]
fn crossing_syns_leave_the_text_for_later() {
    let mut x = with_cookie(Setup::new(), 1460);
    connect_with_text(&mut x);
    x.peer("S 0:10(10) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack("P. 1:6(5) ack 1");
    x.peer(". 1:1(0) ack 6");
}

#[test]
fn connect_may_leave_the_syn_to_the_first_write() {
    let setup = || Setup::new().option(Opt::FastOpenConnect(true));
    // Without a cookie it connects, and asks for one.
    let mut x = with_cookie(Setup::new(), 1460);
    x.fresh();
    x.newly(6_000_000).set(Opt::FastOpenConnect(true));
    let (id, remote) = (x.id(), x.ends().1);
    assert_eq!(x.user("connect", |host, now| host.connect(now, id, Some(remote))), Ok(()));
    x.quiet_for(secs(10));
    assert!(x.ready().contains(Readiness::WRITABLE));
    assert_eq!(x.user("connect", |host, now| host.connect(now, id, Some(remote))), Err(Errno::EISCONN));
    x.write(b"hello").stack(&format!("S 0:5(5) <{OFFER},FO {COOKIE},nop,nop>"));
    assert!(!x.ready().contains(Readiness::WRITABLE));
    x.peer("S. 0:0(0) ack 6 <mss 1460>").stack(". 6:6(0) ack 1");
    let mut x = setup().in_state(TcpState::SynSent).0;
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack(". 1:1(0) ack 1");
    assert_eq!(x.info().fast_open_client_fail, 1);
}

#[test]
fn what_never_asked_is_left_alone() {
    let mut x = Setup::new().closed();
    x.connect_and_see(&format!("S 0:0(0) <{OFFER}>"));
    x.peer(&format!("S. 0:0(0) ack 1 <mss 1460,FO {COOKIE},nop,nop>")).stack(". 1:1(0) ack 1");
    // A cookie that nobody asked for is nobody's.
    assert_eq!(x.connect_with(b"hello"), Err(Errno::EINPROGRESS));
    x.stack(&format!("S 0:0(0) <{OFFER},FO,nop,nop>"));
    let mut x = Setup::new().config(|config| config.tcp_fastopen = 2).closed();
    assert_eq!(x.connect_with(b"hello"), Err(Errno::EOPNOTSUPP));
    let id = x.id();
    let set = x.user("set", |host, now| host.set_option(now, id, Opt::FastOpenConnect(true)));
    assert_eq!(set, Err(Errno::EOPNOTSUPP));
}

#[test]
fn a_setting_sends_text_without_a_cookie() {
    let mut x = Setup::new().config(|config| config.tcp_fastopen = 5).closed();
    assert_eq!(x.connect_with(b"hello"), Ok(5));
    x.stack(&format!("S 0:5(5) <{OFFER}>"));
    x.peer("S. 0:0(0) ack 6 <mss 1460>").stack(". 6:6(0) ack 1");
}
