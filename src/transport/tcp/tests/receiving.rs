//! Receiving: acknowledgments, SACK, windows, urgent data.

use super::script::{PeerSyn, Script};
use super::{Sent, ms};
use crate::base::{Duration, Errno, MsgFlags, Readiness};

fn text(len: usize) -> String {
    "t".repeat(len)
}

/// conformance: 9293-SHLD-18, 9293-MUST-40, 5681-4.2-delack, 9293-3.10.3-ack-on-take
#[test]
fn one_segment_waits_for_the_delayed_ack() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.peer("P.", 1, 1, "abc");
    x.expect(&[]);
    x.after(ms(40), &[". 1:1(0) ack 4"]);
    assert_eq!(x.end.counters.tcp_ext_delayed_acks, 1);
}

/// conformance: 9293-SHLD-19, 9293-MUST-58, 9293-MUST-59, 5681-4.2-one-ack
#[test]
fn a_batch_of_segments_gets_one_ack() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    for i in 0..10 {
        x.peer(".", 1 + i * 1000, 1, &text(1000));
    }
    x.expect(&[". 1:1(0) ack 10001"]);
}

/// conformance: 9293-SHLD-19
#[test]
fn a_super_segment_counts_as_what_it_was_cut_from() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    let train =
        |x: &Script, seq, octets| Sent { segment_size: 1000, ..x.segment(".", seq, 1, &text(octets)) };
    let first = train(&x, 1, 10_000);
    x.inject(&first);
    x.expect(&[". 1:1(0) ack 10001"]);
    assert_eq!(x.end.conn().info(x.now).data_segs_in, 10);
    // No more than two full segments are ever owed an acknowledgment, however large the pieces that came before.
    x.peer(".", 10_001, 1, &text(1000));
    x.expect(&[]);
    x.peer(".", 11_001, 1, &text(1000));
    x.expect(&[". 1:1(0) ack 12001"]);
    let short = train(&x, 12_001, 1500);
    x.inject(&short);
    x.expect(&[]);
    x.after(ms(40), &[". 1:1(0) ack 13501"]);
    assert_eq!(x.end.conn().info(x.now).data_segs_in, 14);
}

/// conformance: 9293-3.10.7.4-text-piggyback
#[test]
fn an_answer_carries_the_ack() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.peer("P.", 1, 1, "request");
    x.send(b"answer").expect("room");
    x.expect(&["P. 1:7(6) ack 8"]);
    x.quiet_for(ms(100));
}

/// conformance: 2018-4-when, 2018-4-dup-each, 2018-3-format, 5681-3.2-dup-ooo, 5681-4.2-ooo-now, 9293-MAY-13, 5681-3.2-gap-fill
#[test]
fn segments_out_of_order_are_acknowledged_one_by_one() {
    let mut x = Script::new(PeerSyn::SACK).established();
    x.peer(".", 201, 1, &text(100));
    x.expect(&[". 1:1(0) ack 1 sack 201:301"]);
    x.peer(".", 401, 1, &text(100));
    x.peer(".", 601, 1, &text(100));
    // Each leads with the block of its own segment.
    x.expect(&[". 1:1(0) ack 1 sack 401:501 601:701 201:301", ". 1:1(0) ack 1 sack 601:701 401:501 201:301"]);
    x.peer(".", 1, 1, &text(200));
    x.expect(&[". 1:1(0) ack 301 sack 601:701 401:501"]);
    x.peer(".", 301, 1, &text(100));
    x.peer(".", 501, 1, &text(100));
    x.expect(&[". 1:1(0) ack 701"]);
}

/// conformance: 2018-4-not-permitted
#[test]
fn without_permission_duplicates_are_bare() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    for i in 1..4 {
        x.peer(".", 1 + i * 1000, 1, &text(1000));
    }
    x.expect(&[". 1:1(0) ack 1 win 65535", ". 1:1(0) ack 1 win 65535", ". 1:1(0) ack 1 win 65535"]);
    x.peer(".", 1, 1, &text(1000));
    x.expect(&[". 1:1(0) ack 4001"]);
}

/// In one batch, what was out of order at first needs no duplicates any more.
#[test]
fn a_gap_filled_within_a_batch_makes_no_duplicates() {
    let mut x = Script::new(PeerSyn::SACK).established();
    for i in [1, 2, 3, 0] {
        x.peer(".", 1 + i * 1000, 1, &text(1000));
    }
    x.expect(&[". 1:1(0) ack 4001"]);
}

