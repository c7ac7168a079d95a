//! What a sender does with the blocks of RFC 2018 §5 and §8, whatever recovery makes of them.

use super::common::{Exchange, ms, secs};
use super::rack::{flying, path};

/// Ten segments of 1000 octets have been in flight for one round trip, 100 ms; the peer permits SACK.
fn ten_in_flight() -> Exchange {
    let mut x = path(|c| c.tcp_early_retrans = false);
    x.write_octets(10_000);
    x.sends(1, 10, 1000);
    x.after(ms(100));
    x
}

/// conformance: 2018-5-record
#[test]
fn reported_segments_are_recorded() {
    let mut x = ten_in_flight();
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 4001:6001>");
    assert_eq!(x.info().sacked, 2);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 4001:6001 8001:9001>");
    assert_eq!(x.info().sacked, 3);
    x.ignore();
}

/// Blocks that touch, and blocks that lie over each other, are one range each.
#[test]
fn no_octet_is_counted_twice() {
    let mut x = ten_in_flight();
    for (blocks, sacked) in [
        ("4001:5001", 1),
        ("5001:6001", 2),
        ("4001:6001", 2),
        ("3001:5001 4001:6001", 3),
        ("8001:9001 5001:7001", 5),
        ("7001:9001 3001:7001", 6),
    ] {
        x.peer(&format!(". 1:1(0) ack 1 <nop,nop,sack {blocks}>")).ignore();
        assert_eq!(x.info().sacked, sacked, "{blocks}");
    }
}

/// conformance: 2018-5-no-resend
#[test]
fn what_is_reported_is_not_sent_again() {
    let mut x = ten_in_flight();
    for end in (3..=10).map(|n| n * 1000 + 1) {
        x.peer(&format!(". 1:1(0) ack 1 <nop,nop,sack 1001:{end}>"));
        if end == 4001 {
            x.stack(". 1:1001(1000) ack 1");
        }
    }
    x.quiet();
    x.peer(". 1:1(0) ack 10001");
    x.quiet_for(secs(5));
    assert_eq!(x.counter("TcpRetransSegs"), 1);
}

/// A receiver that reneges: it reported all but the first segment, then it lacks the second.
///
/// conformance: 2018-5-rto-clear, 2018-8-keep-until-acked
#[test]
fn after_a_timeout_the_head_goes_again_though_it_was_reported() {
    let mut x = ten_in_flight();
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:10001>").sends(1, 1, 1000);
    x.peer(". 1:1(0) ack 1001").quiet();
    x.until(". 1001:2001(1000) ack 1");
    // Nothing that was reported counts any more.
    x.peer(". 1:1(0) ack 2001").sends(2001, 2, 1000);
    x.peer(". 1:1(0) ack 4001").sends(4001, 3, 1000);
    x.peer(". 1:1(0) ack 10001").quiet();
}

/// As long as the head was not among it, what the peer holds is believed also after a timeout.
#[test]
fn after_a_timeout_what_is_reported_is_skipped() {
    let mut x = ten_in_flight();
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 2001:5001>").ignore();
    x.until(". 1:1001(1000) ack 1");
    x.peer(". 1:1(0) ack 1001 <nop,nop,sack 2001:5001>");
    assert_eq!(x.data(), [1001..2001, 5001..6001]);
}

/// conformance: 2018-8-keep-until-acked
#[test]
fn reported_octets_stay_in_the_buffer_until_acked() {
    let mut x = ten_in_flight();
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:10001>");
    x.ignore();
    // The last segment was reported, then thrown away; only it is missing.
    x.peer(". 1:1(0) ack 9001");
    x.ignore();
    x.until("P. 9001:10001(1000) ack 1");
    x.peer(". 1:1(0) ack 10001");
    assert_eq!(x.info().unacked, 0);
}

/// conformance: 2018-8-bogus
#[test]
fn impossible_blocks_have_no_effect() {
    let mut x = ten_in_flight();
    let bogus = [
        "20001:21001",     // never sent
        "9001:20001",      // partly so
        "-5000:-4000",     // long acknowledged
        "6001:5001",       // edges reversed
        "5001:5001",       // empty
        "2147488649:5001", // half the space away
    ];
    for blocks in bogus {
        x.peer(&format!(". 1:1(0) ack 1 <nop,nop,sack {blocks}>"));
        x.quiet();
        assert_eq!(x.info().sacked, 0, "{blocks}");
    }
    x.peer(". 1:1(0) ack 10001");
    x.quiet_for(secs(5));
}

/// SND.UNA arrives at what was SACKed: the peer has thrown that away. Half a round trip is waited for another word, as on Linux, and not
/// a whole RTO of 300 ms.
///
/// conformance: 2018-5-rto-clear
#[test]
fn a_peer_that_throws_away_what_it_sacked_is_noticed_soon() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:10001>").ignore();
    x.pass(ms(100)).peer(". 1:1(0) ack 1001").ignore();
    let wait = x.until(". 1001:2001(1000) ack 1");
    assert!(wait >= ms(40) && wait <= ms(60), "{wait:?}");
}
