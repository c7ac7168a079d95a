//! Opening: passive, active, simultaneous; what is offered, what is answered, what is tried again.

use crate::common::exchange::{Exchange, Setup};
use crate::common::packet::{TcpOption, walk};
use crate::common::{Errno, ms, secs};
use tunstack::host::{MsgFlags, Opt, Readiness, RxMeta};

/// conformance: 9293-3.10.1-closed-passive, 9293-3.10.7.2-syn, 9293-MUST-14, 9293-SHLD-5
#[test]
fn a_listener_answers_a_syn_and_the_ack_establishes() {
    let mut x = Exchange::listening();
    x.quiet_for(secs(10));
    x.peer("S 0:0(0) win 1000 <mss 1460>");
    x.stack("S. 0:0(0) ack 1 <mss 1460>");
    x.state_is("SYN-RECEIVED");
    assert_eq!(x.try_accept(), Err(Errno::EAGAIN));
    x.peer(". 1:1(0) ack 1").accept().state_is("ESTABLISHED").quiet_for(secs(10));
}

/// conformance: 9293-3.10.1-closed-active, 9293-3.10.7.3-synack
#[test]
fn connect_sends_a_syn_and_acks_the_answer() {
    let mut x = Exchange::connecting();
    x.state_is("SYN-SENT");
    assert!(!x.ready().contains(Readiness::WRITABLE));
    x.peer("S. 0:0(0) ack 1 <mss 1460>");
    x.stack(". 1:1(0) ack 1");
    x.state_is("ESTABLISHED");
    assert!(x.ready().contains(Readiness::WRITABLE));
    assert_eq!(x.error(), None);
}

/// The order of options is Linux's, which middle boxes and fingerprints know.
#[test]
fn a_syn_offers_what_linux_offers_in_its_order() {
    let mut x = Setup::new().closed();
    let tcp = x.connect_and_see("S 0:0(0) <mss 1460,sackOK,TS val * ecr 0,nop,wscale 10>");
    assert_eq!(tcp.window, 64240, "44 segments of 1460, as Linux starts with");
}

/// conformance: 7323-2.2-syn-only, 7323-3.2-syn, 2018-2-permitted-syn
#[test]
fn a_syn_ack_has_no_option_that_the_syn_had_not() {
    for offered in 0..8 {
        let mut options = vec!["mss 1460"];
        let all = [(1, "sackOK"), (2, "TS val 7 ecr 0"), (4, "wscale 3")];
        options.extend(all.iter().filter(|(bit, _)| offered & bit != 0).map(|(_, text)| *text));
        let mut x = Exchange::listening();
        x.peer(&format!("S 0:0(0) <{}>", options.join(",")));
        let found = walk(&x.stack("S. 0:0(0) ack 1").options).expect("legal options");
        let has = |check: fn(&TcpOption) -> bool| found.iter().any(check);
        assert_eq!(has(|o| matches!(o, TcpOption::SackOk)), offered & 1 != 0, "{options:?}: {found:?}");
        assert_eq!(
            has(|o| matches!(o, TcpOption::Timestamps(_, 7))),
            offered & 2 != 0,
            "{options:?}: {found:?}"
        );
        assert_eq!(has(|o| matches!(o, TcpOption::Scale(_))), offered & 4 != 0, "{options:?}: {found:?}");
    }
}

/// conformance: 9293-MUST-10, 9293-3.10.7.3-simopen
#[test]
fn crossing_syns_open_one_connection() {
    let mut x = Exchange::connecting();
    x.peer("S 0:0(0) win 900 <mss 1460>");
    x.stack("S. 0:0(0) ack 1");
    x.state_is("SYN-RECEIVED");
    x.peer(". 1:1(0) ack 1").state_is("ESTABLISHED");
    x.patient().write(b"hello").stack("P. 1:6(5) ack 1");
    x.peer("P. 1:4(3) ack 6").reads(3);
    x.after(ms(40)).stack(". 6:6(0) ack 4");
}