/// conformance: 2883-4-first, 2883-4.1-below, 2883-4.2-within, 2883-4-partial
#[test]
fn duplicates_are_reported_once_and_in_front() {
    let mut x = Script::new(PeerSyn::SACK).established();
    x.peer(".", 1, 1, &text(1000));
    x.peer(".", 1, 1, &text(1000));
    x.expect(&[". 1:1(0) ack 1001 sack 1:1001"]);
    x.peer(".", 2001, 1, &text(1000));
    x.expect(&[". 1:1(0) ack 1001 sack 2001:3001"]);
    x.peer(".", 2501, 1, &text(1000));
    x.expect(&[". 1:1(0) ack 1001 sack 2501:3001 2001:3501"]);
    x.peer(".", 501, 1, &text(1000));
    x.expect(&[". 1:1(0) ack 1501 sack 501:1001 2001:3501"]);
    x.peer(".", 5001, 1, "");
    assert!(x.out().is_empty());
    let counters = &x.end.counters;
    assert_eq!((counters.tcp_ext_dsack_old_sent, counters.tcp_ext_dsack_ofo_sent), (2, 1));
}

/// conformance: 9293-3.10.7.4-ack-dup
#[test]
fn text_with_an_old_ack_is_taken() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.send(b"abc").expect("room");
    x.out();
    x.peer(".", 1, 4, "");
    x.peer("P.", 1, 1, "old ack");
    assert_eq!(x.recv(100), Ok("old ack".into()));
    assert_eq!(x.end.conn().bytes_unacked(), 0);
}

/// conformance: 7323-4.3-recent, 7323-4.3-echo
#[test]
fn the_echoed_timestamp_is_that_of_the_earliest_unacknowledged_segment() {
    let mut x = Script::new(PeerSyn::FULL).established();
    let first = x.peer_clock();
    x.peer(".", 1, 1, &text(400));
    x.now += ms(10);
    x.peer(".", 401, 1, &text(900));
    x.peer(".", 1301, 1, &text(700));
    let sent = x.sent();
    assert_eq!(sent[0].options.timestamps.expect("in use").echo, first, "delayed: the earlier one");
    x.now += ms(10);
    let last_in_order = first + 10;
    x.peer(".", 2501, 1, &text(900));
    let sent = x.sent();
    let echo = sent[0].options.timestamps.expect("in use").echo;
    assert!(echo == first || echo == last_in_order, "a gap: the last in order");
    x.now += ms(10);
    let filler = x.peer_clock();
    x.peer(".", 2001, 1, &text(500));
    let sent = x.sent();
    assert_eq!(sent[0].options.timestamps.expect("in use").echo, filler, "a gap filled: the filler");
}

/// conformance: 9293-MUST-39, 9293-SHLD-14, 9293-3.10.7.4-text-partial
#[test]
fn the_window_closes_and_opens_by_whole_segments() {
    let mut x = Script::new(PeerSyn::PLAIN);
    x.settings.rcv_buf = 4380;
    x = x.established();
    x.peer(".", 1, 1, &text(2000));
    x.peer(".", 2001, 1, &text(3000));
    x.expect(&[". 1:1(0) ack 4381 win 0"]);
    for _ in 0..1459 {
        x.recv(1).expect("data");
        x.expect(&[]);
    }
    x.recv(1).expect("data");
    x.expect(&[". 1:1(0) ack 4381 win 1460"]);
    x.recv(10).expect("data");
    x.expect(&[]);
    x.peer(".", 4381, 1, &text(460));
    x.wait(ms(100));
    x.expect(&[". 1:1(0) ack 4841 win 1000"]);
}

#[test]
fn reading_tells_readiness_and_counts() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.wakes();
    assert_eq!(x.recv(10), Err(Errno::EAGAIN));
    x.peer("P.", 1, 1, "abcdef");
    assert_eq!((x.wakes(), x.end.conn().bytes_readable()), (Readiness::READABLE, 6));
    assert_eq!(x.recv_flags(3, MsgFlags::PEEK), Ok("abc".into()));
    assert_eq!(x.recv_flags(3, MsgFlags::TRUNC).map(|read| read.len()), Ok(3));
    assert_eq!(x.recv(10), Ok("def".into()));
    assert_eq!(x.ready(), Readiness::WRITABLE);
    x.set(|settings| settings.rcv_lowat = 4);
    x.peer("P.", 7, 1, "ghi");
    assert_eq!((x.wakes(), x.ready()), (Readiness::empty(), Readiness::WRITABLE));
    x.peer("P.", 10, 1, "j");
    assert_eq!(x.wakes(), Readiness::READABLE);
    x.peer("P.", 11, 1, "k");
    assert_eq!(x.wakes(), Readiness::READABLE, "more data is an edge again");
}

