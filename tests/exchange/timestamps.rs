//! Timestamps (RFC 7323 §3 to §5): who offers them, what carries them, what they echo, what they measure.

use super::common::exchange::Setup;
use super::common::exchange::data::timestamps;
use super::common::{Errno, Exchange, ms, secs};
use tunstack::host::{Opt, Shutdown};

/// The layout that everybody uses on segments that are no SYN.
const TS: &str = "<nop,nop,TS val * ecr *>";

/// An established connection with timestamps; no SACK, no scaling.
fn stamped() -> Exchange {
    Setup::new().quick().syn_options("mss 1460,TS val 1000 ecr 0").established()
}

/// conformance: 7323-3.2-syn
#[test]
fn a_syn_ack_offers_them_only_to_a_syn_that_did() {
    let mut x = Exchange::listening();
    x.peer("S 0:0(0) <mss 1460,TS val 77 ecr 0>");
    let (_, echo) = timestamps(&x.stack("S. 0:0(0) ack 1")).expect("offered");
    assert_eq!(echo, 77);
    let mut x = Exchange::listening();
    x.peer("S 0:0(0) <mss 1460,sackOK>");
    assert_eq!(timestamps(&x.stack("S. 0:0(0) ack 1")), None);
    let mut x = Setup::new().config(|c| c.tcp_timestamps = false).listening();
    x.peer("S 0:0(0) <mss 1460,TS val 77 ecr 0>");
    assert_eq!(timestamps(&x.stack("S. 0:0(0) ack 1")), None);
}

/// conformance: 7323-3.2-every-seg, 7323-A-layout
#[test]
fn every_segment_after_the_handshake_carries_them() {
    let mut x = stamped();
    x.set(Opt::KeepAlive(true)).set(Opt::KeepIdle(secs(10))).set(Opt::QuickAck(false));
    x.write(b"data");
    x.stack(&format!("P. 1:5(4) ack 1 {TS}"));
    x.peer("P. 1:11(10) ack 5");
    x.until(&format!(". 5:5(0) ack 11 {TS}")); // a pure ACK
    x.until(&format!(". 4:4(0) ack 11 {TS}")); // keepalive
    x.peer(". 11:11(0) ack 5 win 0");
    x.write(b"more");
    x.until(&format!(". 4:4(0) ack 11 {TS}")); // zero-window probe
    x.peer(". 11:11(0) ack 5");
    x.stack(&format!("P. 5:9(4) ack 11 {TS}"));
    x.until(&format!("P. 5:9(4) ack 11 {TS}")); // retransmission
    x.peer(". 11:11(0) ack 9");
    x.reads(10);
    x.close();
    x.stack(&format!("F. 9:9(0) ack 11 {TS}"));
    x.peer("F. 11:11(0) ack 10");
    x.stack(&format!(". 10:10(0) ack 12 {TS}"));
    x.state_is("TIME-WAIT");
    x.peer("F. 11:11(0) ack 10");
    x.stack(&format!(". 10:10(0) ack 12 {TS}"));
}

/// conformance: 7323-3.2-rst
#[test]
fn a_reset_of_a_connection_with_timestamps_carries_one() {
    let mut x = stamped();
    x.abort();
    x.stack(&format!("R. 1:1(0) ack 1 {TS}"));
}

/// The peer may judge by it what is old.
#[test]
fn a_fin_and_a_reset_carry_the_time_of_their_sending() {
    for unread in [false, true] {
        let mut x = stamped();
        let before = timestamps(&x.write(b"data").stack("P. 1:5(4) ack 1")).expect("stamped").0;
        x.peer("P. 1:11(10) ack 5").stack(". 5:5(0) ack 11");
        x.reads(if unread { 5 } else { 10 }).quiet_for(secs(3)).close();
        let last = x.stack(if unread { "R. 5:5(0) ack 11" } else { "F. 5:5(0) ack 11" });
        assert_eq!(timestamps(&last).expect("stamped").0.wrapping_sub(before), 3000);
    }
}

/// conformance: 7323-3.2-missing-drop, 7323-3.2-missing-noabort
#[test]
fn data_without_the_option_is_dropped_and_the_connection_lives() {
    let mut x = stamped();
    x.peer("P. 1:11(10) ack 1 <>");
    x.quiet_for(ms(500));
    x.reads_nothing();
    x.state_is("ESTABLISHED");
    x.peer("P. 1:11(10) ack 1");
    x.stack(". 1:1(0) ack 11");
    x.reads(10);
}

