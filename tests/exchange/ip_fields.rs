//! What TCP asks of IP: checksums, TTL, Diffserv, options, DF (RFC 9293 §3.1, §3.9.2).

use crate::common::exchange::{Exchange, Setup};
use crate::common::ms;
use crate::common::packet::{self, Packet};
use tunstack::host::{MtuDiscover, Opt, Shutdown};

/// The checker verifies every checksum with code of its own; here every kind of segment leaves once.
/// conformance: 9293-MUST-2
#[test]
fn every_kind_of_segment_has_its_checksum() {
    for v6 in [false, true] {
        for options in ["mss 1400", "mss 1400,sackOK,TS val 1 ecr 0,nop,wscale 7"] {
            let setup = if v6 { Setup::new().v6() } else { Setup::new() }.syn_options(options);
            let mut kinds = 0;
            let mut x = setup.established();
            for len in [1, 2, 3, 7, 255, 256, 1001, 1348] {
                x.write_octets(len);
                kinds += x.take_all().len();
                let all = x.stack_nxt();
                x.peer(&format!(". 1:1(0) ack {all}"));
            }
            let at = x.stack_nxt();
            x.peer(&format!("P. 11:21(10) ack {at}"));
            kinds += x.take_all().len();
            x.shutdown(Shutdown::Write);
            kinds += x.take_all().len();
            x.abort();
            kinds += x.take_all().len();
            let mut x = setup.closed();
            x.peer("S 0:0(0)");
            kinds += x.take_all().len();
            let mut x = setup.connecting();
            x.peer("S 0:0(0) <mss 1400>");
            kinds += x.take_all().len();
            assert!(kinds >= 12, "{kinds}");
        }
    }
}

/// conformance: 9293-MUST-49
#[test]
fn the_ttl_is_the_users() {
    for v6 in [false, true] {
        let setup = if v6 { Setup::new().v6() } else { Setup::new() };
        let mut x = setup.established();
        x.write(b"a");
        assert_eq!(x.next().ttl, 64);
        x.set(Opt::Ttl(5)).peer(". 1:1(0) ack 2").write(b"b");
        assert_eq!(x.next().ttl, 5);
        let mut x = setup.config(|config| config.ip_default_ttl = 33).established();
        x.write(b"a");
        assert_eq!(x.next().ttl, 33);
    }
}

/// conformance: 9293-MUST-48, 9293-SHLD-21, 9293-SHLD-22
#[test]
fn diffserv_is_the_users_and_may_change() {
    for v6 in [false, true] {
        let mut x = if v6 { Setup::new().v6() } else { Setup::new() }.established();
        for dscp in [46, 10, 63, 0] {
            x.set(Opt::Tos(dscp << 2)).write(b"a");
            let packet = x.next();
            assert_eq!(packet.tos >> 2, dscp);
            let end = packet.tcp().map(|tcp| tcp.seq.wrapping_add(1)).expect("TCP");
            x.peer(&format!(". 1:1(0) ack ={end}")).quiet();
        }
    }
}

/// conformance: 9293-MUST-50
#[test]
fn ip_options_that_mean_nothing_to_tcp_are_ignored() {
    let mut x = Exchange::listening();
    for text in ["S 0:0(0) <mss 1460>", ". 1:1(0) ack 1"] {
        let plain = x.peer_bytes(text);
        let packet = Packet::parse(&plain).expect("just built");
        let bytes = packet::ip_with(packet.src, packet.dst, packet::TCP, packet.payload(), |header| {
            header.options = [148, 4, 0, 0].into(); // router alert
        });
        x.inject(&bytes);
        if text.starts_with('S') {
            x.stack("S. 0:0(0) ack 1");
        }
    }
    x.accept().state_is("ESTABLISHED");
}

/// What nobody here fills in or obeys: security, record route, timestamp.
///
/// conformance: 9293-3.10.7.4-security, 9293-MAY-10, 9293-MAY-11, 1122-3.2.1.8-rr-ts
#[test]
fn a_segment_with_ip_options_counts_like_any_other() {
    let security = [130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let record_route = [7, 7, 4, 0, 0, 0, 0, 0];
    let timestamp = [68, 8, 5, 0, 0, 0, 0, 0];
    for options in [&security[..], &record_route, &timestamp] {
        let mut x = Exchange::established();
        let plain = Packet::parse(&x.peer_bytes("P. 1:11(10) ack 1")).expect("just built");
        x.inject(&packet::ip_with(plain.src, plain.dst, packet::TCP, plain.payload(), |header| {
            header.options = options.try_into().expect("few octets");
        }));
        x.reads(10).after(ms(40));
        let answer = x.next();
        assert_eq!(answer.bytes[0], 0x45, "without options");
        assert!(answer.tcp().is_some());
    }
}

/// conformance: 9293-3.7.2-pmtud, 1191-3-df
#[test]
fn df_is_set_unless_discovery_is_off() {
    let mut x = Exchange::established();
    x.write(b"a");
    assert!(x.next().df);
    let mut x = Setup::new().config(|config| config.ip_no_pmtu_disc = true).established();
    x.write(b"a");
    assert!(!x.next().df);
    let mut x = Exchange::established();
    x.set(Opt::MtuDiscover(MtuDiscover::Dont)).write(b"a");
    assert!(!x.next().df);
}

/// A segment in fragments is a segment.
#[test]
fn a_fragmented_segment_is_taken() {
    let mut x = Exchange::established();
    let whole = Packet::parse(&x.peer_bytes("P. 1:1001(1000) ack 1")).expect("just built");
    let payload = whole.payload().to_vec();
    for (from, to) in [(504, payload.len()), (0, 504)] {
        x.inject(&packet::fragment_v4(&whole, &payload[from..to], 9, from, to < payload.len()));
    }
    x.checker.arrived(&whole.bytes);
    x.reads(1000).pass(ms(40)).stack(". 1:1(0) ack 1001");
}
