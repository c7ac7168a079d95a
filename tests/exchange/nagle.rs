//! When small data leaves: Nagle, CORK, MORE, EOR, PSH (RFC 9293 §3.7.4, §3.9.1.2).

use crate::common::exchange::{Exchange, Setup};
use crate::common::{ms, secs};
use tunstack::base::Duration;
use tunstack::host::{MsgFlags, Opt};

/// conformance: 9293-SHLD-7
#[test]
fn small_writes_wait_for_the_ack_and_leave_together() {
    let mut x = Exchange::established();
    x.write(b"a").stack("P. 1:2(1) ack 1");
    for _ in 0..10 {
        x.write(b"b").quiet();
    }
    x.peer(". 1:1(0) ack 2").stack("P. 2:12(10) ack 1");
}

/// conformance: 9293-MUST-17
#[test]
fn nodelay_sends_each_write_at_once() {
    let mut x = Exchange::established();
    x.set(Opt::NoDelay(true));
    x.write(b"a").stack("P. 1:2(1) ack 1");
    x.write(b"b").stack("P. 2:3(1) ack 1");
    x.write(b"c").stack("P. 3:4(1) ack 1");
}

/// Setting it sends what waits.
#[test]
fn nodelay_flushes_what_nagle_held() {
    let mut x = Exchange::established();
    x.write(b"a").stack("P. 1:2(1) ack 1");
    x.write(b"bc").quiet();
    x.set(Opt::NoDelay(true)).stack("P. 2:4(2) ack 1");
}

/// conformance: 9293-A.3-minshall
#[test]
fn a_tail_waits_only_for_another_small_segment() {
    let mut x = Exchange::established();
    x.write_octets(2000).stack(". 1:1461(1460) ack 1");
    x.stack("P. 1461:2001(540) ack 1");
    x.write(b"x").quiet();
    x.peer(". 1:1(0) ack 1461").quiet();
    x.peer(". 1:1(0) ack 2001").stack("P. 2001:2002(1) ack 1");
}

/// A full segment never waits.
#[test]
fn what_fills_a_segment_leaves_at_once() {
    let mut x = Exchange::established();
    x.write(b"a").stack("P. 1:2(1) ack 1");
    x.write_octets(1459).quiet();
    x.write_octets(1);
    x.stack("P. 2:1462(1460) ack 1");
}

/// conformance: 9293-MUST-60, 9293-MAY-15, 9293-MAY-16
#[test]
fn a_lone_octet_leaves_without_being_pushed() {
    let mut x = Exchange::established();
    x.write(b"a").stack("P. 1:2(1) ack 1");
}

/// conformance: 9293-SHLD-27
#[test]
fn writes_that_wait_for_the_window_leave_as_one_segment() {
    let mut x = Exchange::established();
    x.set(Opt::NoDelay(true)).peer(". 1:1(0) ack 1 win 0");
    for _ in 0..3 {
        x.write_octets(100).quiet();
    }
    x.peer(". 1:1(0) ack 1 win 5000").stack("P. 1:301(300) ack 1");
}

/// conformance: 9293-MUST-60
#[test]
fn a_cork_holds_a_partial_segment_for_200_ms() {
    let mut x = Exchange::established();
    x.set(Opt::Cork(true)).write(b"head");
    x.quiet_for(ms(199)).after(ms(1)).stack("P. 1:5(4) ack 1");
}

#[test]
fn full_segments_leave_a_corked_socket_and_uncorking_flushes() {
    let mut x = Exchange::established();
    x.set(Opt::Cork(true)).write_octets(2000).stack(". 1:1461(1460) ack 1");
    x.quiet().set(Opt::Cork(false)).stack("P. 1461:2001(540) ack 1");
}

#[test]
fn more_holds_until_the_next_write() {
    let mut x = Exchange::established();
    x.write_with(b"head", MsgFlags::MORE).quiet();
    x.write(b"body").stack("P. 1:9(8) ack 1");
}

