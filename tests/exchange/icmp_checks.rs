//! ICMP errors about TCP (RFC 5927): which are believed, and what they do.

use super::common::exchange::Setup;
use super::common::{Errno, Exchange, ms, secs};
use tunstack::host::{Domain, Type};

/// conformance: 5927-4.1-seq-check
#[test]
fn an_error_about_what_is_not_in_flight_is_ignored() {
    let mut x = Exchange::connecting();
    for seq in [1, -1, 100_000, -100_000] {
        x.peer_icmp(3, 3, 0, &format!("S {seq}:{seq}(0)"));
        x.state_is("SYN-SENT");
    }
    assert_eq!(x.counter("TunstackIcmpInStale"), 4);
    x.peer_icmp(3, 3, 0, "S 0:0(0)");
    x.state_is("CLOSED");
    assert_eq!(x.error(), Some(Errno::ECONNREFUSED));
}

/// conformance: 5927-4.1-seq-check
#[test]
fn nothing_in_flight_nothing_believed() {
    let mut x = Setup::new().established();
    x.write_octets(1000);
    x.stack("P. 1:1001(1000) ack 1");
    x.peer(". 1:1(0) ack 1001");
    for seq in [1, 500, 1001, 1002] {
        x.peer_icmp(3, 1, 0, &format!(". {seq}:{}(10) ack 1", seq + 10));
        x.peer_too_big(600, &format!(". {seq}:{}(1400) ack 1", seq + 1400));
    }
    assert_eq!(x.counter("TunstackIcmpInStale"), 8);
    assert_eq!(x.info().snd_mss, 1460);
    assert_eq!(x.error(), None);
}

/// conformance: 5927-4.1-seq-check, 8899-5-validate-ptb
#[test]
fn a_packet_too_big_is_believed_only_about_what_is_in_flight() {
    let mut x = Exchange::established();
    x.write_octets(1460);
    x.stack("P. 1:1461(1460) ack 1");
    x.peer_too_big(600, ". 1461:2921(1460) ack 1").quiet();
    x.peer_too_big(600, ". 0:1460(1460) ack 1").quiet();
    assert_eq!(x.info().snd_mss, 1460);
    x.peer_too_big(600, "P. 1:1461(1460) ack 1");
    assert_eq!(x.info().snd_mss, 560);
    assert_eq!(x.data().first(), Some(&(1..561)));
}

/// conformance: 5927-5.2-hard-sync
#[test]
fn hard_errors_are_soft_while_closing() {
    let mut x = Exchange::established();
    x.close();
    x.stack("F. 1:1(0) ack 1");
    x.peer_icmp(3, 3, 0, "F. 1:1(0) ack 1");
    x.state_is("FIN-WAIT-1");
    x.peer("F. 1:1(0) ack 2");
    x.stack(". 2:2(0) ack 2");
}

/// A router complains about packets that are too big, so the one it quotes was bigger than the MTU it tells.
///
/// conformance: 5927-7.2-pmtu-size
#[test]
fn a_packet_too_big_about_a_small_packet_is_ignored() {
    let mut x = Exchange::established();
    x.write_octets(460);
    x.stack("P. 1:461(460) ack 1");
    x.peer_too_big(600, "P. 1:461(460) ack 1").quiet();
    assert_eq!(x.info().snd_mss, 1460);
    x.peer(". 1:1(0) ack 461");
    x.write_octets(1460);
    x.stack("P. 461:1921(1460) ack 1");
}

/// conformance: 5927-4.3-ports
#[test]
fn local_ports_cannot_be_guessed_from_the_last() {
    let mut x = Setup::new().closed();
    let mut ports = Vec::new();
    for host in 1..=64u8 {
        let remote = format!("10.9.0.{}:80", 100 + host).parse().expect("an address");
        let port = x.user("socket, connect", |stack, now| {
            let id = stack.socket(Domain::Inet, Type::Stream).expect("a socket");
            assert_eq!(stack.connect(now, id, Some(remote)), Err(Errno::EINPROGRESS));
            stack.local_addr(id).expect("bound").port()
        });
        x.ignore();
        ports.push(i64::from(port));
    }
    let mut steps: Vec<i64> = ports.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(steps.iter().filter(|step| step.abs() <= 2).count() <= 3, "{ports:?}");
    steps.sort_unstable();
    steps.dedup();
    assert!(steps.len() > 55, "{ports:?}");
    // And all over the range of 28232 ports.
    assert!(ports.iter().max() > ports.iter().min().map(|least| least + 15_000).as_ref(), "{ports:?}");
}

/// An error about the SYN only counts when it quotes exactly it; a soft one does not end the attempt.
#[test]
fn a_soft_error_leaves_the_attempt_going() {
    let mut x = Exchange::connecting();
    x.peer_icmp(3, 1, 0, "S 0:0(0)");
    x.state_is("SYN-SENT");
    x.until("S 0:0(0)");
    x.peer("S. 0:0(0) ack 1 <mss 1460>");
    x.stack(". 1:1(0) ack 1");
    x.state_is("ESTABLISHED");
    assert_eq!(x.error(), None);
    x.quiet_for(secs(1));
    x.quiet_for(ms(1));
}
