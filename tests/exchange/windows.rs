//! Windows of both sides: scaling, silly windows, zero windows and their probes, shrinking (RFC 9293 §3.8.6, RFC 7323 §2).

use crate::common::exchange::{Exchange, Setup};
use crate::common::{Errno, ms, secs};
use tunstack::base::Duration;
use tunstack::host::Opt;

/// conformance: 9293-MUST-1
#[test]
fn a_window_above_32767_is_unsigned() {
    for window in [0xffff, 0x8000] {
        let mut x = Setup::new().window(window).config(|config| config.tcp_init_cwnd = 64).established();
        x.write_octets(100_000);
        let sent = x.octets_sent();
        assert!(sent + 1460 > u64::from(window), "{sent}: all that the window allows in full segments");
    }
}

/// conformance: 9293-REC-1, 7323-2.3-in, 7323-2.3-both
#[test]
fn a_scaled_window_goes_beyond_64_kib() {
    let setup = Setup::new().modern(14).config(|config| config.tcp_init_cwnd = 64);
    let mut x = setup.established();
    assert_eq!(x.info().snd_wnd, 0xffff << 14);
    x.write_octets(200_000);
    assert_eq!(x.octets_sent(), 64 * 1448, "cwnd alone is the limit");
}

/// conformance: 7323-2.3-in
#[test]
fn the_window_of_an_ack_is_scaled() {
    let setup = Setup::new().modern(7).config(|config| config.tcp_init_cwnd = 64).window(500);
    let mut x = setup.established();
    x.write_octets(100_000);
    let sent = x.octets_sent();
    assert!(sent + 1448 > 500 << 7 && sent <= 500 << 7, "{sent}");
}

/// conformance: 7323-2.2-syn-unscaled
#[test]
fn the_window_of_a_syn_is_not_scaled() {
    let mut x = Setup::new().config(|config| config.tcp_init_cwnd = 64).connecting();
    x.peer("S. 0:0(0) ack 1 win 1000 <mss 1460,nop,wscale 7>").stack(". 1:1(0) ack 1");
    x.write_octets(5000);
    assert_eq!(x.octets_sent(), 1000);
}

/// conformance: 7323-2.3-both, 7323-2.2-syn-only
#[test]
fn scaling_by_one_side_alone_is_none() {
    let mut x = Setup::new().config(|config| config.tcp_window_scaling = false).listening();
    x.peer("S 0:0(0) win 1000 <mss 1460,nop,wscale 7>").stack("S. 0:0(0) ack 1 <mss 1460>");
    x.peer(". 1:1(0) ack 1 win 1000").accept();
    assert_eq!(x.info().snd_wnd, 1000);
    let mut x = Exchange::connected();
    x.peer(". 1:1(0) ack 1 win 1000").quiet();
    assert_eq!(x.info().snd_wnd, 1000);
    // Ours is unscaled too: what we advertised fits 16 bits and means itself.
    assert!(x.edge.is_some_and(|edge| edge > 20_000 && edge <= 65_536));
}

/// conformance: 7323-2.3-max14
#[test]
fn a_scale_beyond_14_counts_as_14() {
    for scale in [14, 15, 255] {
        let mut x = Setup::new().syn_options(&format!("mss 1460,nop,wscale {scale}")).established();
        assert_eq!(x.info().snd_wnd, 0xffff << 14, "wscale {scale}");
        x.peer(". 1:1(0) ack 1 win 1").quiet();
        assert_eq!(x.info().snd_wnd, 1 << 14);
    }
}

/// conformance: 7323-2.3-out
#[test]
fn our_window_is_shifted_by_our_scale() {
    let setup = Setup::new().modern(0).option(Opt::RcvBuf(1 << 20));
    let mut x = setup.established();
    let scale = u32::from(x.info().rcv_wscale);
    assert!(scale > 0);
    x.peer("P. 1:2(1) ack 1").pass(ms(40));
    let tcp = x.stack(". 1:1(0) ack 2");
    let window = u32::from(tcp.window) << scale;
    assert_eq!(window, x.info().rcv_wnd >> scale << scale);
    assert!(window > 0xffff / 2);
}

/// conformance: 9293-3.10.7.4-wnd-update
#[test]
fn the_newest_segment_alone_changes_the_send_window() {
    let mut x = Exchange::established();
    x.peer("P. 1:11(10) ack 1 win 5000").reads(10);
    x.ignore();
    assert_eq!(x.info().snd_wnd, 5000);
    x.peer(". 11:11(0) ack 1 win 6000");
    assert_eq!(x.info().snd_wnd, 6000, "same numbers: an update");
    // Two segments that overtook each other: the older one says nothing new.
    x.peer("P. 111:121(10) ack 1 win 7000").ignore();
    assert_eq!(x.info().snd_wnd, 7000);
    x.peer("P. 61:71(10) ack 1 win 77").ignore();
    assert_eq!(x.info().snd_wnd, 7000, "it was sent before");
}

