//! Windows in both directions: silly-window avoidance, the edge that does not move back, zero windows and their probes,
//! the user timeout.

use super::common::exchange::Setup;
use super::common::{Errno, Exchange, ms, secs};
use tunstack::host::Opt;

/// Without scaling neither the field nor what is accepted goes beyond 65535.
#[test]
fn without_scaling_the_window_ends_at_65535() {
    let mut x = Setup::new().option(Opt::RcvBuf(1 << 20)).established();
    let mut edge = 0;
    for i in 0..200 {
        x.peer(&format!(". {}:{}(1000) ack 1", 1000 * i + 1, 1000 * i + 1001));
        while let Some(packet) = x.try_next() {
            let tcp = packet.tcp().expect("an ACK");
            let (irs, _) = x.initial_numbers();
            edge = i64::from(tcp.ack.wrapping_sub(irs)) + i64::from(tcp.window);
        }
        x.reads(1000);
        x.ignore();
    }
    x.skip(ms(100));
    let next = 200_001;
    assert!(edge <= next + 65_535);
    x.peer(&format!(". {}:{}(1000) ack 1", next + 66_000, next + 67_000));
    x.stack(&format!(". 1:1(0) ack {next}"));
    assert_eq!(x.info().rcv_ooopack, 0);
}

/// The peer's data is lost on the way; its pure ACKs have numbers beyond what we have, in front of the edge we told.
#[test]
fn a_pure_ack_in_front_of_the_edge_counts() {
    let mut x = Setup::new().option(Opt::RcvBuf(4096)).established();
    let last = i64::from(x.info().rcv_wnd);
    x.write(b"data");
    x.stack("P. 1:5(4) ack 1");
    x.peer(&format!(". {last}:{last}(0) ack 5"));
    assert_eq!(x.info().unacked, 0);
    x.ignore();
}

/// A peer that never offers more than half a segment gets what it offers.
#[test]
fn a_peer_with_a_small_buffer_is_served() {
    let mut x = Setup::new().syn_options("mss 1000").window(500).established();
    x.write_octets(1200);
    x.sends(1, 1, 500);
    x.peer(". 1:1(0) ack 501").sends(501, 1, 500);
    x.peer(". 1:1(0) ack 1001").sends(1001, 1, 200);
}

/// A peer with a window of zero, data waiting, over a path of 100 ms.
fn closed_window() -> Exchange {
    let mut x = Setup::new().syn_options("mss 1000").connecting();
    x.quiet_for(ms(100));
    x.peer("S. 0:0(0) ack 1 <mss 1000>");
    x.stack(". 1:1(0) ack 1");
    x.write(b"data");
    x.stack("P. 1:5(4) ack 1");
    x.quiet_for(ms(100));
    x.peer(". 1:1(0) ack 5 win 0");
    x.write_octets(20_000);
    x
}

#[test]
fn probes_carry_an_old_number_and_their_intervals_double() {
    let mut x = closed_window();
    let mut expected = x.rto();
    let cwnd = x.cwnd();
    for _ in 0..6 {
        let waited = x.until(". 4:4(0) ack 1");
        assert!(waited.as_micros().abs_diff(expected.as_micros()) <= 1000, "{waited:?}, not {expected:?}");
        x.peer(". 1:1(0) ack 5 win 0");
        expected = expected + expected;
    }
    assert_eq!(x.cwnd(), cwnd);
    x.peer(". 1:1(0) ack 5 win 10000").sends(5, cwnd.min(10) as usize, 1000);
}

#[test]
fn the_user_timeout_counts_from_the_first_unanswered_segment() {
    let mut x = Exchange::established();
    x.set(Opt::UserTimeout(secs(30)));
    x.quiet_for(secs(1000));
    x.write(b"data");
    x.skip(secs(29));
    x.state_is("ESTABLISHED");
    x.skip(secs(40));
    x.state_is("CLOSED");
    x.write_fails(Errno::ETIMEDOUT);
    // The peer comes back and learns that it is over.
    x.peer(". 1:1(0) ack 5");
    x.stack("R 5:5(0)");
}
