//! CUBIC's window by whole dialogues: slow start, what the application or the peer leaves unused, Linux's HyStart, the reduction.

use super::common::exchange::{Exchange, Setup};
use super::common::ms;
use tunstack::base::config::{Config, Hystart};

/// No loss so far.
const NEVER: u32 = 1_000_000;

/// Segments of 1000 octets and a round-trip time of 100 ms, just established; no probes of the tail.
fn path(change: impl FnOnce(&mut Config)) -> Exchange {
    let setup = Setup::new().syn_options("mss 1000,nop,nop,sackOK,nop,wscale 10");
    let mut x = setup.config(|c| c.tcp_early_retrans = false).config(change).syn_received();
    x.after(ms(100)).peer(". 1:1(0) ack 1").accept();
    x
}

#[test]
fn slow_start_counts_all_that_an_ack_covers() {
    for covered in [1, 2, 4] {
        let mut x = path(|_| ());
        x.write_octets(100_000);
        x.sends(1, 10, 1000);
        x.after(ms(100));
        for n in 1..=2 {
            x.peer(&format!(". 1:1(0) ack {}", n * covered * 1000 + 1));
            assert_eq!(i64::from(x.cwnd()), 10 + n * covered, "{n} of {covered}");
            assert_eq!(x.data().len() as i64, 2 * covered, "as much again as has left");
        }
    }
}

/// Half of the window in use earns nothing, more than half as much as makes it twice the flight.
///
#[test]
fn a_window_in_use_by_half_does_not_grow() {
    for (used, expected) in [(5, 10), (6, 12), (9, 18), (10, 20)] {
        let mut x = path(|_| ());
        x.write_octets(used * 1000);
        x.sends(1, used, 1000);
        x.after(ms(100));
        (1..=used).for_each(|n| {
            x.peer(&format!(". 1:1(0) ack {}", n * 1000 + 1));
        });
        assert_eq!(x.cwnd(), expected, "{used} of 10 were in flight");
    }
}

/// The peer's window is the limit, not ours.
#[test]
fn a_window_that_the_peer_does_not_let_us_use_does_not_grow() {
    let mut x = Setup::new().syn_options("mss 1000,nop,nop,sackOK").window(5000).syn_received();
    x.after(ms(100)).peer(". 1:1(0) ack 1").accept();
    x.write_octets(100_000);
    let mut acked = 1;
    for _ in 0..20 {
        x.sends(acked, 5, 1000);
        acked += 5000;
        x.after(ms(100)).peer(&format!(". 1:1(0) ack {acked}"));
    }
    assert_eq!(x.cwnd(), 10);
}

/// Two segments arrive each 100 ms, so the delay grows with the window. Numbers are those of Linux 6.18.
#[test]
fn linux_hystart_leaves_slow_start_when_the_delay_has_grown() {
    let mut x = path(|c| c.tcp_hystart = Hystart::Linux);
    x.write_octets(400_000).ignore();
    let mut acked = 1;
    let mut step = |x: &mut Exchange| {
        acked += 2000;
        x.after(ms(100)).peer(&format!(". 1:1(0) ack {acked}")).ignore();
        x.cwnd()
    };
    for n in 1..=13 {
        assert_eq!((step(&mut x), x.ssthresh() > NEVER), (10 + 2 * n, true));
    }
    assert_eq!((step(&mut x), x.ssthresh()), (36, 36));
    // On the plateau it is slow at first, and never faster than one segment for two.
    let mut before = 36;
    for n in 0..100 {
        let cwnd = step(&mut x);
        assert!((before..=before + 1).contains(&cwnd), "{before}, then {cwnd}");
        assert!(n >= 16 || cwnd <= 37, "{cwnd} after {n} steps");
        before = cwnd;
    }
    assert!(before > 52, "{before}");
}

/// Samples far below all others are no sign of a queue.
#[test]
fn linux_hystart_is_not_fooled_by_a_shorter_path() {
    let mut x = path(|c| c.tcp_hystart = Hystart::Linux);
    x.write_octets(28_000);
    x.sends(1, 10, 1000);
    x.after(ms(100)).peer(". 1:1(0) ack 10001");
    x.sends(10_001, 18, 1000);
    x.after(ms(90)).write_octets(2000);
    x.sends(28_001, 2, 1000);
    x.after(ms(9));
    for n in 1..=10 {
        x.after(ms(1)).peer(&format!(". 1:1(0) ack {}", 10_001 + 2000 * n)).quiet();
        assert!(x.ssthresh() > NEVER, "after {n}: {}", x.ssthresh());
    }
    assert_eq!(x.cwnd(), 40);
}

/// Of ten segments one is lost: seven may be in flight afterwards.
///
/// conformance: 9937-6.4-end
#[test]
fn a_loss_leaves_seven_tenths() {
    let mut x = path(|_| ());
    x.write_octets(100_000);
    x.sends(1, 10, 1000);
    x.after(ms(100));
    for end in 2..10 {
        x.peer(&format!(". 1:1(0) ack 1 <nop,nop,sack 1001:{}>", end * 1000 + 1)).ignore_but_learn();
    }
    assert_eq!(x.ssthresh(), 7);
    let end = x.stack_nxt();
    x.after(ms(100)).peer(&format!(". 1:1(0) ack {end}"));
    assert_eq!((x.cwnd(), x.ssthresh()), (7, 7));
    x.sends(end, 7, 1000);
    assert_eq!(x.info().unacked, 7);
}
