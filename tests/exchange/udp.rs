//! UDP through the host: checksums, ports, sources, errors (RFC 768, RFC 1122 §4.1).

use crate::common::exchange::{Exchange, Setup};
use crate::common::packet::{self, Body};
use crate::common::{Errno, secs};
use std::net::SocketAddr;
use tunstack::host::{Domain, MsgFlags, MtuDiscover, Opt, OptName, SocketId, Type};

const PORT: u16 = 7007;

fn bound(v6: bool) -> (Exchange, SocketId, SocketAddr, SocketAddr) {
    let mut x = if v6 { Setup::new().v6() } else { Setup::new() }.closed();
    let (local, remote) = x.ends();
    let (local, remote) = (SocketAddr::new(local.ip(), PORT), SocketAddr::new(remote.ip(), 5005));
    let domain = if v6 { Domain::Inet6 } else { Domain::Inet };
    let id = x.user("bind", |host, _| {
        let id = host.socket(domain, Type::Dgram).expect("a socket");
        host.bind(id, local).expect("a free port");
        id
    });
    (x, id, local, remote)
}

fn recv(x: &mut Exchange, id: SocketId) -> Result<(Vec<u8>, SocketAddr), Errno> {
    let mut buf = [0; 2000];
    let received = x.user("recv", |host, now| host.recv(now, id, &mut buf, MsgFlags::empty()))?;
    Ok((buf[..received.len].to_vec(), received.from.expect("a sender")))
}

/// conformance: 1122-4.1.3.4-checksum
#[test]
fn a_wrong_checksum_is_dropped_in_silence_and_none_is_accepted_over_ipv4() {
    for v6 in [false, true] {
        let (mut x, id, local, remote) = bound(v6);
        let mut bytes = packet::udp(remote, local, b"hello");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        x.inject(&bytes).quiet_for(secs(1));
        assert_eq!(recv(&mut x, id), Err(Errno::EAGAIN));
        assert_eq!(x.host.counters().udp_in_csum_errors, 1);
        let mut bytes = packet::udp(remote, local, b"hello");
        let at = if v6 { 46 } else { 26 };
        bytes[at..at + 2].fill(0);
        x.inject(&bytes).quiet_for(secs(1));
        // RFC 8200 §8.1: over IPv6 a checksum of zero is none, and not allowed.
        assert_eq!(recv(&mut x, id).is_ok(), !v6);
    }
}

/// conformance: 768-zero-as-ones, 768-pad
#[test]
fn our_checksums_are_right_for_every_length_and_never_zero() {
    for v6 in [false, true] {
        let (mut x, id, _, remote) = bound(v6);
        // Some value of the last two octets makes the sum zero; the checker verifies each.
        for value in 0..=u16::MAX {
            let data = [&[1, 2, 3][..], &value.to_be_bytes()].concat();
            let info = tunstack::host::PacketInfo::default();
            x.host.send_to(x.now, id, &data[usize::from(value & 1)..], Some(remote), info).expect("room");
            let now = x.now;
            let bytes = x.host.transmit(now).expect("a datagram").to_vec();
            let at = if v6 { 46 } else { 26 };
            assert!(bytes[at..at + 2] != [0, 0], "{value}: no checksum");
            if value % 251 == 0 || bytes[at..at + 2] == [0xff, 0xff] {
                x.checker.sent(now, &bytes).unwrap_or_else(|fault| panic!("{value}: {fault}"));
            }
        }
    }
}

/// conformance: 1122-4.1.3.6-badsrc
#[test]
fn an_impossible_source_is_dropped() {
    let (mut x, id, local, _) = bound(false);
    for source in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "10.9.0.255", "127.0.0.1"] {
        let source = SocketAddr::new(source.parse().expect("an address"), 5005);
        x.inject(&packet::udp(source, local, b"hello")).quiet_for(secs(1));
        assert_eq!(recv(&mut x, id), Err(Errno::EAGAIN), "{source}");
    }
    let (mut x, id, local, _) = bound(true);
    for source in ["ff02::1", "::1"] {
        let source = SocketAddr::new(source.parse().expect("an address"), 5005);
        x.inject(&packet::udp(source, local, b"hello")).quiet_for(secs(1));
        assert_eq!(recv(&mut x, id), Err(Errno::EAGAIN), "{source}");
    }
}