/// What a crossing SYN carries is not acknowledged with it: it comes again.
#[test]
fn text_on_a_crossing_syn_arrives_once() {
    let mut x = Exchange::connecting();
    x.peer("S 0:10(10) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").state_is("ESTABLISHED").patient().reads_nothing();
    x.peer("P. 1:11(10) ack 1").reads(10).reads_nothing();
    x.after(ms(40)).stack(". 1:1(0) ack 11");
}

/// The answer of a peer that does the same at the same time: its SYN-ACK has the sequence number of its SYN.
/// conformance: 9293-A.2-seq-validation
#[test]
fn crossing_syn_acks_establish_too() {
    let mut x = Exchange::connecting();
    x.peer("S 0:0(0) <mss 1460>");
    x.stack("S. 0:0(0) ack 1");
    x.peer("S. 0:0(0) ack 1 <mss 1460>");
    x.quiet().state_is("ESTABLISHED");
    x.peer(". 1:1(0) ack 1").quiet_for(secs(5));
}

/// conformance: 9293-MUST-11, 9293-3.10.7.4-rst-synrcvd
#[test]
fn a_reset_in_syn_received_depends_on_who_opened() {
    let mut x = Setup::new().syn_received();
    x.peer("R 1:1(0)").state_is("CLOSED").quiet_for(secs(60));
    x.again(7_000_000).peer("S 0:0(0) <mss 1460>");
    x.stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").accept();

    let mut x = Exchange::connecting();
    x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.peer("R 1:1(0)").quiet().state_is("CLOSED");
    assert_eq!(x.error(), Some(Errno::ECONNREFUSED));
}

/// conformance: 9293-3.5.3-rst-synsent, 9293-3.10.7.3-rst-acceptable
#[test]
fn only_a_reset_that_acks_our_syn_refuses() {
    let mut x = Exchange::connecting();
    x.peer("R 0:0(0)").peer("R. 0:0(0) ack 0").peer("R. 0:0(0) ack 2").quiet().state_is("SYN-SENT");
    x.peer("R. 0:0(0) ack 1").quiet();
    assert!(x.ready().contains(Readiness::ERROR));
    assert_eq!(x.error(), Some(Errno::ECONNREFUSED));
    assert_eq!(x.error(), None);
    x.quiet_for(secs(300));
}

/// conformance: 9293-3.10.7.3-bad-ack, 9293-3.10.7.3-ack-range, 9293-3.4-ack-acceptable
#[test]
fn a_wrong_syn_ack_is_reset_and_the_attempt_goes_on() {
    let mut x = Exchange::connecting();
    x.peer("S. 0:0(0) ack 0 <mss 1460>").stack("R 0:0(0)");
    x.peer("S. 0:0(0) ack 2 <mss 1460>").stack("R 2:2(0)");
    x.peer(". 0:0(0) ack 1").quiet();
    x.peer("F 0:0(0)").quiet();
    x.state_is("SYN-SENT");
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack(". 1:1(0) ack 1");
    x.state_is("ESTABLISHED");
}

/// conformance: 9293-3.10.7.4-fin-unsync
#[test]
fn a_fin_in_syn_sent_is_dropped() {
    let mut x = Exchange::connecting();
    x.peer("F. 0:0(0) ack 1").quiet().state_is("SYN-SENT");
}

/// conformance: 9293-3.10.7.3-synack-data
#[test]
fn text_and_fin_on_the_syn_ack_are_taken() {
    let mut x = Exchange::connecting();
    x.peer("SFP. 0:10(10) ack 1 <mss 1460>");
    x.stack(". 1:1(0) ack 12");
    x.state_is("CLOSE-WAIT").reads(10).reads_end();
}

/// conformance: 9293-3.10.7.2-syn-data
#[test]
fn text_on_a_syn_arrives_once() {
    let mut x = Exchange::listening();
    x.peer("S 0:10(10) <mss 1460>");
    x.stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").accept().patient().reads_nothing();
    x.peer("P. 1:11(10) ack 1").reads(10);
    x.after(ms(40)).stack(". 1:1(0) ack 11");
}

/// conformance: 9293-3.10.7.4-ack-synrcvd-ok
#[test]
fn data_completes_the_handshake_when_its_ack_was_lost() {
    let mut x = Setup::new().syn_received();
    x.peer("P. 1:6(5) ack 1").stack(". 1:1(0) ack 6");
    x.accept().reads(5);
}

