//! What `send` and `write_header` make of a payload.

use super::*;
use etherparse::defrag::{IpDefragPayloadVec, IpDefragPool};

/// The packets of one datagram, put together by another implementation.
fn put_together(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut pool: IpDefragPool<(), ()> = IpDefragPool::new();
    let mut whole: Option<IpDefragPayloadVec> = None;
    for packet in packets {
        assert!(whole.is_none(), "complete before the last");
        let sliced = etherparse::SlicedPacket::from_ip(packet).expect("well formed");
        whole = pool.process_sliced_packet(&sliced, (), ()).expect("fits together");
    }
    whole.expect("complete").payload
}

fn header(packet: &[u8]) -> Ipv4Header {
    etherparse::Ipv4HeaderSlice::from_slice(packet).expect("a header").to_header()
}

/// conformance: 791-3.2-frag-units, 1122-3.3.3-local-frag
#[test]
fn fragments_are_multiples_of_eight_octets() {
    let mut lab = Lab::new();
    let payload = lab.send(PEER.into(), 4008, MtuDiscover::Want).expect("sent");
    let sent = lab.sent();
    let places: Vec<_> = sent
        .iter()
        .map(|p| (header(p).fragment_offset.value(), header(p).more_fragments, p.len() - 20))
        .collect();
    assert_eq!(places, [(0, true, 1480), (185, true, 1480), (370, false, 1048)]);
    assert_eq!(put_together(&sent), payload);
    assert_eq!(
        (lab.counters.ip_frag_oks, lab.counters.ip_frag_creates, lab.counters.ip_out_requests),
        (1, 3, 1)
    );
}

/// conformance: 791-3.2-frag-header
#[test]
fn every_fragment_repeats_the_header() {
    let mut lab = Lab::new();
    let marked = IpOut { tos: 0xb8, ttl: 33, protocol: 77, ..out(US.into(), PEER.into(), MtuDiscover::Dont) };
    lab.with(|net, env| net.send(env, &marked, &[&pattern(5000)])).expect("sent");
    let sent = lab.sent();
    let same = |packet: &Vec<u8>| {
        let header = header(packet);
        let tos = packet[1];
        (
            header.identification,
            header.source,
            header.destination,
            header.protocol.0,
            tos,
            header.time_to_live,
        )
    };
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|packet| same(packet) == same(&sent[0])));
    assert_eq!((same(&sent[0]).3, same(&sent[0]).4, same(&sent[0]).5), (77, 0xb8, 33));
}

/// conformance: 791-3.1-df-mf, 6864-4.3-df-no-frag
#[test]
fn df_forbids_fragments() {
    let mut lab = Lab::new();
    for discover in [MtuDiscover::Do, MtuDiscover::Probe] {
        assert_eq!(lab.send(PEER.into(), 1481, discover), Err(Errno::EMSGSIZE));
        assert_eq!(lab.send(PEER6.into(), 1461, discover), Err(Errno::EMSGSIZE));
        assert_eq!(lab.sent(), Vec::<Vec<u8>>::new());
        lab.send(PEER.into(), 1480, discover).expect("it fits");
        assert!(header(&lab.sent_one()).dont_fragment);
        lab.send(PEER6.into(), 1460, discover).expect("it fits");
        assert_eq!(lab.sent_one().len(), 1500);
    }
    assert_eq!((lab.counters.ip_frag_fails, lab.counters.ip6_frag_fails), (2, 2));
}

/// conformance: 791-3.1-reserved-flag
#[test]
fn the_reserved_flag_is_sent_as_zero() {
    let mut lab = Lab::new();
    for discover in [MtuDiscover::Dont, MtuDiscover::Want] {
        for len in [0, 10, 5000] {
            lab.send(PEER.into(), len, discover).expect("sent");
        }
    }
    assert!(lab.sent().iter().all(|packet| packet[6] & 0x80 == 0));
}

/// conformance: 6864-4.1-atomic-any
#[test]
fn whole_packets_with_df_need_no_identification() {
    let mut lab = Lab::new();
    lab.send(PEER.into(), 10, MtuDiscover::Want).expect("sent");
    let sent = header(&lab.sent_one());
    assert_eq!((sent.dont_fragment, sent.identification), (true, 0));
}

/// conformance: 6864-4.2-no-id-reuse
#[test]
fn the_same_datagram_again_has_a_fresh_identification() {
    let mut lab = Lab::new();
    let ids: std::collections::HashSet<u16> = (0..1000)
        .map(|_| {
            lab.send(PEER.into(), 10, MtuDiscover::Dont).expect("sent");
            header(&lab.sent_one()).identification
        })
        .collect();
    assert_eq!(ids.len(), 1000);
}

