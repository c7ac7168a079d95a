//! Peers that fall silent: R1 and R2, user timeout, keepalive (RFC 9293 §3.8.3, §3.8.4, §3.10.8).

use crate::common::exchange::{Exchange, Setup};
use crate::common::{Errno, ms, secs};
use tunstack::base::Duration;
use tunstack::host::{Opt, Shutdown};

/// conformance: 9293-MUST-20, 9293-SHLD-11
#[test]
fn a_silent_peer_is_given_up_after_r2_and_not_before_100_s() {
    let mut x = Exchange::established();
    x.write(b"a").stack("P. 1:2(1) ack 1");
    let start = x.now;
    let mut copies = 0;
    while x.state() != "CLOSED" {
        x.until_something_happens();
        copies += x.take_all().len();
    }
    let lasted = x.now.since(start);
    assert_eq!(copies, 15, "tcp_retries2");
    assert!(lasted >= secs(100), "{lasted}");
    assert_eq!(x.error(), Some(Errno::ETIMEDOUT));
    x.write_fails(Errno::EPIPE).quiet_for(secs(1000));
    assert_eq!(x.host.counters().tcp_ext_abort_on_timeout, 1);
}

/// conformance: 9293-SHLD-9, 9293-SHLD-10
#[test]
fn trouble_is_told_after_three_retransmissions_and_before_the_end() {
    let mut x = Exchange::established();
    x.write(b"a").stack("P. 1:2(1) ack 1");
    for copy in 1..=6 {
        x.until("P. 1:2(1) ack 1");
        assert_eq!(x.info().retransmits, copy);
        let trouble = x.error();
        assert_eq!(trouble, (copy >= 3).then_some(Errno::ETIMEDOUT), "after {copy} copies");
    }
    x.state_is("ESTABLISHED").peer(". 1:1(0) ack 2");
    assert_eq!((x.info().retransmits, x.error()), (0, None), "the peer is back");
}

/// conformance: 9293-MUST-21, 9293-3.10.8-user-timeout
#[test]
fn the_user_timeout_ends_each_state_in_time() {
    let timeout = Opt::UserTimeout(secs(3));
    let mut x = Setup::new().option(timeout.clone()).connecting();
    x.skip(ms(2_900)).state_is("SYN-SENT").skip(ms(1_200)).state_is("CLOSED");
    assert_eq!(x.error(), Some(Errno::ETIMEDOUT));

    let mut x = Exchange::established();
    x.set(timeout.clone()).write(b"a").stack("P. 1:2(1) ack 1");
    x.skip(ms(2_900)).state_is("ESTABLISHED").skip(ms(300)).state_is("CLOSED");
    x.read_fails(Errno::ETIMEDOUT);

    let mut x = Exchange::established();
    x.set(timeout).shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    x.skip(ms(2_900)).state_is("FIN-WAIT-1").skip(ms(300)).state_is("CLOSED");
    x.quiet_for(secs(100));
}

/// It counts from the first octet that nobody answered, not from the last write.
#[test]
fn the_user_timeout_begins_anew_with_each_answer() {
    let mut x = Exchange::established();
    x.set(Opt::UserTimeout(secs(3)));
    for i in 0..5 {
        let at = 1 + i;
        x.write(b"a").stack(&format!("P. {at}:{}(1) ack 1", at + 1));
        x.skip(secs(2)).peer(&format!(". 1:1(0) ack {}", at + 1)).state_is("ESTABLISHED");
    }
    x.skip(secs(100)).state_is("ESTABLISHED");
}

/// What the peer asks for by an option is no concern of ours: 100 minutes, or one second.
///
/// conformance: 5482-2-option, 5482-3.2-api
#[test]
fn the_peer_does_not_set_our_user_timeout() {
    for option in ["1c048064", "1c040001"] {
        for own in [Some(secs(3)), None] {
            let mut x = Exchange::established();
            own.into_iter().for_each(|time| {
                x.set(Opt::UserTimeout(time));
            });
            x.peer(&format!("P. 1:11(10) ack 1 <raw {option}>")).reads(10).ignore();
            x.write(b"a").stack("P. 1:2(1) ack 11");
            x.skip(ms(2_900)).state_is("ESTABLISHED").skip(ms(300));
            x.state_is(if own.is_some() { "CLOSED" } else { "ESTABLISHED" });
        }
    }
}

/// conformance: 9293-MUST-25
#[test]
fn an_idle_connection_says_nothing() {
    let mut x = Exchange::established();
    x.quiet_for(secs(24 * 3600)).state_is("ESTABLISHED");
}

