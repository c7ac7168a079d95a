//! The retransmission timer (RFC 6298).

use super::common::exchange::Setup;
use super::common::{Config, Duration, Exchange, ms, secs};
use tunstack::base::Rng;
use tunstack::host::Shutdown;

/// Connected over a path with this round-trip time: one sample was taken. No options but MSS 1000.
fn over(rtt: Duration, change: impl FnOnce(&mut Config)) -> Exchange {
    let mut x = Setup::new().syn_options("mss 1000").config(change).connecting();
    x.quiet_for(rtt);
    x.peer("S. 0:0(0) ack 1 <mss 1000>");
    x.stack(". 1:1(0) ack 1");
    x
}

/// SRTT, RTTVAR and RTO in microseconds.
fn variables(x: &Exchange) -> (u64, u64, u64) {
    let info = x.info();
    (info.rtt, info.rttvar, info.rto)
}

#[track_caller]
fn about(found: Duration, expected: Duration) {
    let (found, expected) = (found.as_micros(), expected.as_micros());
    assert!(found.abs_diff(expected) <= 1_000, "{found} µs, expected {expected} µs");
}

/// conformance: 6298-2.1-initial, 6298-5.5-double, 6298-5.6-restart-after
#[test]
fn an_unanswered_syn_goes_again_after_1_3_and_7_seconds() {
    let mut x = Exchange::connecting();
    about(x.until("S 0:0(0)"), secs(1));
    about(x.until("S 0:0(0)"), secs(2));
    about(x.until("S 0:0(0)"), secs(4));
    let mut x = Setup::new().syn_received();
    about(x.until("S. 0:0(0) ack 1"), secs(1));
    about(x.until("S. 0:0(0) ack 1"), secs(2));
    about(x.until("S. 0:0(0) ack 1"), secs(4));
}

/// With `tcp_rto_min_us` at the RFC's second; the default of 200 ms is Linux's.
///
/// conformance: 6298-2.4-min
#[test]
fn the_floor_can_be_set_to_one_second() {
    let mut x = over(ms(10), |c| c.tcp_rto_min_us = secs(1));
    x.write(b"tail");
    x.stack("P. 1:5(4) ack 1");
    x.quiet_for(ms(999));
    let waited = x.until("P. 1:5(4) ack 1") + ms(999);
    assert!(waited <= ms(1011), "{waited:?}");
    let mut x = over(ms(10), |_| ());
    x.write(b"tail");
    x.stack("P. 1:5(4) ack 1");
    about(x.until("P. 1:5(4) ack 1"), ms(210));
}

/// Nor is what was sent before the retransmission and is acknowledged together with it.
///
/// conformance: 6298-3-karn
#[test]
fn an_ack_that_waited_for_a_repair_is_not_measured() {
    let mut x = over(ms(100), |_| ());
    x.write_octets(2000);
    x.sends(1, 2, 1000);
    x.until(". 1:1001(1000) ack 1");
    x.quiet_for(ms(100));
    x.peer(". 1:1(0) ack 2001");
    assert_eq!(variables(&x).0, 100_000);
}

/// Whatever sent it again.
///
/// conformance: 6298-3-karn
#[test]
fn a_fast_retransmission_is_not_measured() {
    let mut x = over(ms(100), |_| ());
    x.write_octets(4000);
    x.sends(1, 4, 1000);
    x.quiet_for(ms(100));
    x.peer_times(2, ". 1:1(0) ack 1");
    x.peer(". 1:1(0) ack 1").sends(1, 1, 1000);
    x.quiet_for(ms(150));
    x.peer(". 1:1(0) ack 4001");
    assert_eq!(variables(&x).0, 100_000);
}

/// conformance: 6298-3-karn
#[test]
fn a_syn_sent_twice_is_not_measured() {
    let mut x = Exchange::connecting();
    x.until("S 0:0(0)");
    x.quiet_for(ms(20));
    x.peer("S. 0:0(0) ack 1 <mss 1000>");
    x.stack(". 1:1(0) ack 1");
    assert_eq!(x.info().rtt, 0);
}

/// conformance: 6298-5.1-start
#[test]
fn sending_starts_the_timer() {
    let mut x = over(ms(100), |_| ());
    x.quiet_for(secs(60));
    x.write(b"data");
    x.stack("P. 1:5(4) ack 1");
    about(x.until("P. 1:5(4) ack 1"), ms(300));
    // A FIN alone is data in this sense.
    let mut x = over(ms(100), |_| ());
    x.quiet_for(secs(60));
    x.shutdown(Shutdown::Write);
    x.stack("F. 1:1(0) ack 1");
    about(x.until("F. 1:1(0) ack 1"), ms(300));
}

