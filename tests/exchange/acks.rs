//! When the receiver acknowledges, and how segments become a stream again (RFC 9293 §3.8.6.3, RFC 5681 §4.2).

use crate::common::exchange::{Exchange, Setup, pattern};
use crate::common::{ms, secs};
use tunstack::base::Rng;
use tunstack::host::{Opt, Readiness};

/// conformance: 9293-SHLD-18, 9293-MUST-40, 9293-3.10.3-ack-on-take
#[test]
fn a_lone_segment_is_acked_by_the_timer() {
    let mut x = Exchange::established();
    x.peer("P. 1:11(10) ack 1").quiet_for(ms(39));
    x.after(ms(1)).stack(". 1:1(0) ack 11");
    x.reads(10);
}

/// As Linux: a peer with Nagle's algorithm may wait for this acknowledgment before it writes more.
#[test]
fn what_is_drained_is_acked_at_once_unless_it_is_answered() {
    let mut x = Exchange::established();
    // The first delay ends without a ride; then the acknowledgments go that are quick by themselves.
    x.peer("P. 1:11(10) ack 1").after(ms(40)).stack(". 1:1(0) ack 11");
    let mut end = 11;
    loop {
        x.peer(&format!("P. {end}:{}(10) ack 1", end + 10));
        end += 10;
        if x.try_next().is_none() {
            break;
        }
    }
    let text = |flags: &str, from: i64, to: i64| format!("{flags} {from}:{to}({}) ack 1", to - from);
    let ack = |to: i64| format!(". 1:1(0) ack {to}");
    // Only when everything is read.
    x.reads(end as usize - 2).quiet();
    x.reads(1).stack(&ack(end));
    // A full-sized segment is not the end of what the peer writes, unless it says so.
    x.peer(&text(".", end, end + 1460)).reads(1460).quiet_for(ms(39));
    x.after(ms(1)).stack(&ack(end + 1460));
    x.peer(&text("P.", end + 1460, end + 2920)).reads(1460).stack(&ack(end + 2920));
    // One who answers may wait for a ride, but not for two.
    let mut from = end + 2920;
    x.peer(&text("P.", from, from + 10)).write(b"answer");
    x.stack(&format!("P. 1:7(6) ack {}", from + 10));
    from += 10;
    x.peer(&format!("P. {from}:{}(10) ack 7", from + 10)).reads(20).quiet();
    x.peer(&format!("P. {}:{}(10) ack 7", from + 10, from + 20)).reads(10);
    x.stack(&format!(". 7:7(0) ack {}", from + 20));
}

/// conformance: 5681-4.2-delack
#[test]
fn no_setting_delays_an_ack_by_half_a_second() {
    let mut config = tunstack::base::Config::default();
    assert!(config.set("tcp_delack_ms", "500").is_err());
    assert!(config.set("tcp_delack_ms", "499").is_ok());
}

/// conformance: 9293-SHLD-19
#[test]
fn every_second_full_segment_is_acked_at_once() {
    let mut x = Exchange::established();
    for i in 0..10 {
        let seq = 1 + 2920 * i;
        x.peer(&format!(". {seq}:{}(1460) ack 1", seq + 1460)).quiet();
        x.peer(&format!(". {}:{}(1460) ack 1", seq + 1460, seq + 2920));
        x.stack(&format!(". 1:1(0) ack {}", seq + 2920));
    }
}

/// conformance: 9293-SHLD-19
#[test]
fn small_pieces_are_acked_by_twice_the_mss() {
    let mut x = Exchange::established();
    let mut seq = 1;
    while seq <= 2920 {
        x.peer(&format!("P. {seq}:{}(365) ack 1", seq + 365));
        seq += 365;
        if x.try_next().is_some() {
            assert!(seq > 365 + 1);
            return;
        }
    }
    panic!("{} octets without an ACK", seq - 1);
}

