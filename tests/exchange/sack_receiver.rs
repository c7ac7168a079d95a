//! Selective acknowledgment, the receiver (RFC 2018 §2 to §4) and D-SACK (RFC 2883 §4).

use super::common::exchange::Setup;
use super::common::packet::TcpOption;
use super::common::{Exchange, ms};
use tunstack::host::Opt;

/// Established with SACK and without timestamps: four blocks fit.
fn sacked() -> Exchange {
    Setup::new().quick().syn_options("mss 1460,nop,nop,sackOK").established()
}

/// The segment number `n` of 100 octets, counted from 1.
fn segment(n: i64) -> String {
    format!(". {}:{}(100) ack 1", 100 * n - 99, 100 * n + 1)
}

/// `segment(n)` arrives and this is answered at once.
#[track_caller]
fn answered(x: &mut Exchange, n: i64, ack: i64, sack: &str) {
    x.peer(&segment(n));
    let options = if sack.is_empty() { "<>".into() } else { format!("<nop,nop,sack {sack}>") };
    x.stack(&format!(". 1:1(0) ack {ack} {options}"));
}

/// conformance: 2018-2-permitted-syn
#[test]
fn sack_permitted_goes_only_with_syns_that_may_have_it() {
    let offered = |x: &mut Exchange| {
        let syn = x.next();
        syn.tcp().expect("a SYN-ACK").walk().expect("legal").contains(&TcpOption::SackOk)
    };
    let mut x = Exchange::listening();
    x.peer("S 0:0(0) <mss 1460,nop,nop,sackOK>");
    assert!(offered(&mut x));
    let mut x = Exchange::listening();
    x.peer("S 0:0(0) <mss 1460>");
    assert!(!offered(&mut x));
    let mut x = Setup::new().config(|c| c.tcp_sack = false).listening();
    x.peer("S 0:0(0) <mss 1460,nop,nop,sackOK>");
    assert!(!offered(&mut x));
    // And none on what follows.
    let mut x = sacked();
    x.write(b"data");
    x.stack("P. 1:5(4) ack 1 <>");
    x.peer("P. 1:11(10) ack 5");
    x.stack(". 5:5(0) ack 11 <>");
    x.reads(10).close();
    x.stack("F. 5:5(0) ack 11 <>");
}

/// conformance: 2018-3-format
#[test]
fn a_block_has_its_left_edge_and_the_edge_after_its_end() {
    let mut x = sacked();
    x.peer(&segment(3));
    let ack = x.stack(". 1:1(0) ack 1");
    let (irs, _) = x.initial_numbers();
    let mut octets = vec![1, 1, 5, 10];
    octets.extend(irs.wrapping_add(201).to_be_bytes());
    octets.extend(irs.wrapping_add(301).to_be_bytes());
    assert_eq!(ack.options, octets);
}

/// conformance: 2018-3-format
#[test]
fn four_blocks_fit_and_three_beside_timestamps() {
    let mut x = sacked();
    [2, 4, 6, 8].iter().for_each(|n| {
        x.peer(&segment(*n));
        x.ignore();
    });
    answered(&mut x, 10, 1, "901:1001 701:801 501:601 301:401");
    let mut x = Setup::new().modern(7).established();
    [2, 4, 6, 8].iter().for_each(|n| {
        x.peer(&segment(*n));
        x.ignore();
    });
    x.peer(&segment(10));
    x.stack(". 1:1(0) ack 1 <nop,nop,TS val * ecr *,nop,nop,sack 901:1001 701:801 501:601>");
}

/// Options whose length is impossible are skipped with the rest of the list; the segment counts.
///
/// conformance: 2018-3-format
#[test]
fn sack_options_of_impossible_length_are_ignored() {
    for bad in ["050b", "0502", "0509000000010000", "05ff0000"] {
        let mut x = sacked();
        x.write(b"data");
        x.stack("P. 1:5(4) ack 1");
        x.peer(&format!("P. 1:11(10) ack 5 <raw {bad}>"));
        x.stack(". 5:5(0) ack 11 <>");
        assert_eq!(x.info().unacked, 0, "option {bad}");
        x.reads(10);
    }
}