/// Segments that overtook each other: the acknowledgment moves on with one that is older than the last window, which must not
/// carry that window's edge beyond what was ever offered.
#[test]
fn an_old_window_does_not_ride_on_a_new_ack() {
    let mut x = Exchange::established();
    x.write_octets(10_000).take_all();
    x.peer("P. 11:21(10) ack 1 win 9000").take_all();
    // Sent earlier, and it acknowledges more.
    x.peer(". 1:1(0) ack 5001 win 4000").take_all();
    x.write_octets(5_000);
    assert!(
        x.info().snd_wnd == 4000 && x.octets_sent() == 0,
        "the peer's window ends at 9001, 10000 are out"
    );
}

/// conformance: 9293-MUST-34, 9293-SHLD-15, 9293-SHLD-16, 9293-MAY-7
#[test]
fn a_shrunken_window_stops_new_data_and_not_retransmissions() {
    let mut x = Exchange::established();
    x.write_octets(2920);
    x.stack(". 1:1461(1460) ack 1");
    x.stack("P. 1461:2921(1460) ack 1");
    x.peer(". 1:1(0) ack 1 win 1460").quiet();
    x.write_octets(1460).quiet();
    x.until(". 1:1461(1460) ack 1");
    // What was sent before may be sent again beyond the edge (MAY-7), what is new may not.
    x.peer(". 1:1(0) ack 1461 win 0").take_all();
    x.peer(". 1:1(0) ack 2921 win 0").take_all();
    assert_eq!(x.stack_nxt(), 2921);
    x.peer(". 1:1(0) ack 2921 win 5000").stack("P. 2921:4381(1460) ack 1");
}

/// conformance: 9293-SHLD-17, 9293-MUST-35, 9293-MUST-37
#[test]
fn a_window_that_shrank_to_zero_is_probed_for_as_long_as_it_takes() {
    let mut x = Setup::new().config(|config| config.tcp_retries2 = 5).established();
    x.write_octets(2920);
    x.stack(". 1:1461(1460) ack 1");
    x.stack("P. 1461:2921(1460) ack 1");
    x.peer(". 1:1(0) ack 1 win 0").quiet();
    let end = x.now + secs(24 * 3600);
    while x.now < end {
        x.until_anything();
        x.ignore().peer(". 1:1(0) ack 1 win 0").ignore();
    }
    x.state_is("ESTABLISHED").ignore();
    x.peer(". 1:1(0) ack 1 win 5000");
    x.skip(secs(200)).peer(". 1:1(0) ack 2921 win 5000").state_is("ESTABLISHED");
    x.write(b"on").stack("P. 2921:2923(2) ack 1");
}

/// conformance: 9293-MUST-36, 9293-SHLD-29, 9293-SHLD-30
#[test]
fn a_zero_window_is_probed_after_one_rto_and_then_less_often() {
    let mut x = Exchange::established();
    x.write(b"abcd").stack("P. 1:5(4) ack 1");
    x.peer(". 1:1(0) ack 5 win 0");
    x.write(b"e");
    let rto = x.rto();
    x.quiet_for(rto.saturating_sub(ms(1)));
    let first = x.until_anything() + rto.saturating_sub(ms(1));
    assert!(first <= rto + ms(1), "first probe after {first}, RTO {rto}");
    // Linux probes with an octet that was acknowledged already; one octet beyond the edge is as good.
    let probe = x.next().tcp().cloned().expect("TCP");
    assert!(probe.payload.len() <= 1);
    x.peer(". 1:1(0) ack 5 win 0");
    let mut gap = first;
    for _ in 0..6 {
        let next = x.until_anything();
        assert!(next + ms(1) >= gap.mul(2) && next <= gap.mul(2) + ms(10), "{next} after {gap}");
        x.ignore().peer(". 1:1(0) ack 5 win 0");
        gap = next;
    }
}

/// A window update may be lost: the answer to the next probe brings it.
#[test]
fn a_lost_window_update_is_healed_by_the_probe() {
    let mut x = Exchange::established();
    x.write(b"abcd").stack("P. 1:5(4) ack 1");
    x.peer(". 1:1(0) ack 5 win 0");
    x.write(b"efgh").quiet();
    x.until_anything();
    x.ignore().peer(". 1:1(0) ack 5 win 4000").stack("P. 5:9(4) ack 1");
}