/// conformance: 6864-4.3-unique-mdl
#[test]
fn fragmented_datagrams_have_identifications_of_their_own() {
    let mut lab = Lab::new();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..500 {
        lab.send(PEER.into(), 2000, MtuDiscover::Want).expect("sent");
        assert!(seen.insert(header(&lab.sent()[0]).identification));
        lab.send(PEER.into(), 10, MtuDiscover::Dont).expect("sent");
        assert!(seen.insert(header(&lab.sent_one()).identification));
    }
}

#[test]
fn fragmented_ipv6_packets_have_identifications_of_their_own() {
    let mut lab = Lab::new();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..500 {
        lab.send(PEER6.into(), 2000, MtuDiscover::Want).expect("sent");
        assert!(seen.insert(lab.sent()[0][44..48].to_vec()));
    }
}

/// conformance: 8200-4.5-frag-send, 5722-4-no-overlap-send
#[test]
fn another_reassembler_rebuilds_ipv6_fragments() {
    for len in [1461, 2896, 2897, 4008, 65535] {
        let mut lab = Lab::new();
        let payload = lab.send(PEER6.into(), len, MtuDiscover::Want).expect("sent");
        let sent = lab.sent();
        let mut next = 0;
        for packet in &sent {
            assert_eq!((packet[6], packet[40]), (44, UDP));
            let field = u16::from_be_bytes([packet[42], packet[43]]);
            assert_eq!((field & !7, field & 6), (next, 0), "no gap, no overlap, reserved bits zero");
            next = next.wrapping_add(packet.len() as u16 - 48);
        }
        assert_eq!(put_together(&sent), payload, "{len}");
    }
}

/// conformance: 8200-4.5-frag-first-chain
#[test]
fn the_first_ipv6_fragment_holds_the_whole_transport_header() {
    let mut lab = Lab::new();
    lab.net.set_link(1280);
    let payload = lab.send(PEER6.into(), 3000, MtuDiscover::Want).expect("sent");
    let first = &lab.sent()[0];
    assert!(first.len() >= 40 + 8 + 60);
    assert_eq!(first[48..], payload[..first.len() - 48]);
}

/// conformance: 8200-5-pmtud
#[test]
fn ipv6_packets_shrink_to_what_the_path_takes() {
    let mut lab = Lab::new();
    assert_eq!(lab.net.path_mtu(lab.now, PEER6.into()), 1500);
    lab.with(|net, env| net.learn_path_mtu(env, PEER6.into(), 1300));
    lab.send(PEER6.into(), 1400, MtuDiscover::Want).expect("sent");
    let sent = lab.sent();
    assert!(sent.len() == 2 && sent.iter().all(|packet| packet.len() <= 1300));
    assert_eq!(lab.send(PEER6.into(), 1400, MtuDiscover::Do), Err(Errno::EMSGSIZE));
    lab.send(PEER6.into(), 1400, MtuDiscover::Probe).expect("what was learned is ignored");
}

/// conformance: 8201-4-reduce
#[test]
fn a_packet_too_big_lowers_the_estimate_at_once() {
    let mut lab = Lab::new();
    lab.with(|net, env| net.learn_path_mtu(env, PEER6.into(), 1400));
    assert_eq!(lab.net.path_mtu(lab.now, PEER6.into()), 1400);
    lab.with(|net, env| net.learn_path_mtu(env, PEER6.into(), 1280));
    assert_eq!(lab.net.path_mtu(lab.now, PEER6.into()), 1280);
}

/// conformance: 8201-4-no-increase
#[test]
fn no_packet_too_big_raises_the_estimate() {
    let mut lab = Lab::new();
    for mtu in [1400, 9000, 1450, 1401, 1400] {
        lab.with(|net, env| net.learn_path_mtu(env, PEER6.into(), mtu));
        assert_eq!(lab.net.path_mtu(lab.now, PEER6.into()), 1400);
    }
}

/// conformance: 1191-3-reduce
#[test]
fn a_learned_path_mtu_counts_for_one_destination() {
    let mut lab = Lab::new();
    lab.with(|net, env| net.learn_path_mtu(env, ip("8.8.8.8"), 1400));
    assert_eq!(lab.net.path_mtu(lab.now, ip("8.8.8.8")), 1400);
    assert_eq!(lab.net.path_mtu(lab.now, ip("8.8.4.4")), 1500);
    lab.send(ip("8.8.8.8"), 1450, MtuDiscover::Want).expect("sent");
    assert!(lab.sent().iter().all(|packet| packet.len() <= 1400 && !header(packet).dont_fragment));
}