/// conformance: 7323-3.2-missing-noabort
#[test]
fn a_reset_without_the_option_is_still_a_reset() {
    let mut x = stamped();
    x.peer("R. 1:1(0) ack 1 <>");
    x.state_is("CLOSED");
    x.read_fails(Errno::ECONNRESET);
}

/// conformance: 7323-3.2-not-negotiated
#[test]
fn options_that_nobody_agreed_on_are_ignored() {
    let mut x = Setup::new().quick().established();
    x.peer("P. 1:11(10) ack 1 <nop,nop,TS val 5000 ecr 1>");
    x.stack(". 1:1(0) ack 11 <>");
    // An older one next: PAWS would drop it.
    x.peer("P. 11:21(10) ack 1 <nop,nop,TS val 4000 ecr 1>");
    x.stack(". 1:1(0) ack 21 <>");
    x.reads(20);
}

/// conformance: 7323-3.2-tsecr-valid
#[test]
fn our_syn_echoes_nothing() {
    let mut x = Setup::new().closed();
    let remote = "10.9.0.1:80".parse().expect("an address");
    let id = x.user("socket, connect", |host, now| {
        let id = host.socket(tunstack::host::Domain::Inet, tunstack::host::Type::Stream).expect("a socket");
        assert_eq!(host.connect(now, id, Some(remote)), Err(Errno::EINPROGRESS));
        id
    });
    x.sock = Some(id);
    let packet = x.next();
    let (value, echo) = timestamps(packet.tcp().expect("a SYN")).expect("offered");
    assert_eq!(echo, 0);
    assert_ne!(value, 0, "the clock has an offset");
}

/// The SYN of a simultaneous open has no ACK, so its TSecr says nothing though it looks like an answer.
///
/// conformance: 7323-3.2-tsecr-valid
#[test]
fn the_echo_of_a_syn_without_ack_is_no_measurement() {
    let mut x = Setup::new().connecting();
    x.quiet_for(ms(50));
    x.peer("S 0:0(0) <mss 1460,TS val 900 ecr *>");
    let answer = x.stack("S. 0:0(0) ack 1");
    assert_eq!(timestamps(&answer).expect("offered").1, 900);
    let info = x.info();
    assert_eq!((info.rtt, info.rto), (0, 1_000_000));
}

/// conformance: 7323-4.1-rttm
#[test]
fn only_an_ack_of_new_data_measures() {
    let mut x = stamped();
    x.write(b"data");
    let sent = timestamps(&x.stack("P. 1:5(4) ack 1")).expect("stamped").0;
    x.quiet_for(ms(50));
    x.peer(". 1:1(0) ack 5");
    let before = (x.info().rtt, x.info().rttvar);
    x.quiet_for(secs(10));
    let clock = x.peer_clock();
    x.peer(&format!(". 1:1(0) ack 5 <nop,nop,TS val {clock} ecr {sent}>"));
    x.peer(&format!("P. 1:11(10) ack 5 <nop,nop,TS val {clock} ecr {sent}>"));
    x.stack(". 5:5(0) ack 11");
    assert_eq!((x.info().rtt, x.info().rttvar), before);
}

/// Karn's rule does not bind where the echo tells which copy arrived.
///
/// conformance: 7323-4.1-rttm
#[test]
fn a_retransmission_is_measured_by_its_echo() {
    let mut x = stamped();
    x.write(b"data");
    x.stack("P. 1:5(4) ack 1");
    x.until("P. 1:5(4) ack 1");
    x.quiet_for(ms(30));
    x.peer(". 1:1(0) ack 5");
    let info = x.info();
    // The handshake took no time; one sample of 30 ms makes the smoothed time 30/8 ms.
    assert!((3_000..5_000).contains(&info.rtt), "rtt {}", info.rtt);
    assert_eq!(info.backoff, 0);
}

/// conformance: 7323-4.2-gain
#[test]
fn many_samples_in_a_round_trip_count_like_one() {
    let mut x = Setup::new().syn_options("mss 500,TS val 1000 ecr 0").connecting();
    x.quiet_for(ms(100));
    x.peer("S. 0:0(0) ack 1 <mss 500,TS val * ecr *>");
    x.stack(". 1:1(0) ack 1");
    x.write_octets(488 * 10);
    let segments = x.data();
    assert_eq!(segments.len(), 10);
    x.quiet_for(ms(200));
    for segment in &segments {
        x.peer(&format!(". 1:1(0) ack {}", segment.end));
    }
    // One sample of 200 ms moves 100 ms to 112.5; ten of them with unscaled gains to 174.
    let rtt = x.info().rtt;
    assert!((105_000..125_000).contains(&rtt), "rtt {rtt}");
}

