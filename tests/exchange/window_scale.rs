//! The window scale option (RFC 7323 §2): who offers it, what is shifted, and windows that moved left.

use super::common::exchange::Setup;
use super::common::exchange::data::scale;
use super::common::{Exchange, ms};
use tunstack::host::Opt;

const SCALED: &str = "mss 1000,nop,wscale 7";

/// Passive, without SACK and timestamps, the peer's shift being `shift`.
fn scaled(shift: u8) -> Setup {
    Setup::new().syn_options(&format!("mss 1000,nop,wscale {shift}"))
}

/// A sender whose congestion window is no hindrance for 64 segments.
fn eager(setup: Setup) -> Setup {
    setup.config(|c| c.tcp_init_cwnd = 64)
}

/// conformance: 7323-2.2-syn-only
#[test]
fn syn_ack_offers_a_scale_only_to_a_syn_that_did() {
    let mut x = Exchange::listening();
    x.peer("S 0:0(0) <mss 1460>");
    assert_eq!(scale(&x.stack("S. 0:0(0) ack 1")), None);
    let mut x = Exchange::listening();
    x.peer("S 0:0(0) <mss 1460,nop,wscale 3>");
    assert!(scale(&x.stack("S. 0:0(0) ack 1")).is_some());
}

/// conformance: 7323-2.2-syn-only
#[test]
fn a_scale_option_on_a_data_segment_changes_nothing() {
    let mut x = eager(scaled(2)).window(1000).established();
    x.peer(". 1:1(0) ack 1 <nop,wscale 10>");
    x.write_octets(20_000);
    x.sends(1, 4, 1000);
    x.peer(". 1:1(0) ack 4001 win 0");
    x.quiet();
}

/// conformance: 7323-2.2-syn-unscaled
#[test]
fn the_window_of_a_syn_ack_is_not_scaled() {
    let mut x = eager(Setup::new()).connecting();
    x.peer("S. 0:0(0) ack 1 win 1000 <mss 500,nop,wscale 7>");
    x.stack(". 1:1(0) ack 1");
    x.write_octets(5000);
    x.sends(1, 2, 500);
}

/// conformance: 7323-2.2-syn-unscaled
#[test]
fn the_window_of_our_syn_is_not_scaled() {
    let mut x = eager(scaled(7)).option(Opt::RcvBuf(1 << 20)).listening();
    x.peer("S 0:0(0) win 1000 <mss 1000,nop,wscale 7>");
    let syn = x.stack("S. 0:0(0) ack 1");
    // Both directions: ours shifted by its scale would be a fortieth of the buffer; the peer's 1000 are 1000 octets.
    assert!(syn.window > 60_000, "window {} of the SYN-ACK", syn.window);
    x.peer(". 1:1(0) ack 1 win 1000");
    x.accept();
    x.write_octets(500);
    x.stack("P. 1:501(500) ack 1");
}

/// conformance: 7323-2.3-both
#[test]
fn without_our_offer_windows_are_plain() {
    let mut x = eager(scaled(7)).config(|c| c.tcp_window_scaling = false).window(2000).listening();
    x.peer(&format!("S 0:0(0) <{SCALED}>"));
    assert_eq!(scale(&x.stack("S. 0:0(0) ack 1")), None);
    x.peer(". 1:1(0) ack 1");
    x.accept();
    x.write_octets(20_000);
    x.sends(1, 2, 1000);
    assert!(!x.info().window_scaling);
}

/// conformance: 7323-2.3-both
#[test]
fn without_the_peers_offer_both_windows_are_plain() {
    let mut x = eager(Setup::new()).option(Opt::RcvBuf(1 << 20)).window(2000).connecting();
    x.peer("S. 0:0(0) ack 1 <mss 1000>");
    // A right shift of ours in force would show here as a small field.
    assert!(x.stack(". 1:1(0) ack 1").window > 60_000);
    x.write_octets(20_000);
    x.sends(1, 2, 1000);
    let info = x.info();
    assert_eq!((info.snd_wscale, info.rcv_wscale), (0, 0));
}

/// conformance: 7323-2.3-in
#[test]
fn windows_of_the_peer_are_shifted_left() {
    let mut x = eager(scaled(7)).window(250).established();
    x.write_octets(60_000);
    x.sends(1, 32, 1000); // 250 << 7 = 32000
    x.peer(". 1:1(0) ack 32001 win 125");
    x.sends(32_001, 16, 1000);
}

/// conformance: 7323-2.3-out
#[test]
fn our_window_is_shifted_right() {
    let mut x = scaled(7).config(|c| c.tcp_rmem = [4096, 1 << 20, 16 << 20]).listening();
    x.peer(&format!("S 0:0(0) <{SCALED}>"));
    let shift = scale(&x.stack("S. 0:0(0) ack 1")).expect("offered");
    assert_eq!(shift, 9, "16 MiB fit into 16 bits");
    x.peer(". 1:1(0) ack 1");
    x.accept();
    let mut window = 0;
    for i in 0..40 {
        x.peers(&[
            &format!(". {}:{}(1000) ack 1", 2000 * i + 1, 2000 * i + 1001),
            &format!(". {}:{}(1000) ack 1", 2000 * i + 1001, 2000 * i + 2001),
        ]);
        window = u32::from(x.stack(&format!(". 1:1(0) ack {}", 2000 * i + 2001)).window);
        x.reads(2000);
        x.ignore();
    }
    let info = x.info();
    assert_eq!(info.rcv_wscale, shift);
    assert!((info.rcv_wnd >> shift).abs_diff(window) <= 8, "field {window}, window {}", info.rcv_wnd);
    assert!(info.rcv_wnd >= 64_000, "and it is a window that the field could not tell unshifted");
}