/// conformance: 9293-MUST-58, 9293-MUST-59
#[test]
fn a_batch_is_acked_once_when_it_is_done() {
    let mut x = Exchange::established();
    let texts: Vec<String> =
        (0..10).map(|i| format!(". {}:{}(1460) ack 1", 1 + 1460 * i, 1461 + 1460 * i)).collect();
    x.peers(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    x.stack(". 1:1(0) ack 14601");
    x.quiet_for(ms(100));
}

/// conformance: 5681-3.2-dup-ooo, 5681-4.2-ooo-now, 9293-MAY-13, 9293-SHLD-31
#[test]
fn out_of_order_data_is_kept_and_acked_at_once() {
    let mut x = Exchange::established();
    x.peer("P. 11:21(10) ack 1").stack(". 1:1(0) ack 1");
    x.peer("P. 21:31(10) ack 1").stack(". 1:1(0) ack 1");
    x.peer("P. 31:41(10) ack 1").stack(". 1:1(0) ack 1");
    x.reads_nothing();
    x.peer("P. 1:11(10) ack 1").stack(". 1:1(0) ack 41");
    x.reads(40);
}

/// conformance: 5681-3.2-gap-fill
#[test]
fn a_filled_gap_is_acked_at_once_even_in_part() {
    let mut x = Exchange::established();
    x.peer("P. 21:31(10) ack 1").stack(". 1:1(0) ack 1");
    x.peer("P. 1:11(10) ack 1").stack(". 1:1(0) ack 11");
    x.peer("P. 11:21(10) ack 1").stack(". 1:1(0) ack 31");
    x.reads(30);
}

/// conformance: 5681-4.2-one-ack
#[test]
fn no_segment_is_acked_twice() {
    let mut x = Exchange::established();
    let mut rng = Rng::from_seed(4);
    let (mut arrived, mut acks) = (0, 0);
    for _ in 0..500 {
        let seq = x.peer_nxt() + rng.below(3) as i64 * 100 - 100;
        x.peer(&format!("P. {}:{}(100) ack 1", seq.max(1), seq.max(1) + 100));
        arrived += 1;
        acks += x.take_all().len();
        let _ = x.try_read(100_000);
        x.take_all();
        acks += x.skip_taking(ms(rng.below(60))).len();
    }
    assert!(acks <= arrived, "{acks} ACKs for {arrived} segments");
}

/// conformance: 9293-3.10.7.4-trim, 9293-3.10.7.4-seq-accept-n-w
#[test]
fn what_is_known_already_is_cut_off() {
    let mut x = Exchange::established();
    x.peer("P. 1:11(10) ack 1").reads(10);
    x.after(ms(40)).stack(". 1:1(0) ack 11");
    x.peer("P. 6:16(10) ack 1").stack(". 1:1(0) ack 16");
    x.reads(5);
    x.peer("P. 1:11(10) ack 1").stack(". 1:1(0) ack 16");
    x.reads_nothing();
}

/// conformance: 9293-3.10.7.4-overlap-consistent
#[test]
fn every_permutation_of_overlapping_segments_is_one_stream() {
    let pieces = [(1i64, 9i64), (5, 8), (11, 6), (15, 10), (3, 20)];
    let mut order = [0, 1, 2, 3, 4];
    let mut count = 0;
    permute(&mut order, 0, &mut |order| {
        let mut x = Setup::new().modern(2).established();
        for index in order {
            let (seq, len) = pieces[*index];
            x.peer(&format!("P. {seq}:{}({len}) ack 1", seq + len)).take_all();
        }
        x.reads(24).reads_nothing();
        x.skip_taking(ms(50));
        count += 1;
    });
    assert_eq!(count, 120);
}

fn permute(order: &mut [usize; 5], start: usize, visit: &mut impl FnMut(&[usize; 5])) {
    if start == order.len() {
        return visit(order);
    }
    for index in start..order.len() {
        order.swap(start, index);
        permute(order, start + 1, visit);
        order.swap(start, index);
    }
}

/// conformance: 9293-3.10.7.4-overlap-consistent
#[test]
fn random_slices_give_the_stream_they_were_cut_from() {
    for seed in 0..30 {
        let mut rng = Rng::from_seed(seed);
        let mut x = Setup::new().modern(2).established();
        let len = 5_000;
        let mut got = Vec::new();
        for _ in 0..400 {
            let at = 1 + rng.below(len) as i64;
            let part = (1 + rng.below(600) as i64).min(len as i64 + 1 - at);
            x.peer(&format!("P. {at}:{}({part}) ack 1", at + part)).take_all();
            if rng.chance(0.3) {
                got.extend(x.try_read(700).unwrap_or_default());
                x.take_all();
            }
        }
        let mut at = 1;
        while at <= len as i64 {
            x.peer(&format!("P. {at}:{}(500) ack 1", at + 500)).take_all();
            at += 500;
        }
        while let Ok(part) = x.try_read(10_000) {
            got.extend(part);
            x.take_all();
        }
        let expected: Vec<u8> = (1..=len as i64).map(pattern).collect();
        assert!(got == expected, "seed {seed}: {} octets", got.len());
        x.skip_taking(ms(50));
    }
}

/// conformance: 9293-3.10.7.4-ack-dup
#[test]
fn data_with_an_old_ack_is_taken() {
    let mut x = Exchange::established();
    x.write(b"abc").stack("P. 1:4(3) ack 1");
    x.peer(". 1:1(0) ack 4").quiet();
    x.peer("P. 1:6(5) ack 1").reads(5);
    x.after(ms(40)).stack(". 4:4(0) ack 6");
}

/// conformance: 9293-3.10.7.4-ack-advance
#[test]
fn a_partly_acked_segment_keeps_its_tail() {
    let mut x = Exchange::established();
    x.write_octets(1000).stack("P. 1:1001(1000) ack 1");
    x.peer(". 1:1(0) ack 401").quiet();
    x.until("P. 401:1001(600) ack 1");
}

/// conformance: 9293-3.4-seq-arith, 9293-3.4-ack-acceptable
#[test]
fn the_peers_numbers_may_wrap() {
    for isn in [u32::MAX, u32::MAX - 1, u32::MAX - 100, 0x7fff_ffff, 0x7fff_ff00] {
        let mut x = Setup::new().peer_isn(isn).modern(2).established();
        x.peer("P. 1:101(100) ack 1").reads(100);
        x.take_all();
        x.peer("P. 151:201(50) ack 1").take_all();
        x.peer("P. 101:151(50) ack 1").take_all();
        x.reads(100);
        x.peer("F. 201:201(0) ack 1").stack(". 1:1(0) ack 202");
        x.reads_end();
    }
}

/// Readiness comes with the data, once, and again when more comes.
#[test]
fn readiness_has_edges() {
    let mut x = Exchange::established();
    let id = x.id();
    x.events.clear();
    x.peer("P. 1:11(10) ack 1");
    assert!(x.events.contains(&(id, Readiness::READABLE)), "{:?}", x.events);
    x.events.clear();
    x.reads(10);
    assert!(!x.ready().contains(Readiness::READABLE));
    x.peer("P. 11:21(10) ack 1").ignore();
    assert!(x.events.iter().any(|(s, r)| *s == id && r.contains(Readiness::READABLE)));
}

/// Data in order below the low-water mark is not yet readable.
#[test]
fn the_low_water_mark_holds_readiness_back() {
    let mut x = Exchange::established();
    x.set(Opt::RcvLowat(100));
    x.peer("P. 1:51(50) ack 1");
    assert!(!x.ready().contains(Readiness::READABLE));
    x.peer("P. 51:111(60) ack 1").skip(secs(1));
    assert!(x.ready().contains(Readiness::READABLE));
}

/// conformance: 9293-3.10.3-estab
#[test]
fn a_read_crosses_the_borders_of_segments() {
    let mut x = Exchange::established();
    for (seq, len) in [(1, 3), (4, 100), (104, 1), (105, 50)] {
        x.peer(&format!("P. {seq}:{}({len}) ack 1", seq + len)).take_all();
    }
    assert_eq!(x.try_read(1000).map(|data| data.len()), Ok(154));
    x.skip_taking(ms(50));
}