/// conformance: 7323-4.3-recent, 7323-4.3-echo
#[test]
fn a_delayed_ack_echoes_the_earliest_segment() {
    let mut x = stamped();
    x.set(Opt::QuickAck(false));
    x.peer("P. 1:101(100) ack 1 <nop,nop,TS val 2000 ecr *>");
    x.quiet_for(ms(10));
    x.peer("P. 101:201(100) ack 1 <nop,nop,TS val 2010 ecr *>");
    x.until(". 1:1(0) ack 201 <nop,nop,TS val * ecr 2000>");
    // The next one lies at the last acknowledgment again.
    x.peer("P. 201:301(100) ack 1 <nop,nop,TS val 2050 ecr *>");
    x.stack(". 1:1(0) ack 301 <nop,nop,TS val * ecr 2050>");
}

/// conformance: 7323-4.3-recent, 7323-4.3-echo
#[test]
fn beyond_a_gap_the_last_segment_in_order_is_echoed_then_the_filler() {
    let mut x = stamped();
    x.peer("P. 1:101(100) ack 1 <nop,nop,TS val 2000 ecr *>");
    x.stack(". 1:1(0) ack 101 <nop,nop,TS val * ecr 2000>");
    x.peer("P. 201:301(100) ack 1 <nop,nop,TS val 2020 ecr *>");
    x.stack(". 1:1(0) ack 101 <nop,nop,TS val * ecr 2000>");
    x.peer("P. 101:201(100) ack 1 <nop,nop,TS val 2030 ecr *>");
    x.stack(". 1:1(0) ack 301 <nop,nop,TS val * ecr 2030>");
}

/// conformance: 7323-4.3-recent
#[test]
fn ts_recent_wraps() {
    let mut x = Setup::new().syn_options("mss 1460,TS val 4294967290 ecr 0").listening();
    x.peer("S 0:0(0) <mss 1460,TS val 4294967290 ecr 0>");
    x.stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1 <nop,nop,TS val 4294967295 ecr *>");
    x.accept();
    x.peer("P. 1:11(10) ack 1 <nop,nop,TS val 3 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 3>");
    x.peer("P. 11:21(10) ack 1 <nop,nop,TS val 4294967295 ecr *>");
    x.stack(". 1:1(0) ack 11 <nop,nop,TS val * ecr 3>");
}

/// conformance: 7323-5.4-clock
#[test]
fn the_clock_ticks_every_millisecond() {
    let mut x = stamped();
    x.write(b"a");
    let first = timestamps(&x.stack("P. 1:2(1) ack 1")).expect("stamped").0;
    x.peer(". 1:1(0) ack 2");
    x.quiet_for(ms(7));
    x.write(b"b");
    let second = timestamps(&x.stack("P. 2:3(1) ack 1")).expect("stamped").0;
    x.peer(". 1:1(0) ack 3");
    x.quiet_for(ms(993));
    x.write(b"c");
    let third = timestamps(&x.stack("P. 3:4(1) ack 1")).expect("stamped").0;
    assert_eq!(second.wrapping_sub(first), 7);
    assert_eq!(third.wrapping_sub(first), 1000);
}

/// conformance: 7323-5.4-offset
#[test]
fn clocks_of_different_connections_are_unrelated() {
    let mut x = Setup::new().listening();
    let mut offsets = Vec::new();
    for port in 1..=8 {
        x.on_port(40_000 + port);
        x.peer("S 0:0(0) <mss 1460,TS val 1 ecr 0>");
        offsets.push(timestamps(&x.stack("S. 0:0(0) ack 1")).expect("offered").0);
    }
    for (index, offset) in offsets.iter().enumerate() {
        // Opened within no time: equal clocks would show equal values.
        assert!(offsets[..index].iter().all(|other| other.abs_diff(*offset) > 1000), "{offsets:?}");
    }
}

/// conformance: 7323-5.7-df
#[test]
fn segments_go_with_df_set() {
    let mut x = stamped();
    x.write(b"data");
    assert!(x.next().df);
    x.peer("P. 1:11(10) ack 5");
    assert!(x.next().df);
    x.shutdown(Shutdown::Write);
    assert!(x.next().df);
}