/// conformance: 9293-3.10.7.4-fin-estab
#[test]
fn the_last_ack_may_carry_a_fin() {
    let mut x = Setup::new().syn_received();
    x.peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    x.accept().state_is("CLOSE-WAIT").reads_end();
}

/// conformance: 9293-3.10.7.4-ack-synrcvd-bad
#[test]
fn a_wrong_last_ack_is_reset_and_the_right_one_still_establishes() {
    let mut x = Setup::new().syn_received();
    x.peer(". 1:1(0) ack 0").stack("R 0:0(0)");
    x.peer(". 1:1(0) ack 2").stack("R 2:2(0)");
    x.state_is("SYN-RECEIVED").peer(". 1:1(0) ack 1").accept();
}

/// conformance: 9293-3.10.7.4-syn-synrcvd-passive
#[test]
fn a_repeated_syn_gets_the_same_syn_ack() {
    let mut x = Setup::new().syn_received();
    x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1 <mss 1460>");
    let old = x.isns_of_flow().0;
    // Another SYN within the window: the half-open connection goes, and LISTEN takes the new one.
    x.again(1_000_001).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    assert_ne!(x.isns_of_flow().0, old);
    x.peer(". 1:1(0) ack 1").accept().state_is("ESTABLISHED");
}

/// conformance: 6298-2.1-initial, 9293-3.10.8-rto, 9293-MUST-23
#[test]
fn a_syn_is_sent_again_with_doubling_gaps_for_three_minutes() {
    let mut x = Exchange::connecting();
    let mut total = secs(0);
    for gap in [1, 2, 4, 8, 16, 32, 64, 120] {
        x.after(secs(gap)).stack("S 0:0(0)");
        total += secs(gap);
    }
    assert!(total >= secs(180), "the last SYN goes after {total}");
    x.quiet_for(secs(119)).state_is("SYN-SENT").quiet_for(secs(2));
    assert_eq!(x.error(), Some(Errno::ETIMEDOUT));
    x.state_is("CLOSED").quiet_for(secs(600));
}

#[test]
fn every_copy_of_a_syn_is_the_same_but_for_its_timestamp() {
    let mut x = Setup::new().closed();
    let first = x.connect_and_see("S 0:0(0) <mss 1460,sackOK,TS val * ecr 0,nop,wscale 10>");
    x.after(secs(1));
    let second = x.stack("S 0:0(0) <mss 1460,sackOK,TS val * ecr 0,nop,wscale 10>");
    assert_eq!((first.window, first.src_port, first.seq), (second.window, second.src_port, second.seq));
    let mut x = Exchange::listening();
    let expected = "S. 0:0(0) ack 1 <mss 1460,sackOK,TS val * ecr 7,nop,wscale 10>";
    let first = x.peer("S 0:0(0) <mss 1460,sackOK,TS val 7 ecr 0,nop,wscale 3>").stack(expected);
    let second = x.after(secs(1)).stack(expected);
    assert_eq!((first.window, first.seq), (second.window, second.seq));
}

#[test]
fn a_syn_ack_is_sent_again_and_the_embryo_then_forgotten() {
    let mut x = Setup::new().syn_received();
    for gap in [1, 2, 4, 8, 16] {
        x.after(secs(gap)).stack("S. 0:0(0) ack 1");
    }
    x.quiet_for(secs(33)).state_is("CLOSED");
    x.peer(". 1:1(0) ack 1").stack("R 1:1(0)");
}

/// What went wrong before the handshake came through is no error of the connection.
#[test]
fn a_handshake_that_was_hard_leaves_no_error() {
    let mut x = Exchange::connecting();
    x.peer_icmp(3, 1, 0, "S 0:0(0)").quiet();
    for gap in [1, 2, 4, 8] {
        x.after(secs(gap)).stack("S 0:0(0)");
    }
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack(". 1:1(0) ack 1");
    assert_eq!(x.error(), None);
}