/// conformance: 2018-4-when
#[test]
fn every_ack_below_the_highest_octet_has_blocks() {
    let mut x = sacked();
    answered(&mut x, 3, 1, "201:301");
    answered(&mut x, 1, 101, "201:301");
    // With data of our own, and on a window update's or a timer's account alike.
    x.write(b"data");
    x.stack("P. 1:5(4) ack 101 <nop,nop,sack 201:301>");
    x.peer("P. 501:511(10) ack 5");
    x.stack(". 5:5(0) ack 101 <nop,nop,sack 501:511 201:301>");
    x.peer(". 101:201(100) ack 5");
    x.stack(". 5:5(0) ack 301 <nop,nop,sack 501:511>");
    x.peer(". 301:501(200) ack 5");
    x.stack(". 5:5(0) ack 511 <>");
}

/// conformance: 2018-4-not-permitted
#[test]
fn without_permission_there_are_no_blocks() {
    let mut x = Exchange::established();
    answered(&mut x, 3, 1, "");
    answered(&mut x, 3, 1, "");
    answered(&mut x, 1, 101, "");
    let mut x = Setup::new().syn_options("mss 1460,sackOK").config(|c| c.tcp_sack = false).established();
    answered(&mut x, 3, 1, "");
}

/// conformance: 2018-4-first-block, 2018-4-many
#[test]
fn the_block_of_the_arriving_segment_leads_and_the_latest_follow() {
    let mut x = sacked();
    answered(&mut x, 3, 1, "201:301");
    answered(&mut x, 7, 1, "601:701 201:301");
    answered(&mut x, 5, 1, "401:501 601:701 201:301");
    // An old block grows: it leads, whole.
    answered(&mut x, 8, 1, "601:801 401:501 201:301");
    // Two blocks become one.
    answered(&mut x, 4, 1, "201:501 601:801");
    answered(&mut x, 1, 101, "201:501 601:801");
    answered(&mut x, 2, 501, "601:801");
    answered(&mut x, 6, 801, "");
    x.reads(800);
}

/// conformance: 2018-4-many
#[test]
fn of_more_blocks_than_fit_the_latest_are_reported() {
    let mut x = Setup::new().modern(7).established();
    let expected = [
        (3, "201:301"),
        (5, "401:501 201:301"),
        (7, "601:701 401:501 201:301"),
        (9, "801:901 601:701 401:501"),
        (3, ""),
    ];
    for (n, blocks) in &expected[..4] {
        x.peer(&segment(*n));
        x.stack(&format!(". 1:1(0) ack 1 <nop,nop,TS val * ecr *,nop,nop,sack {blocks}>"));
    }
}

/// conformance: 2018-4-dup-each, 5681-3.2-dup-ooo, 5681-4.2-ooo-now
#[test]
fn each_segment_above_a_gap_is_acked_at_once() {
    for mut x in [sacked(), Exchange::established()] {
        x.set(Opt::QuickAck(false));
        for n in [3, 4, 5] {
            x.peer(&segment(n));
            x.stack(". 1:1(0) ack 1");
        }
        // Also if they arrive in one read of the device.
        x.peers(&[&segment(6), &segment(7), &segment(8)]);
        x.stack(". 1:1(0) ack 1");
        x.stack(". 1:1(0) ack 1");
        x.stack(". 1:1(0) ack 1");
        x.quiet_for(ms(500));
    }
}

/// conformance: 5681-3.2-gap-fill
#[test]
fn a_segment_that_fills_a_gap_or_a_part_of_it_is_acked_at_once() {
    for mut x in [sacked(), Exchange::established()] {
        x.set(Opt::QuickAck(false));
        x.peer(&segment(4));
        x.stack(". 1:1(0) ack 1");
        x.peer(". 1:51(50) ack 1");
        x.stack(". 1:1(0) ack 51");
        x.peer(". 101:151(50) ack 1");
        x.stack(". 1:1(0) ack 51");
        x.peer(". 51:301(250) ack 1");
        x.stack(". 1:1(0) ack 401");
        // Not by the grace of a few acknowledgments that go at once after a loss.
        x.peer(". 1001:1101(100) ack 1");
        x.stack(". 1:1(0) ack 401");
        for n in 0..20 {
            x.peer(&format!(". {}:{}(10) ack 1", 401 + 10 * n, 411 + 10 * n));
            x.stack(&format!(". 1:1(0) ack {}", 411 + 10 * n));
        }
        x.peer(". 601:1001(400) ack 1");
        x.stack(". 1:1(0) ack 1101");
    }
}