/// conformance: 8201-5.2-first-hop, 1122-3.3.3-mms-s
#[test]
fn the_first_estimate_is_the_mtu_of_the_link() {
    let mut lab = Lab::new();
    for mtu in [1500, 1400, 9000] {
        lab.net.set_link(mtu);
        assert_eq!(lab.net.path_mtu(lab.now, PEER6.into()), mtu);
        assert_eq!(lab.net.path_mtu(lab.now, PEER.into()), mtu);
    }
}

#[test]
fn below_the_floor_packets_leave_df_clear() {
    let mut lab = Lab::new();
    lab.with(|net, env| net.learn_path_mtu(env, PEER.into(), 300));
    let mut buf = [0; 40];
    let tcp = IpOut { protocol: 6, ..out(US.into(), PEER.into(), MtuDiscover::Want) };
    let len = lab.with(|net, env| net.write_header(env, &tcp, 500, &mut buf));
    assert!(!header(&[&buf[..len], &[0; 500]].concat()).dont_fragment);
}

/// conformance: 1122-3.2.1.3-src-own, 1122-3.2.1.3-bcast-src
#[test]
fn only_our_own_addresses_are_sources() {
    let mut lab = Lab::new();
    for src in ["10.9.0.1", "10.9.0.255", "255.255.255.255", "224.0.0.1", "0.0.0.0", "8.8.8.8"] {
        let foreign = out(ip(src), PEER.into(), MtuDiscover::Want);
        assert_eq!(lab.with(|net, env| net.send(env, &foreign, &[b"x"])), Err(Errno::EADDRNOTAVAIL), "{src}");
    }
    assert!(!lab.net.has_output());
}

/// conformance: 1122-3.3.4-choose-src
#[test]
fn any_of_our_addresses_may_be_chosen() {
    let mut lab = Lab::new();
    lab.net.add_address("192.168.7.7/24".parse().expect("valid")).expect("possible");
    let chosen = out(ip("192.168.7.7"), PEER.into(), MtuDiscover::Want);
    lab.with(|net, env| net.send(env, &chosen, &[b"x"])).expect("sent");
    assert_eq!(header(&lab.sent_one()).source, [192, 168, 7, 7]);
}

/// conformance: 1122-3.2.1.3-loopback
#[test]
fn loopback_addresses_never_appear_outside() {
    let mut lab = Lab::new();
    for dst in ["127.0.0.1", "127.4.5.6", "10.9.0.2"] {
        lab.send(ip(dst), 3000, MtuDiscover::Want).expect("inside");
        let inside = lab.net.pop_output().expect("one packet, however large");
        assert!(inside.loopback && inside.bytes.len() == 3020, "{dst}");
    }
    let outward = out(ip("127.0.0.1"), PEER.into(), MtuDiscover::Want);
    assert_eq!(lab.with(|net, env| net.send(env, &outward, &[b"x"])), Err(Errno::EINVAL));
    assert!(!lab.net.has_output());
}

/// conformance: 1122-3.2.1.7-ttl-zero-tx
#[test]
fn a_ttl_of_zero_is_refused() {
    let mut lab = Lab::new();
    for (src, dst) in [(US.into(), PEER.into()), (US6.into(), PEER6.into())] {
        let zero = IpOut { ttl: 0, ..out(src, dst, MtuDiscover::Want) };
        assert_eq!(lab.with(|net, env| net.send(env, &zero, &[b"x"])), Err(Errno::EINVAL));
    }
}

/// conformance: 1122-3.2.1.7-ttl-set
#[test]
fn the_ttl_of_a_datagram_is_the_callers() {
    let mut lab = Lab::new();
    for ttl in [1, 64, 255] {
        let chosen = IpOut { ttl, ..out(US.into(), PEER.into(), MtuDiscover::Want) };
        lab.with(|net, env| net.send(env, &chosen, &[b"x"])).expect("sent");
        assert_eq!(header(&lab.sent_one()).time_to_live, ttl);
    }
}

/// conformance: 1122-3.2.1.6-tos
#[test]
fn the_tos_of_a_datagram_is_the_callers() {
    let mut lab = Lab::new();
    for protocol in [1, 6, 17] {
        let marked = IpOut { tos: 0xb9, protocol, ..out(US.into(), PEER.into(), MtuDiscover::Want) };
        lab.with(|net, env| net.send(env, &marked, &[&[0; 20]])).expect("sent");
        assert_eq!(lab.sent_one()[1], 0xb9);
    }
}

/// conformance: 8200-3-hoplimit-tx
#[test]
fn the_hop_limit_of_a_packet_is_the_callers() {
    let mut lab = Lab::new();
    for ttl in [1, 64, 255] {
        let chosen = IpOut { ttl, ..out(US6.into(), PEER6.into(), MtuDiscover::Want) };
        lab.with(|net, env| net.send(env, &chosen, &[b"x"])).expect("sent");
        assert_eq!(lab.sent_one()[7], ttl);
    }
}