/// A SYN that comes at the very moment when its half-open connection is given up leaves nothing behind.
#[test]
fn an_embryo_given_up_with_something_to_say_is_forgotten() {
    let mut x = Setup::new().syn_received();
    for gap in [1, 2, 4, 8, 16] {
        x.after(secs(gap)).stack("S. 0:0(0) ack 1");
    }
    x.now = x.host.next_timeout().expect("the last wait");
    let syn = x.peer_bytes("S 0:0(0) <mss 1460>");
    x.user("SYN and timeout together", |host, now| {
        host.receive(now, &syn, RxMeta::default());
        host.advance(now);
    });
    x.ignore();
    let left = x.host.sockets();
    assert!(left.iter().all(|socket| socket.state == "LISTEN"), "{left:?}");
    x.peer("S 0:0(0) <mss 1460>").again(1_000_000).stack("S. 0:0(0) ack 1");
}

/// conformance: 9293-MUST-22
#[test]
fn a_silent_peer_is_a_soft_error_at_first_and_then_a_timeout() {
    let mut x = Exchange::connecting();
    x.peer_icmp(3, 1, 0, "S 0:0(0)").quiet().state_is("SYN-SENT");
    for gap in [1, 2, 4, 8, 16, 32, 64, 120] {
        x.after(secs(gap)).stack("S 0:0(0)");
    }
    x.quiet_for(secs(121));
    assert_eq!(x.error(), Some(Errno::EHOSTUNREACH), "what the network said is the better reason");
}

/// conformance: 9293-3.10.7.2-backlog
#[test]
fn a_full_backlog_drops_the_syn_and_takes_its_repetition() {
    let mut x = Setup::new().backlog(1).listening();
    for port in [41_001, 41_002] {
        x.on_port(port).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
        x.peer(". 1:1(0) ack 1").quiet();
    }
    x.on_port(41_003).peer("S 0:0(0) <mss 1460>").quiet_for(secs(1));
    x.on_port(41_001).accept();
    x.on_port(41_003).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").quiet();
}

/// Whoever finds the accept queue full at its last ACK is heard again with its next segment.
#[test]
fn a_handshake_that_finds_no_room_is_kept_and_finished_later() {
    let mut x = Setup::new().backlog(1).syn_received();
    x.peer(". 1:1(0) ack 1").quiet();
    for port in [41_001, 41_002] {
        x.on_port(port).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    }
    x.on_port(41_001).peer(". 1:1(0) ack 1").quiet();
    x.on_port(41_002).peer(". 1:1(0) ack 1").quiet().state_is("SYN-RECEIVED");
    x.on_port(40_000).accept();
    x.on_port(41_002).after(secs(1)).stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1");
    x.on_port(41_001).accept();
    x.on_port(41_002).accept().quiet_for(secs(5));
}

/// conformance: 9293-3.10.4-syn-sent
#[test]
fn close_in_syn_sent_is_silent_and_the_late_answer_is_reset() {
    let mut x = Exchange::connecting();
    x.close().quiet_for(secs(10));
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack("R 1:1(0)");
}

#[test]
fn a_listener_that_closes_forgets_its_embryos() {
    let mut x = Setup::new().syn_received();
    x.close_listener().quiet();
    x.peer(". 1:1(0) ack 1").stack("R 1:1(0)");
    x.quiet_for(secs(10));
}

/// conformance: 9293-3.10.4-listen
#[test]
fn a_closed_listener_resets_who_waited_and_refuses_who_comes() {
    let mut x = Setup::new().syn_received();
    x.peer(". 1:1(0) ack 1").quiet();
    x.close_listener().stack("R. 1:1(0) ack 1");
    x.on_port(41_001).peer("S 0:0(0) <mss 1460>").stack("R. =0:=0(0) ack 1");
}