/// What was reported is kept: a small buffer full of out-of-order data gives it all up to the user in the end.
///
/// conformance: 2018-8-renege-first
#[test]
fn under_pressure_the_newest_segment_leads_and_nothing_reported_is_lost() {
    let mut x = Setup::new().syn_options("mss 1460,sackOK").option(Opt::RcvBuf(4096)).established();
    let window = i64::from(x.info().rcv_wnd);
    let last = (window - 1) / 100;
    for n in (2..=last).rev() {
        x.peer(&segment(n));
        x.stack(&format!(". 1:1(0) ack 1 <nop,nop,sack {}:{}>", 100 * n - 99, 100 * last + 1));
    }
    // Beyond the window: not taken, and not reported.
    x.peer(&segment(last + 50));
    x.stack(". 1:1(0) ack 1");
    x.peer(&segment(1));
    x.stack(&format!(". 1:1(0) ack {} <>", 100 * last + 1));
    x.reads(100 * last as usize).ignore();
}

/// conformance: 2883-4-first, 2883-4.1-below
#[test]
fn a_segment_below_the_ack_is_reported_once() {
    let mut x = sacked();
    x.peers(&[&segment(1), &segment(2)]);
    x.stack(". 1:1(0) ack 201 <>");
    answered(&mut x, 1, 201, "1:101");
    assert_eq!(x.counter("TcpExtTCPDSACKOldSent"), 1);
    // The next ACK knows nothing of it.
    x.peers(&[&segment(3), &segment(4)]);
    x.stack(". 1:1(0) ack 401 <>");
}

/// conformance: 2883-4-first, 2883-4.1-below
#[test]
fn a_duplicate_below_the_ack_precedes_the_blocks_above() {
    let mut x = sacked();
    answered(&mut x, 1, 101, "");
    answered(&mut x, 4, 101, "301:401");
    answered(&mut x, 1, 101, "1:101 301:401");
    answered(&mut x, 6, 101, "501:601 301:401");
}

/// conformance: 2883-4.2-within
#[test]
fn a_duplicate_out_of_order_precedes_the_block_that_holds_it() {
    let mut x = sacked();
    for n in [3, 4, 5, 8] {
        x.peer(&segment(n));
        x.ignore();
    }
    answered(&mut x, 4, 1, "301:401 201:501 701:801");
    assert_eq!(x.counter("TcpExtTCPDSACKOfoSent"), 1);
    answered(&mut x, 10, 1, "901:1001 201:501 701:801");
}

/// conformance: 2883-4-partial
#[test]
fn of_a_segment_half_new_only_the_old_half_is_reported() {
    let mut x = sacked();
    x.peer(". 1:1001(1000) ack 1");
    x.stack(". 1:1(0) ack 1001");
    x.peer(". 501:1501(1000) ack 1");
    x.stack(". 1:1(0) ack 1501 <nop,nop,sack 501:1001>");
    // Out of order.
    x.peer(". 3001:4001(1000) ack 1");
    x.stack(". 1:1(0) ack 1501 <nop,nop,sack 3001:4001>");
    x.peer(". 3501:4501(1000) ack 1");
    x.stack(". 1:1(0) ack 1501 <nop,nop,sack 3501:4001 3001:4501>");
    x.peer(". 1501:3001(1500) ack 1");
    x.stack(". 1:1(0) ack 4501 <>");
    x.reads(4500);
}

/// Whatever the order and the overlaps, each octet is delivered once: all orders of five overlapping segments.
#[test]
fn all_orders_of_overlapping_segments_give_the_stream() {
    let pieces = [(1, 120), (60, 260), (201, 301), (250, 401), (380, 501)];
    for order in permutations(pieces.len()) {
        let mut x = sacked();
        for index in &order {
            let (from, to) = pieces[*index];
            x.peer(&format!(". {from}:{to}({}) ack 1", to - from));
            x.ignore();
        }
        x.reads(500);
        x.reads_nothing();
    }
}

/// All orders of the numbers below `n`.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(n - 1);
    (0..n)
        .flat_map(|at| {
            shorter.iter().map(move |order| {
                let mut order = order.clone();
                order.insert(at, n - 1);
                order
            })
        })
        .collect()
}
