//! When the receiver acknowledges (RFC 5681 §4.2), and what it accepts at the edges of its window.

use super::common::exchange::Setup;
use super::common::{Exchange, ms};
use tunstack::base::Rng;
use tunstack::host::{Opt, Shutdown};

/// Established, past the acknowledgments that go at once in the beginning.
fn patient() -> Exchange {
    let mut x = Exchange::established();
    x.set(Opt::QuickAck(false));
    x
}

/// The ACK of a FIN does not wait for anything.
#[test]
fn a_fin_is_acked_at_once() {
    let mut x = patient();
    x.peer("P. 1:11(10) ack 1").quiet();
    x.peer("F. 11:11(0) ack 1");
    x.stack(". 1:1(0) ack 12");
}

/// conformance: 5681-4.2-ooo-now
#[test]
fn duplicates_and_gaps_do_not_wait() {
    let mut x = patient();
    x.peer("P. 1:11(10) ack 1").quiet();
    x.peer("P. 21:31(10) ack 1");
    x.stack(". 1:1(0) ack 11");
    x.peer("P. 1:11(10) ack 1");
    x.stack(". 1:1(0) ack 11");
}

/// Random segments, in and out of order, twice, old and beyond the window; nothing is read, so no window updates.
///
/// conformance: 5681-4.2-one-ack
#[test]
fn one_ack_per_arriving_segment_at_most() {
    for seed in 0..30 {
        let mut rng = Rng::from_seed(seed);
        let mut x =
            Setup::new().syn_options(["mss 1460", "mss 1460,sackOK"][seed as usize % 2]).established();
        let mut in_order = 1;
        for _ in 0..60 {
            let start = match rng.below(3) {
                0 => 1 + 500 * rng.below(60) as i64,
                _ => in_order,
            };
            let len = [100, 500, 1460][rng.below(3) as usize];
            x.peer(&format!(". {start}:{}({len}) ack 1", start + len));
            let answers: Vec<_> = std::iter::from_fn(|| x.try_next()).collect();
            assert!(answers.len() <= 1, "seed {seed}: {} answers", answers.len());
            if start == in_order {
                in_order += len;
            }
            if rng.chance(0.2) {
                // A delayed one instead of, not beside, the immediate one.
                let before = x.counter("TcpOutSegs");
                x.skip(ms(600));
                let late = x.counter("TcpOutSegs") - before;
                assert!(late + answers.len() as u64 <= 1, "seed {seed}: {late} later");
            }
        }
        x.ignore();
    }
}

/// Data beyond the right edge is cut off there, and so is a FIN behind it.
#[test]
fn what_lies_beyond_the_window_is_not_taken() {
    let mut x = Setup::new().option(Opt::RcvBuf(4096)).established();
    let edge = i64::from(x.info().rcv_wnd) + 1;
    let half = (edge - 1) / 2;
    x.peer(&format!(". 1:{}({half}) ack 1", half + 1));
    x.ignore();
    let rest = edge - half - 1;
    let len = rest + 500;
    x.peer(&format!("F. {}:{}({len}) ack 1", half + 1, half + 1 + len));
    x.stack(&format!(". 1:1(0) ack {edge} win 0"));
    x.state_is("ESTABLISHED");
    // Nothing fits: an ACK, and nothing taken.
    x.peer(&format!("P. {edge}:{}(10) ack 1", edge + 10));
    x.stack(&format!(". 1:1(0) ack {edge} win 0"));
    x.reads(edge as usize - 1);
    x.stack(&format!(". 1:1(0) ack {edge}")); // the window opens
    x.reads_nothing();
    // Another end than the one that was cut off.
    x.peer(&format!("F. {edge}:{}(700) ack 1", edge + 700));
    x.stack(&format!(". 1:1(0) ack {}", edge + 701));
    x.reads(700);
    x.reads_end();
}

/// As on Linux: shutting the receiving side is not told to the peer, and what comes later can still be read.
#[test]
fn after_shut_read_data_is_still_acked_and_readable() {
    let mut x = Setup::new().quick().established();
    x.shutdown(Shutdown::Read);
    x.reads_end();
    x.peer("P. 1:11(10) ack 1");
    x.stack(". 1:1(0) ack 11");
    x.reads(10);
    x.reads_end();
}
