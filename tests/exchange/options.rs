//! TCP options: read wherever they stand, skipped when unknown, survived when broken; MSS.

use crate::common::exchange::{Exchange, Setup};
use crate::common::packet::{TcpOption, walk};
use crate::common::{ms, secs};

/// conformance: 9293-MUST-4
#[test]
fn nop_end_and_mss_are_understood() {
    let mut x = Setup::new().syn_options("nop,nop,mss 1000,raw 0002040190000000").established();
    x.write_octets(3000);
    x.stack(". 1:1001(1000) ack 1");
    x.stack(". 1001:2001(1000) ack 1");
    x.stack("P. 2001:3001(1000) ack 1");
}

/// conformance: 9293-MUST-5
#[test]
fn options_are_read_on_any_segment() {
    let mut x = Exchange::established();
    x.peer("P. 1:11(10) ack 1 <nop,nop,raw fe04abcd,nop,raw 00>").reads(10);
    x.after(ms(40)).stack(". 1:1(0) ack 11");
}

/// conformance: 9293-MUST-6
#[test]
fn an_unknown_option_is_skipped_by_its_length() {
    let mut x = Setup::new().syn_options("raw c80600000000,mss 700").established();
    x.write_octets(1400);
    x.stack(". 1:701(700) ack 1");
    x.stack("P. 701:1401(700) ack 1");
}

/// conformance: 9293-MUST-7
#[test]
fn broken_option_lengths_are_survived() {
    for raw in
        ["c8000000", "c8010000", "c8ff0000", "01010102", "020300aa", "08020000", "05030000", "0203", "050a"]
    {
        let mut x = Exchange::listening();
        x.peer(&format!("S 0:0(0) <raw {raw}>")).ignore();
        x.on_port(41_002).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
        x.peer(". 1:1(0) ack 1").accept();
        x.peer(&format!("P. 1:6(5) ack 1 <raw {raw}>")).skip(secs(1));
        x.peer("P. 1:6(5) ack 1").skip(secs(1)).reads(5).state_is("ESTABLISHED");
    }
}

/// conformance: 9293-MUST-64
#[test]
fn options_are_read_at_any_alignment() {
    let mut x = Exchange::listening();
    x.peer("S 0:0(0) win 100 <sackOK,TS val 55 ecr 0,wscale 3,mss 900>");
    let found = walk(&x.stack("S. 0:0(0) ack 1").options).expect("legal");
    assert!(found.iter().any(|o| matches!(o, TcpOption::Timestamps(_, 55))), "{found:?}");
    assert!(found.contains(&TcpOption::SackOk), "{found:?}");
    x.peer(". 1:1(0) ack 1 win 222").accept();
    x.write_octets(3000).stack(". 1:889(888) ack 1 <...>");
    x.stack(". 889:1777(888) ack 1 <nop,nop,TS val * ecr *>");
    assert_eq!(x.info().snd_wscale, 3);
}

/// Signatures that nobody here can check, MD5 and TCP-AO, are unknown options.
///
/// conformance: 2385-scope, 5925-scope
#[test]
fn signatures_are_unknown_options() {
    for option in ["131200112233445566778899aabbccddeeff", "1d100001000102030405060708090a0b"] {
        let mut x = Exchange::listening();
        x.peer(&format!("S 0:0(0) <mss 1460,raw {option}>")).stack("S. 0:0(0) ack 1 <mss 1460>");
        x.peer(&format!(". 1:1(0) ack 1 <raw {option}>")).accept().patient();
        x.peer(&format!("P. 1:11(10) ack 1 <raw {option}>")).reads(10);
        x.after(ms(40)).stack(". 1:1(0) ack 11 <>");
    }
}

/// What follows the end of options is nobody's business.
/// conformance: 9293-MUST-69
#[test]
fn padding_after_the_end_is_ignored_and_ours_is_zero() {
    // Ours: the checker looks at every packet; here every combination of options is sent.
    for options in [
        "mss 1460",
        "mss 1460,sackOK",
        "mss 1460,wscale 2",
        "mss 1460,TS val 1 ecr 0,nop,nop",
        "sackOK,TS val 1 ecr 0",
    ] {
        let mut x = Setup::new().syn_options(options).established();
        x.write(b"x").stack("P. 1:2(1) ack 1");
    }
    // An option that stands behind the end is none.
    let mut x = Setup::new().syn_options("mss 800,raw 0002040190ffffff").established();
    x.write_octets(1600);
    x.stack(". 1:801(800) ack 1");
    x.stack("P. 801:1601(800) ack 1");
}