#[test]
fn after_shut_read_data_is_still_taken() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.wakes();
    x.end.call(x.now, |conn, env| conn.shutdown(env, true, false)).expect("connected");
    assert_eq!(x.wakes(), Readiness::READABLE | Readiness::READ_HANGUP);
    assert_eq!(x.recv(10), Ok(String::new()));
    x.peer("P.", 1, 1, "late");
    x.after(ms(40), &[". 1:1(0) ack 5"]);
    assert_eq!((x.recv(10), x.recv(10)), (Ok("late".into()), Ok(String::new())));
}

/// conformance: 9293-MUST-32, 9293-MUST-33, 9293-3.10.7.4-urg, 9293-3.10.3-urgent
#[test]
fn the_urgent_octet_is_out_of_line_by_default() {
    let mut x = Script::new(PeerSyn::PLAIN).established();
    x.wakes();
    let mut segment = x.segment("PU.", 1, 1, "abXcd");
    segment.urgent = 3;
    x.inject(&segment);
    assert_eq!(x.wakes(), Readiness::READABLE | Readiness::PRIORITY);
    assert!(x.ready().contains(Readiness::PRIORITY));
    assert_eq!((x.end.conn().at_mark(), x.recv(10)), (false, Ok("ab".into())));
    assert!(x.end.conn().at_mark());
    assert_eq!(x.recv_flags(1, MsgFlags::OOB), Ok("X".into()));
    assert_eq!(x.recv_flags(1, MsgFlags::OOB), Err(Errno::EINVAL));
    assert!(!x.ready().contains(Readiness::PRIORITY));
    assert_eq!((x.recv(10), x.end.conn().at_mark()), (Ok("cd".into()), false));
    // The same mark again tells nothing, a later one does.
    x.inject(&segment);
    x.out();
    assert_eq!(x.wakes(), Readiness::empty());
    let mut segment = x.segment("PU.", 6, 1, "ef");
    segment.urgent = 100;
    x.inject(&segment);
    assert_eq!(x.wakes(), Readiness::READABLE | Readiness::PRIORITY);
    assert_eq!(x.recv_flags(1, MsgFlags::OOB), Err(Errno::EAGAIN), "announced, not yet here");
}

/// conformance: 6093-5-inline, 6093-3.2-no-oob, 6093-3.4-middlebox, 9293-3.10.7.4-urg-late
#[test]
fn in_line_urgent_data_stays_in_the_stream() {
    let mut x = Script::new(PeerSyn::PLAIN);
    x.settings.oob_inline = true;
    x = x.established();
    let mut segment = x.segment("PU.", 1, 1, "abc");
    segment.urgent = 3;
    x.inject(&segment);
    assert_eq!((x.recv(10), x.recv(10)), (Ok("ab".into()), Ok("c".into())));
    let segment = x.segment("PU.", 4, 1, "def");
    x.inject(&segment);
    assert_eq!(x.recv(10), Ok("def".into()), "a zero pointer marks nothing");
    x.peer("F.", 7, 1, "");
    x.wakes();
    let mut segment = x.segment("U.", 8, 1, "");
    segment.urgent = 9;
    x.inject(&segment);
    assert_eq!(x.wakes(), Readiness::empty());
}

/// conformance: 9293-3.10.7.4-overlap-consistent
#[test]
fn any_permutation_of_overlapping_segments_gives_the_text() {
    let whole = "abcdefghijkl";
    let parts = [(0, 4), (2, 7), (6, 9), (8, 12), (1, 11)];
    let mut order = [0, 1, 2, 3, 4];
    let mut count = 0;
    permute(&mut order, 0, &mut |order| {
        let mut x = Script::new(PeerSyn::SACK).established();
        for i in order {
            let (from, to) = parts[*i];
            x.peer(".", 1 + from as u32, 1, &whole[from..to]);
            x.out();
        }
        x.peer(".", 1 + 11, 1, "l");
        assert_eq!(x.recv(50), Ok(whole.into()), "{order:?}");
        count += 1;
    });
    assert_eq!(count, 120);
}

fn permute(order: &mut [usize; 5], from: usize, f: &mut impl FnMut(&[usize; 5])) {
    if from == order.len() {
        return f(order);
    }
    for i in from..order.len() {
        order.swap(from, i);
        permute(order, from + 1, f);
        order.swap(from, i);
    }
}

/// A peer that leaves a gap after every octet cannot make us hold more than the buffer justifies.
#[test]
fn gaps_are_bounded() {
    let mut x = Script::new(PeerSyn::SACK).established();
    for i in 0..30_000 {
        x.peer(".", 2 + i * 2, 1, "z");
        if i % 1000 == 0 {
            x.out();
        }
    }
    x.out();
    let memory = x.end.conn().memory_octets();
    assert!(memory < 200_000, "{memory}");
    assert!(x.end.counters.tcp_ext_ofo_drop > 29_000);
    x.wait(Duration::from_secs(1));
}