/// conformance: 9293-3.10.2-syn
#[test]
fn what_is_written_before_the_handshake_leaves_after_it() {
    let mut x = Exchange::connecting();
    match x.try_write(&[7; 100], MsgFlags::empty()) {
        Ok(n) => {
            assert_eq!(n, 100);
            x.peer("S. 0:0(0) ack 1 <mss 1460>").stack("P. 1:101(100) ack 1");
        }
        // Linux' non-blocking send says that there is no room yet.
        Err(e) => {
            assert_eq!(e, Errno::EAGAIN);
            x.peer("S. 0:0(0) ack 1 <mss 1460>").stack(". 1:1(0) ack 1");
            x.write(&[7; 100]).stack("P. 1:101(100) ack 1");
        }
    }
}

/// conformance: 9293-3.10.3-pre-estab
#[test]
fn a_read_before_the_handshake_would_wait() {
    let mut x = Exchange::connecting();
    x.reads_nothing();
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack(". 1:1(0) ack 1");
    x.patient().reads_nothing().peer("P. 1:6(5) ack 1").reads(5);
    x.after(ms(40)).stack(". 1:1(0) ack 6");
}

/// conformance: 5681-3.1-syn-loss
#[test]
fn a_syn_that_was_lost_twice_starts_with_one_segment() {
    let mut x = Exchange::connecting();
    x.after(secs(1)).stack("S 0:0(0)");
    x.after(secs(2)).stack("S 0:0(0)");
    x.peer("S. 0:0(0) ack 1 <mss 1000>").stack(". 1:1(0) ack 1");
    x.write_octets(5000).stack(". 1:1001(1000) ack 1");
    x.quiet();
}

/// conformance: 9293-3.10.7.2-concretize
#[test]
fn a_wildcard_listener_answers_from_the_address_that_was_asked() {
    let mut x = Setup::new().closed();
    let cidr = "10.9.0.3/24".parse().expect("an address");
    x.host.add_address(cidr).expect("legal");
    x.checker.add_address(cidr.address);
    x.listen_on("0.0.0.0:80");
    x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.at_stack_address(cidr.address, 41_001).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.peer(". 1:1(0) ack 1").quiet();
}

/// conformance: 9293-MUST-57
#[test]
fn a_syn_to_many_gets_no_answer() {
    let mut x = Setup::new().closed();
    x.listen_on("0.0.0.0:80");
    for address in ["255.255.255.255", "10.9.0.255", "224.0.0.1"] {
        x.at_stack_address(address.parse().expect("an address"), 41_000).peer("S 0:0(0) <mss 1460>");
        x.quiet_for(secs(2));
    }
    let mut x = Setup::new().v6().closed();
    x.listen_on("[::]:80");
    x.at_stack_address("ff02::1".parse().expect("an address"), 41_000).peer("S 0:0(0) <mss 1440>");
    x.quiet_for(secs(2));
}

/// conformance: 9293-MUST-63
#[test]
fn a_syn_from_nowhere_gets_no_answer() {
    let mut x = Setup::new().closed();
    x.listen_on("0.0.0.0:80");
    for address in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "10.9.0.255", "127.0.0.1", "10.9.0.2"] {
        x.at_peer_address(address.parse().expect("an address")).peer("S 0:0(0) <mss 1460>");
        x.quiet_for(secs(2));
    }
    let mut x = Setup::new().v6().closed();
    x.listen_on("[::]:80");
    for address in ["::", "ff02::1", "::1", "fd09::2"] {
        x.at_peer_address(address.parse().expect("an address")).peer("S 0:0(0) <mss 1440>");
        x.quiet_for(secs(2));
    }
}

/// conformance: 9293-MUST-42
#[test]
fn a_half_open_connection_does_not_block_a_listener() {
    let mut x = Setup::new().closed();
    x.bind_and_connect(4000, true).stack("S 0:0(0)");
    x.listen_on("10.9.0.2:4000");
    x.on_port(41_001).at_stack_port(4000).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
}

/// conformance: 9293-MUST-41
#[test]
fn a_new_listener_leaves_live_connections_alone() {
    let mut x = Setup::new().option(Opt::ReuseAddr(true)).established();
    x.close_listener();
    x.listen_on("10.9.0.2:80");
    x.write(b"still").stack("P. 1:6(5) ack 1");
    x.peer("P. 1:3(2) ack 6").reads(2).state_is("ESTABLISHED");
    x.after(ms(40)).stack(". 6:6(0) ack 3");
}