/// conformance: 8200-6-flowlabel
#[test]
fn a_flow_keeps_its_label_and_others_have_others() {
    let mut lab = Lab::new();
    let mut label = |port: u16| {
        let flow = trace_flow(port);
        let tcp = IpOut { protocol: 6, flow: Some(flow), ..out(US6.into(), PEER6.into(), MtuDiscover::Want) };
        let mut buf = [0; 40];
        lab.with(|net, env| net.write_header(env, &tcp, 20, &mut buf));
        u32::from_be_bytes([0, buf[1] & 15, buf[2], buf[3]])
    };
    let labels: std::collections::HashSet<u32> = (0..100).map(&mut label).collect();
    assert!(labels.len() > 95 && (0..100).map(&mut label).all(|again| labels.contains(&again)));
    assert_eq!(label(5), label(5));
}

fn trace_flow(port: u16) -> crate::trace::Flow {
    crate::trace::Flow { local: (US6, port).into(), remote: (PEER6, 80).into() }
}

#[test]
fn broadcasts_and_joined_groups_come_back_to_ourselves() {
    let mut lab = Lab::new();
    lab.net.join(ip("239.1.1.1")).expect("a group");
    lab.net.join(ip("ff05::99")).expect("a group");
    for (dst, loops) in [
        ("10.9.0.255", true),
        ("239.1.1.1", true),
        ("239.2.2.2", false),
        ("ff05::99", true),
        ("10.9.0.1", false),
    ] {
        lab.send(ip(dst), 2000, MtuDiscover::Want).expect("sent");
        let out: Vec<_> = std::iter::from_fn(|| lab.net.pop_output()).collect();
        let looped: Vec<_> = out.iter().filter(|out| out.loopback).collect();
        assert_eq!((out.len() - looped.len(), looped.len()), (2, usize::from(loops)), "{dst}");
        if let [copy] = looped[..] {
            let verdict = lab.with(|net, env| net.receive(env, &copy.bytes, true, false));
            assert!(matches!(verdict, Verdict::Deliver(d) if d.payload() == pattern(2000)), "{dst}");
        }
    }
    let quiet = IpOut { multicast_loop: false, ..out(US.into(), ip("239.1.1.1"), MtuDiscover::Want) };
    lab.with(|net, env| net.send(env, &quiet, &[b"x"])).expect("sent");
    assert_eq!(lab.sent().len(), 1);
    assert!(!lab.net.has_output());
}

#[test]
fn the_interface_local_scope_stays_inside() {
    let mut lab = Lab::new();
    lab.send(ip("ff01::1"), 10, MtuDiscover::Want).expect("inside");
    assert!(lab.net.pop_output().is_some_and(|out| out.loopback));
    assert!(!lab.net.has_output());
}

#[test]
fn a_full_queue_refuses_whole_datagrams() {
    let mut lab = Lab::new();
    let mut accepted = 0;
    let error = loop {
        match lab.send(PEER.into(), 60_000, MtuDiscover::Want) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error, lab.counters.ip_out_discards), (Errno::ENOBUFS, 1));
    assert!((50..70).contains(&accepted), "{accepted}");
    assert_eq!(lab.sent().len(), accepted * 41, "no datagram went in part");
    lab.send(PEER.into(), 60_000, MtuDiscover::Want).expect("room again");
}

#[test]
fn what_no_packet_can_hold_is_refused() {
    let mut lab = Lab::new();
    assert_eq!(lab.send(PEER.into(), 65516, MtuDiscover::Want), Err(Errno::EMSGSIZE));
    assert_eq!(lab.send(PEER6.into(), 65536, MtuDiscover::Want), Err(Errno::EMSGSIZE));
    lab.send(PEER.into(), 65515, MtuDiscover::Want).expect("65535 with its header");
}

/// conformance: 1122-3.3.1.2-static
#[test]
fn without_a_route_nothing_leaves() {
    let mut lab = Lab::new();
    let mut rng = Rng::from_seed(9);
    lab.net = Network::new(&mut rng);
    lab.net.add_address("10.9.0.2/24".parse().expect("valid")).expect("possible");
    assert_eq!(lab.send(ip("8.8.8.8"), 10, MtuDiscover::Want), Err(Errno::ENETUNREACH));
    let bound = out(US.into(), ip("8.8.8.8"), MtuDiscover::Want);
    assert_eq!(lab.with(|net, env| net.send(env, &bound, &[b"x"])), Err(Errno::ENETUNREACH));
    assert_eq!((lab.net.has_output(), lab.counters.ip_out_no_routes), (false, 1));
}