/// conformance: 6298-5.1-start
#[test]
fn sending_more_does_not_restart_it() {
    let mut x = over(ms(100), |_| ());
    x.write_octets(1000);
    x.stack("P. 1:1001(1000) ack 1");
    x.quiet_for(ms(200));
    x.write_octets(1000);
    x.stack("P. 1001:2001(1000) ack 1");
    about(x.until(". 1:1001(1000) ack 1"), ms(100));
}

/// A duplicate does not.
///
/// conformance: 6298-5.3-restart
#[test]
fn an_ack_of_nothing_new_does_not_restart_the_timer() {
    let mut x = over(ms(100), |_| ());
    x.write_octets(2000);
    x.sends(1, 2, 1000);
    x.quiet_for(ms(270));
    x.peer(". 1:1(0) ack 1");
    about(x.until(". 1:1001(1000) ack 1"), ms(30));
}

/// conformance: 6298-5.7-syn
#[test]
fn after_a_lost_syn_data_starts_with_three_seconds() {
    let mut x = Setup::new().connecting();
    x.until("S 0:0(0)");
    x.peer("S. 0:0(0) ack 1 <mss 1000>");
    x.stack(". 1:1(0) ack 1");
    x.write(b"data");
    x.stack("P. 1:5(4) ack 1");
    about(x.until("P. 1:5(4) ack 1"), secs(3));
    // A timestamp tells which SYN was answered: there is a sample, and the rule does not apply.
    let mut x = Setup::new().connecting();
    x.until("S 0:0(0)");
    x.quiet_for(ms(50));
    x.peer("S. 0:0(0) ack 1 <mss 1000,TS val * ecr *>");
    x.stack(". 1:1(0) ack 1");
    x.write(b"data");
    x.stack("P. 1:5(4) ack 1");
    about(x.until("P. 1:5(4) ack 1"), ms(250));
}

/// The same for the SYN-ACK of the passive side.
///
/// conformance: 6298-5.7-syn
#[test]
fn after_a_lost_syn_ack_data_starts_with_three_seconds() {
    let mut x = Setup::new().syn_received();
    x.until("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1");
    x.accept();
    x.write(b"data");
    x.stack("P. 1:5(4) ack 1");
    about(x.until("P. 1:5(4) ack 1"), secs(3));
}

/// Random traffic over a path that loses much: no timer sends a segment sooner than one RTO after it last went.
///
/// conformance: 6298-5-not-early
#[test]
fn no_segment_goes_again_sooner_than_one_timeout() {
    let mut timeouts = 0;
    for seed in 0..40 {
        timeouts += random_trace(seed);
    }
    assert!(timeouts > 100, "the trace was to show timeouts: {timeouts}");
}

fn random_trace(seed: u64) -> usize {
    let mut rng = Rng::from_seed(seed);
    let mut x = over(ms(20 + rng.below(200)), |_| ());
    x.write_octets(60_000);
    let (mut last_sent, mut acked, mut highest, mut timeouts) = (Vec::new(), 1, 1, 0);
    for _ in 0..60 {
        note_data(&mut x, &mut last_sent, &mut highest);
        match rng.below(4) {
            0 => {
                acked = (acked + 1000 * rng.below(4) as i64).min(highest);
                x.peer(&format!(". 1:1(0) ack {acked}"));
            }
            1 => {
                x.peer(&format!(". 1:1(0) ack {acked}"));
            }
            _ => {
                // Only time passes: what goes again now, a timer sends.
                let end = x.now + ms(1 + rng.below(700));
                while let Some(next) = x.host.next_timeout().filter(|at| *at <= end) {
                    let (rto, before) = (x.rto(), x.now);
                    x.after(next.since(before));
                    for range in x.data() {
                        if let Some((_, at)) = last_sent.iter().find(|(start, _)| *start == range.start) {
                            let waited = x.now.since(*at) + ms(1);
                            assert!(waited >= rto, "seed {seed}: {range:?} after {waited:?}, RTO {rto:?}");
                            timeouts += 1;
                        }
                        remember(&mut last_sent, range.start, x.now);
                        highest = highest.max(range.end);
                    }
                }
                let rest = end.since(x.now);
                x.quiet_for(rest);
            }
        }
    }
    x.ignore();
    timeouts
}

type LastSent = Vec<(i64, tunstack::base::Instant)>;

fn note_data(x: &mut Exchange, last_sent: &mut LastSent, highest: &mut i64) {
    for range in x.data() {
        remember(last_sent, range.start, x.now);
        *highest = range.end.max(*highest);
    }
}

fn remember(last_sent: &mut LastSent, start: i64, now: tunstack::base::Instant) {
    last_sent.retain(|(other, _)| *other != start);
    last_sent.push((start, now));
}