/// conformance: 9293-MUST-68
#[test]
fn every_emitted_option_has_its_right_length() {
    let mut x = Setup::new().modern(7).established();
    x.peer("P. 11:21(10) ack 1").stack(". 1:1(0) ack 1 <nop,nop,TS val * ecr *,nop,nop,sack 11:21>");
    x.peer("P. 31:41(10) ack 1").stack(". 1:1(0) ack 1 <nop,nop,TS val * ecr *,nop,nop,sack 31:41 11:21>");
    x.peer("P. 51:61(10) ack 1")
        .stack(". 1:1(0) ack 1 <nop,nop,TS val * ecr *,nop,nop,sack 51:61 31:41 11:21>");
    x.peer("P. 71:81(10) ack 1")
        .stack(". 1:1(0) ack 1 <nop,nop,TS val * ecr *,nop,nop,sack 71:81 51:61 31:41>");
}

/// conformance: 9293-MUST-65
#[test]
fn mss_on_a_data_segment_changes_nothing() {
    let mut x = Exchange::established();
    x.peer("P. 1:2(1) ack 1 <mss 100>").reads(1);
    x.write_octets(1460).stack("P. 1:1461(1460) ack 2");
}

/// conformance: 9293-MUST-15
#[test]
fn without_an_mss_option_the_default_is_assumed() {
    for (setup, mss) in [(Setup::new(), 536), (Setup::new().v6(), 1220)] {
        let mut x = setup.syn_options("").established();
        x.write_octets(2 * mss);
        x.stack(&format!(". 1:{}({mss}) ack 1", 1 + mss));
        x.stack(&format!("P. {}:{}({mss}) ack 1", 1 + mss, 1 + 2 * mss));
    }
}

/// conformance: 9293-MUST-16, 9293-3.7.1-eff-mss-no-options
#[test]
fn a_segment_is_bounded_by_mss_mtu_and_options() {
    for (mtu, payload) in [(1500, 1448), (1400, 1348)] {
        let mut x = Setup::new().mtu(mtu).modern(0).established();
        x.write_octets(2 * payload);
        x.stack(&format!(". 1:{}({payload}) ack 1", 1 + payload));
        x.stack(&format!("P. {}:{}({payload}) ack 1", 1 + payload, 1 + 2 * payload));
    }
    let mut x = Setup::new().syn_options("mss 700,sackOK,TS val * ecr *").established();
    x.write_octets(1376).stack(". 1:689(688) ack 1");
    x.stack("P. 689:1377(688) ack 1");
}

/// conformance: 9293-MUST-67, 9293-3.7.1-eff-mss-no-options, 9293-MAY-3
#[test]
fn the_advertised_mss_is_the_mtu_without_headers() {
    for (v6, mtu, mss) in [
        (false, 1500, 1460),
        (true, 1500, 1440),
        (false, 576, 536),
        (true, 1280, 1220),
        (false, 9000, 8960),
        (false, 65535, 65495),
    ] {
        let setup = if v6 { Setup::new().v6() } else { Setup::new() }.mtu(mtu);
        let mut x = setup.closed();
        x.connect_and_see(&format!("S 0:0(0) <mss {mss},sackOK,TS val * ecr 0,nop,wscale 10>"));
        let mut x = setup.listening();
        x.peer("S 0:0(0) <mss 100>").stack(&format!("S. 0:0(0) ack 1 <mss {mss}>"));
    }
}

/// Path MTU discovery finds what is too large: a destination beyond a gateway gets full segments as well.
///
/// conformance: 1122-3.3.3-offnet-576
#[test]
fn a_remote_destination_gets_full_segments() {
    let mut x = Setup::new().listening();
    let everywhere = "0.0.0.0/0".parse().expect("a prefix");
    x.host.add_route(everywhere, Some([10, 9, 0, 1].into())).expect("a route");
    x.at_peer_address([192, 0, 2, 7].into()).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1 <mss 1460>");
    x.peer(". 1:1(0) ack 1").accept();
    x.write_octets(2920).stack(". 1:1461(1460) ack 1");
    x.stack("P. 1461:2921(1460) ack 1");
}

/// conformance: 9293-SHLD-6
#[test]
fn a_lowered_mtu_is_in_the_next_syn() {
    let mut x = Exchange::listening();
    let now = x.now;
    x.host.set_link(now, tunstack::host::Link::plain(1400));
    x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1 <mss 1360>");
}

/// conformance: 9293-SHLD-28, 9293-MUST-61
#[test]
fn bulk_goes_in_full_segments_and_push_marks_the_last() {
    let mut x = Exchange::established();
    x.write_octets(3000);
    x.stack(". 1:1461(1460) ack 1");
    x.stack(". 1461:2921(1460) ack 1");
    x.stack("P. 2921:3001(80) ack 1");
}

/// A peer that asks for tiny segments cannot make us send a packet for each octet.
#[test]
fn an_absurd_mss_is_bounded() {
    let mut x = Setup::new().syn_options("mss 1").listening();
    x.checker.forget_flows(); // its rule on the MSS does not know Linux's floor
    x.peer("S 0:0(0) <mss 1>").stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").accept();
    x.write_octets(96).stack(". 1:49(48) ack 1");
    x.stack("P. 49:97(48) ack 1");
}