/// conformance: 7323-2.3-max14
#[test]
fn a_shift_above_14_counts_as_14() {
    for shift in [15, 255] {
        let mut x = eager(scaled(shift)).window(2).established();
        assert_eq!(x.info().snd_wscale, 14);
        x.write_octets(60_000);
        x.sends(1, 32, 1000); // 2 << 14 = 32768
    }
}

/// conformance: 7323-2.3-max14
#[test]
fn our_shift_is_the_least_that_fits_the_largest_buffer() {
    for (most, shift) in [(65_535, 0), (6 << 20, 7), (u32::MAX, 14)] {
        let mut x = scaled(0).config(|c| c.tcp_rmem = [4096, 60_000, most]).listening();
        x.peer(&format!("S 0:0(0) <{SCALED}>"));
        assert_eq!(scale(&x.stack("S. 0:0(0) ack 1")), Some(shift), "for {most} octets");
    }
}

/// Everything up to the highest edge that was ever told is taken, though later fields are rounded down; nothing beyond.
///
/// conformance: 7323-2.4-honour, 7323-2.4-track-max
#[test]
fn the_largest_edge_ever_offered_is_honoured() {
    let mut x = Setup::new().syn_options("mss 1000,sackOK,nop,wscale 7").listening();
    x.peer("S 0:0(0) <mss 1000,sackOK,nop,wscale 7>");
    let syn = x.stack("S. 0:0(0) ack 1");
    let shift = scale(&syn).expect("offered");
    assert!(shift > 0, "else nothing is rounded");
    let mut edge = 1 + i64::from(syn.window);
    x.peer(". 1:1(0) ack 1");
    x.accept();
    // Unread octets, an odd number of them: the field can no longer tell the edge exactly.
    for i in 0..20 {
        x.peer(&format!("P. {}:{}(99) ack 1", 99 * i + 1, 99 * i + 100));
        if let Some(packet) = x.try_next() {
            let tcp = packet.tcp().expect("an ACK").clone();
            let (irs, _) = x.initial_numbers();
            let told = i64::from(tcp.ack.wrapping_sub(irs)) + (i64::from(tcp.window) << shift);
            edge = edge.max(told);
        }
    }
    x.skip(ms(100));
    let next = 99 * 20 + 1;
    x.peer(&format!(". {}:{edge}(900) ack 1", edge - 900));
    x.stack(&format!(". 1:1(0) ack {next} <nop,nop,sack {}:{edge}>", edge - 900));
    // Rounded, the edge may have moved a little.
    let edge = edge.max(x.edge.expect("a window"));
    x.peer(&format!(". {}:{}(500) ack 1", edge - 300, edge + 200));
    // What lies inside was there already; what lies beyond is not taken.
    let ack = x.stack(&format!(". 1:1(0) ack {next}"));
    let (irs, _) = x.initial_numbers();
    for option in ack.walk().expect("legal") {
        if let super::common::packet::TcpOption::Sack(blocks) = option {
            assert!(blocks.iter().all(|(_, right)| i64::from(right.wrapping_sub(irs)) <= edge), "{blocks:?}");
        }
    }
}

/// conformance: 7323-2.4-first-tx
#[test]
fn new_data_stays_in_the_latest_window_even_if_it_shrank() {
    let mut x = eager(Setup::new().syn_options("mss 1000")).window(10_000).established();
    x.write_octets(5000);
    x.sends(1, 5, 1000);
    // The right edge goes back from 10001 to 7001.
    x.peer(". 1:1(0) ack 5001 win 2000");
    x.write_octets(5000);
    x.sends(5001, 2, 1000);
    x.peer(". 1:1(0) ack 7001 win 10000");
    x.sends(7001, 3, 1000);
}

/// conformance: 7323-2.4-rexmit
#[test]
fn what_was_sent_is_sent_again_though_the_window_rounds_down_over_it() {
    let mut x = eager(scaled(7)).window(16).established();
    x.write_octets(2000);
    x.sends(1, 2, 1000);
    // 7 << 7 = 896: less than the granule of 128 is missing for the first segment.
    x.peer(". 1:1(0) ack 1 win 7");
    x.quiet();
    x.until(". 1:1001(1000) ack 1");
    x.peer(". 1:1(0) ack 1001 win 7");
    x.stack("P. 1001:2001(1000) ack 1");
    x.peer(". 1:1(0) ack 2001 win 7");
}

/// conformance: 7323-2.4-rexmit
#[test]
fn a_window_that_closed_over_sent_data_does_not_stop_its_repair() {
    let mut x = Setup::new().syn_options("mss 1000").established();
    x.write_octets(1000);
    x.stack("P. 1:1001(1000) ack 1");
    x.peer(". 1:1(0) ack 1 win 0");
    x.until("P. 1:1001(1000) ack 1");
    x.peer(". 1:1(0) ack 1001 win 0");
    x.quiet_for(ms(100));
}