/// conformance: 9293-MUST-28, 9293-MAY-5, 9293-SHLD-12
#[test]
fn keepalive_probes_after_two_hours_without_data() {
    let mut x = Exchange::established();
    x.set(Opt::KeepAlive(true)).quiet_for(secs(7199));
    x.after(secs(1)).stack(". 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").quiet_for(secs(7199));
    x.after(secs(1)).stack(". 0:0(0) ack 1");
}

/// conformance: 9293-MUST-24, 9293-MUST-27
#[test]
fn keepalive_is_set_for_one_connection_with_its_own_times() {
    let mut x = Exchange::established();
    x.on_port(41_001).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").accept();
    x.set(Opt::KeepAlive(true))
        .set(Opt::KeepIdle(secs(10)))
        .set(Opt::KeepIntvl(secs(2)))
        .set(Opt::KeepCnt(3));
    x.quiet_for(ms(9_999)).after(ms(1)).stack(". 0:0(0) ack 1");
    x.after(secs(2)).stack(". 0:0(0) ack 1");
    x.after(secs(2)).stack(". 0:0(0) ack 1");
    x.skip(secs(3)).state_is("CLOSED");
    assert_eq!(x.error(), Some(Errno::ETIMEDOUT));
    x.on_port(40_000).state_is("ESTABLISHED");
}

/// conformance: 9293-MUST-29
#[test]
fn one_lost_probe_kills_nobody() {
    let mut x = Exchange::established();
    x.set(Opt::KeepIdle(secs(10))).set(Opt::KeepIntvl(secs(2))).set(Opt::KeepCnt(1));
    x.set(Opt::KeepCnt(2)).set(Opt::KeepAlive(true));
    x.after(secs(10)).stack(". 0:0(0) ack 1");
    x.after(secs(2)).stack(". 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").state_is("ESTABLISHED");
    x.quiet_for(ms(9_999)).state_is("ESTABLISHED");
}

/// conformance: 9293-MUST-26
#[test]
fn traffic_postpones_the_probe_and_unacked_data_prevents_it() {
    let mut x = Exchange::established();
    x.set(Opt::KeepIdle(secs(10))).set(Opt::KeepAlive(true));
    x.after(secs(9)).peer("P. 1:2(1) ack 1").reads(1);
    x.after(ms(40)).stack(". 1:1(0) ack 2");
    x.quiet_for(ms(9_900)).after(ms(60)).stack(". 0:0(0) ack 2");
    x.peer(". 2:2(0) ack 1").write(b"a").stack("P. 1:2(1) ack 2");
    let mut passed = Duration::ZERO;
    while passed < secs(60) {
        passed += x.until("P. 1:2(1) ack 2");
    }
}

/// A probe of the peer is answered, and proves that it lives.
#[test]
fn a_probe_from_the_peer_is_answered() {
    let mut x = Exchange::established();
    x.peer(". 0:0(0) ack 1").stack(". 1:1(0) ack 1");
    x.after(secs(10)).peer(". 0:1(1) ack 1").stack(". 1:1(0) ack 1");
    x.reads_nothing();
}

/// What a listener was told, its connections do.
#[test]
fn keepalive_is_inherited_from_the_listener() {
    let setup = Setup::new().option(Opt::KeepAlive(true)).option(Opt::KeepIdle(secs(5)));
    let mut x = setup.established();
    x.quiet_for(ms(4_999)).after(ms(1)).stack(". 0:0(0) ack 1");
}

/// conformance: 9293-3.10.8-rto
#[test]
fn an_orphan_is_given_up_sooner() {
    let mut x = Exchange::established();
    x.write(b"a").stack("P. 1:2(1) ack 1");
    x.close().stack("F. 2:2(0) ack 1");
    let start = x.now;
    let mut copies = 0;
    while x.state() != "CLOSED" {
        x.until_something_happens();
        copies += x.take_all().len();
    }
    assert_eq!(copies, 8, "tcp_orphan_retries");
    assert!(x.now.since(start) < secs(200));
}

/// More orphans than the host will keep are reset.
#[test]
fn the_number_of_orphans_is_bounded() {
    let mut x = Setup::new().config(|config| config.tcp_max_orphans = 1).listening();
    for (port, expected) in [(41_001, "F. 1:1(0) ack 1"), (41_002, "R. 1:1(0) ack 1")] {
        x.on_port(port).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
        x.peer(". 1:1(0) ack 1").accept();
        x.close().stack(expected);
    }
}