/// conformance: 9293-MUST-37
#[test]
fn a_probed_connection_lives_for_a_day_and_then_goes_on() {
    let mut x = Exchange::established();
    x.peer(". 1:1(0) ack 1 win 0").write(b"abcd");
    let end = x.now + secs(24 * 3600);
    let mut longest = Duration::ZERO;
    while x.now < end {
        longest = longest.max(x.until_anything());
        x.ignore().peer(". 1:1(0) ack 1 win 0");
    }
    assert!(longest <= secs(121), "probes are at most two minutes apart, not {longest}");
    x.ignore().peer(". 1:1(0) ack 1 win 9000").stack("P. 1:5(4) ack 1");
}

/// A peer that answers no probe is gone.
#[test]
fn unanswered_probes_end_in_a_timeout() {
    let mut x = Setup::new().config(|config| config.tcp_retries2 = 4).established();
    x.peer(". 1:1(0) ack 1 win 0").write(b"abcd");
    x.skip(secs(600)).state_is("CLOSED");
    assert_eq!(x.error(), Some(Errno::ETIMEDOUT));
}

/// conformance: 9293-MUST-38
#[test]
fn a_sender_waits_for_more_than_a_silly_window() {
    let mut x = Exchange::established();
    x.peer(". 1:1(0) ack 1 win 0").write_octets(5000).quiet();
    x.peer(". 1:1(0) ack 1 win 10").quiet();
    x.peer(". 1:1(0) ack 1 win 1460").stack(". 1:1461(1460) ack 1");
    // The override timer: a window that stays silly is used in the end.
    let mut x = Exchange::established();
    x.peer(". 1:1(0) ack 1 win 0").write_octets(5000).quiet();
    x.peer(". 1:1(0) ack 1 win 10").quiet();
    let waited = x.until_anything();
    assert!(waited >= ms(100) && waited <= secs(1), "{waited}");
    x.stack(". 1:11(10) ack 1");
}

/// conformance: 9293-MUST-38
#[test]
fn half_of_the_largest_window_is_not_silly() {
    let mut x = Setup::new().window(1000).established();
    x.write_octets(400).stack("P. 1:401(400) ack 1");
    x.peer(". 1:1(0) ack 401 win 0").write_octets(3000).quiet();
    x.peer(". 1:1(0) ack 401 win 499").quiet();
    x.peer(". 1:1(0) ack 401 win 500").stack(". 401:901(500) ack 1");
}

/// conformance: 9293-MUST-39
#[test]
fn a_receiver_does_not_open_a_silly_window() {
    let mut x = Setup::new().option(Opt::RcvBuf(8192)).established();
    let filled = x.fill_window();
    let edge = x.edge.expect("advertised");
    let mut read = 0;
    loop {
        x.reads(1);
        read += 1;
        if let Some(packet) = x.try_next() {
            let tcp = packet.tcp().cloned().expect("TCP");
            let opened = i64::from(tcp.ack.wrapping_sub(x.isns_of_flow().1)) + i64::from(tcp.window) - edge;
            let least = 1460.min(filled / 2);
            assert!(opened >= least, "the window opens by {opened} after {read} octets");
            break;
        }
        assert!(read < filled, "the window never opens");
    }
}

/// conformance: 9293-SHLD-14
#[test]
fn our_right_edge_never_moves_left() {
    // The checker looks at every ACK; a slow reader with a small buffer gives it reason to.
    let mut x = Setup::new().option(Opt::RcvBuf(6000)).established();
    let mut seq = 1;
    for round in 0..200 {
        let room = x.edge.expect("advertised") - seq;
        let len = room.min(700);
        x.peer_sends(len.max(0));
        seq += len.max(0);
        x.take_all();
        if round % 3 == 0 {
            let _ = x.try_read(1000);
            x.take_all();
        }
        x.skip_taking(ms(50));
    }
    assert!(seq > 20_000);
}

/// conformance: 9293-MAY-8
#[test]
fn a_window_may_stay_closed_for_hours() {
    let mut x = Setup::new().option(Opt::RcvBuf(4096)).established();
    x.fill_window();
    let n = x.edge.expect("advertised");
    for _ in 0..200 {
        x.after(secs(60))
            .peer(&format!(". {}:{}(0) ack 1", n - 1, n - 1))
            .stack(&format!(". 1:1(0) ack {n} win 0"));
    }
    x.state_is("ESTABLISHED");
}