/// conformance: 9293-MUST-60
#[test]
fn more_without_a_next_write_leaves_after_200_ms() {
    let mut x = Exchange::established();
    x.write_with(b"head", MsgFlags::MORE).quiet_for(ms(199));
    x.after(ms(1)).stack("P. 1:5(4) ack 1");
}

/// What EOR ends is not joined with what follows, in first and in repeated transmission.
#[test]
fn end_of_record_keeps_writes_apart() {
    let mut x = Exchange::established();
    x.peer(". 1:1(0) ack 1 win 0");
    x.set(Opt::NoDelay(true)).write_with(b"one", MsgFlags::EOR);
    x.write(b"two").quiet();
    x.peer(". 1:1(0) ack 1 win 5000").stack("P. 1:4(3) ack 1");
    x.stack("P. 4:7(3) ack 1");
    x.until_anything();
    let again = x.take_all();
    assert!(again.iter().all(|tcp| tcp.payload.len() == 3), "{again:?}");
}

/// A close flushes: nothing waits for company that cannot come.
#[test]
fn close_sends_what_nagle_and_cork_held() {
    let mut x = Exchange::established();
    x.write(b"a").stack("P. 1:2(1) ack 1");
    x.write(b"bc").quiet().close().stack("FP. 2:4(2) ack 1");
    let mut x = Exchange::established();
    x.set(Opt::Cork(true)).write(b"abc").quiet().close().stack("FP. 1:4(3) ack 1");
}

/// conformance: 9293-MUST-61
#[test]
fn the_segment_that_empties_the_queue_is_pushed() {
    let mut x = Setup::new().window(1460).established();
    x.write_octets(3000).stack(". 1:1461(1460) ack 1");
    x.peer(". 1:1(0) ack 1461").stack(". 1461:2921(1460) ack 1");
    x.peer(". 1:1(0) ack 2921").stack("P. 2921:3001(80) ack 1");
}

/// conformance: 9293-3.10.7.4-text-piggyback
#[test]
fn an_answer_carries_the_ack() {
    let mut x = Exchange::established();
    x.peer("P. 1:6(5) ack 1").reads(5);
    x.write(b"echo").stack("P. 1:5(4) ack 6");
    x.quiet_for(ms(100));
}

/// MAXSEG bounds what is advertised and what is used.
#[test]
fn maxseg_bounds_both_directions() {
    let mut x = Setup::new().option(Opt::MaxSeg(500)).listening();
    x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1 <mss 500>");
    x.peer(". 1:1(0) ack 1").accept();
    x.write_octets(1000).stack(". 1:501(500) ack 1");
    x.stack("P. 501:1001(500) ack 1");
}

/// A socket that asks for quick ACKs gets them for a while.
#[test]
fn quickack_acks_at_once() {
    let mut x = Exchange::established();
    x.set(Opt::QuickAck(true));
    x.peer("P. 1:6(5) ack 1").stack(". 1:1(0) ack 6");
    x.reads(5).quiet_for(secs(1));
}

/// A write that does not fit waits for the peer, not for ever.
#[test]
fn the_send_buffer_is_bounded() {
    let mut x = Setup::new().option(Opt::SndBuf(8192)).window(0).established();
    let mut written = 0;
    while let Ok(n) = x.try_write(&[7; 1000], MsgFlags::empty()) {
        written += n;
        assert!(written <= 1 << 16, "the buffer has no end");
    }
    assert!(written >= 8192 - 1000, "{written}");
    x.quiet();
    x.peer(". 1:1(0) ack 1 win 4000").take_all();
    let acked = x.stack_nxt();
    assert!(acked > 1000);
    x.peer(&format!(". 1:1(0) ack {acked} win 4000")).take_all();
    x.skip_taking(Duration::from_millis(10));
    assert!(x.try_write(&[7; 100], MsgFlags::empty()).is_ok(), "what was acknowledged makes room");
    x.take_all();
}