/// conformance: 768-srcport0
#[test]
fn port_0_may_send_and_never_receives() {
    let (mut x, id, local, remote) = bound(false);
    let nobody = SocketAddr::new(remote.ip(), 0);
    x.inject(&packet::udp(nobody, local, b"hello"));
    assert_eq!(recv(&mut x, id), Ok((b"hello".to_vec(), nobody)));
    x.inject(&packet::udp(remote, SocketAddr::new(local.ip(), 0), b"hello")).quiet_for(secs(1));
}

/// conformance: 1122-4.1.3.1-port-unreach
#[test]
fn a_closed_port_is_unreachable() {
    for v6 in [false, true] {
        let (mut x, _, local, remote) = bound(v6);
        x.inject(&packet::udp(remote, SocketAddr::new(local.ip(), 9), b"hello"));
        let answer = x.next();
        let Body::Icmp { kind, code, .. } = answer.body else { panic!("{answer:?}") };
        assert_eq!((kind, code), if v6 { (1, 4) } else { (3, 3) });
    }
}

/// conformance: 6633-5-udp
#[test]
fn source_quench_is_no_error() {
    let (mut x, id, local, remote) = bound(false);
    x.user("connect", |host, now| host.connect(now, id, Some(remote))).expect("a route");
    x.user("send", |host, now| host.send(now, id, b"hello", MsgFlags::empty())).expect("room");
    let sent = x.next();
    x.inject(&packet::icmp(remote.ip(), local.ip(), 4, 0, [0; 4], &sent.bytes[..28])).quiet();
    assert_eq!(recv(&mut x, id), Err(Errno::EAGAIN));
}

/// What a protocol above needs for a path MTU discovery of its own: no fragments, an error for what is too large, and the path's MTU.
///
/// conformance: 8899-5-udp-api
#[test]
fn a_probe_of_the_path_goes_whole_or_not_at_all() {
    let (mut x, id, local, remote) = bound(false);
    x.user("connect", |host, now| host.connect(now, id, Some(remote))).expect("a route");
    x.user("discover", |host, now| host.set_option(now, id, Opt::MtuDiscover(MtuDiscover::Do)))
        .expect("an option");
    let send = |x: &mut Exchange, len: usize| {
        x.user("send", |host, now| host.send(now, id, &vec![0; len], MsgFlags::empty()))
    };
    assert_eq!(send(&mut x, 1500 - 28 + 1), Err(Errno::EMSGSIZE), "larger than the link takes");
    assert_eq!(send(&mut x, 1400), Ok(1400));
    let probe = x.next();
    assert!(probe.df);
    x.inject(&packet::icmp(remote.ip(), local.ip(), 3, 4, 1300u32.to_be_bytes(), &probe.bytes[..28])).quiet();
    assert_eq!(send(&mut x, 1400), Err(Errno::EMSGSIZE), "the report, or larger than the path takes");
    assert_eq!(send(&mut x, 1400), Err(Errno::EMSGSIZE), "larger than the path takes");
    let mtu = x.user("path MTU", |host, _| host.option(id, OptName::Mtu));
    assert_eq!(mtu, Ok(Opt::Mtu(1300)));
    assert_eq!(send(&mut x, 1300 - 28), Ok(1300 - 28));
    assert!(x.next().df);
    // The other way to probe takes no advice.
    x.user("probe", |host, now| host.set_option(now, id, Opt::MtuDiscover(MtuDiscover::Probe)))
        .expect("an option");
    assert_eq!(send(&mut x, 1400), Ok(1400));
    assert!(x.next().df);
}