/// conformance: 9293-3.10.7.4-seq-accept-n-0
#[test]
fn a_closed_window_refuses_data_and_takes_its_ack() {
    let mut x = Setup::new().option(Opt::RcvBuf(4096)).established();
    x.write(b"abc").stack("P. 1:4(3) ack 1");
    x.fill_window();
    let n = x.edge.expect("advertised");
    x.peer(&format!("P. {n}:{}(1) ack 4", n + 1)).stack(&format!(". 4:4(0) ack {n} win 0"));
    assert_eq!(x.info().unacked, 0, "the ACK on the refused octet counts");
}

/// conformance: 9293-3.10.7.4-seq-accept-0-0
#[test]
fn a_closed_window_takes_an_empty_segment_at_its_edge_alone() {
    let mut x = Setup::new().option(Opt::RcvBuf(4096)).established();
    x.fill_window();
    let n = x.edge.expect("advertised");
    x.peer(&format!(". {n}:{n}(0) ack 1 win 777")).quiet();
    assert_eq!(x.info().snd_wnd, 777);
    x.peer(&format!(". {}:{}(0) ack 1 win 555", n + 1, n + 1)).stack(&format!(". 1:1(0) ack {n}"));
    assert_eq!(x.info().snd_wnd, 777);
}

/// conformance: 9293-3.10.7.4-seq-accept-0-w
#[test]
fn an_open_window_takes_empty_segments_up_to_its_edge() {
    for offset in [-2, -1, 0, 1] {
        for at_edge in [false, true] {
            let mut x = Exchange::established();
            x.write(b"abc").stack("P. 1:4(3) ack 1");
            // The edge itself is in it: there stand the acknowledgments of a peer that has filled the window.
            let (base, taken) =
                if at_edge { (x.edge.expect("advertised"), offset <= 0) } else { (1, offset >= 0) };
            let seq = base + offset;
            x.peer(&format!(". {seq}:{seq}(0) ack 4"));
            assert_eq!(x.info().unacked == 0, taken, "sequence {seq}");
            if !taken {
                x.stack(". 4:4(0) ack 1");
            }
        }
    }
}

/// conformance: 9293-3.10.7.4-text-partial, 9293-3.10.7.4-seq-accept-n-w, 9293-3.10.7.4-trim
#[test]
fn data_beyond_the_edge_is_cut_off() {
    let mut x = Setup::new().option(Opt::RcvBuf(4096)).established();
    let edge = x.edge.expect("advertised");
    x.peer_sends(edge - 101);
    x.skip_taking(ms(50));
    let n = edge - 100;
    x.peer(&format!("FP. {n}:{}(200) ack 1", n + 200)).stack(&format!(". 1:1(0) ack {edge} win 0"));
    x.state_is("ESTABLISHED").reads(edge as usize - 1).ignore().reads_nothing();
}

/// conformance: 7323-2.4-honour, 7323-2.4-track-max
#[test]
fn whatever_was_ever_offered_is_taken() {
    let mut x = Setup::new().modern(7).option(Opt::RcvBuf(20_000)).established();
    let edge = x.edge.expect("advertised");
    let scale = x.info().rcv_wscale;
    x.peer("P. 1:4(3) ack 1").skip_taking(ms(40));
    let last = x.edge.expect("advertised");
    assert!(last >= edge || edge - last < 1 << scale);
    let mut seq = 4;
    while seq < edge.max(last) {
        let len = (edge.max(last) - seq).min(1000);
        x.peer(&format!("P. {seq}:{}({len}) ack 1", seq + len)).ignore();
        seq += len;
    }
    x.reads(seq as usize - 1);
    x.ignore();
}

/// The window tells of room for what comes next without a peer ever having to ask.
#[test]
fn reading_a_full_buffer_opens_the_window_at_once() {
    let mut x = Setup::new().option(Opt::RcvBuf(16_384)).established();
    let filled = x.fill_window();
    x.reads(filled as usize);
    let update = x.next().tcp().cloned().expect("TCP");
    assert!(update.window > 0);
    x.ignore();
}

/// conformance: 7323-2.4-first-tx, 5681-3.1-cwnd-limit
#[test]
fn new_data_never_leaves_the_offered_window() {
    // The checker looks at every segment; here the window moves in odd steps while plenty is queued.
    let mut x = Exchange::established();
    x.write_octets(60_000).take_all();
    let mut rng = tunstack::base::Rng::from_seed(9);
    let mut acked = 1;
    for _ in 0..300 {
        acked += (rng.below(3) as i64 * 730).min(x.stack_nxt() - acked);
        let window = rng.below(9000);
        x.peer(&format!(". 1:1(0) ack {acked} win {window}")).take_all();
        x.skip_taking(ms(rng.below(300)));
    }
    assert!(acked > 20_000, "{acked}");
}
