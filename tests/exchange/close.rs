//! Closing: four segments, three, crossing, half, and with data left.

use crate::common::exchange::{Exchange, Setup};
use crate::common::{Errno, ms, secs};
use tunstack::host::{Opt, Readiness, Shutdown};

/// conformance: 9293-3.10.4-estab, 9293-3.10.7.4-ack-finwait1, 9293-3.10.7.4-fin-finwait2
#[test]
fn the_active_close_takes_four_segments() {
    let mut x = Exchange::established();
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    x.state_is("FIN-WAIT-1").peer(". 1:1(0) ack 2").state_is("FIN-WAIT-2").quiet();
    x.peer("F. 1:1(0) ack 2").stack(". 2:2(0) ack 2");
    x.state_is("TIME-WAIT").reads_end();
}

/// conformance: 9293-3.10.7.4-ack-finwait1, 9293-3.10.7.4-fin-finwait1
#[test]
fn a_fin_that_acks_ours_goes_straight_to_time_wait() {
    let mut x = Exchange::established();
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    x.peer("F. 1:1(0) ack 2").stack(". 2:2(0) ack 2");
    x.state_is("TIME-WAIT");
}

/// conformance: 9293-3.6-simultaneous-close, 9293-3.10.7.4-ack-closing, 9293-3.10.7.4-fin-finwait1
#[test]
fn crossing_fins_pass_through_closing() {
    let mut x = Exchange::established();
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    x.peer("F. 1:1(0) ack 1").stack(". 2:2(0) ack 2");
    x.state_is("CLOSING");
    x.peer(". 2:2(0) ack 1").quiet().state_is("CLOSING");
    x.peer(". 2:2(0) ack 2").quiet().state_is("TIME-WAIT");
}

/// conformance: 9293-3.10.7.4-fin-repeat
#[test]
fn a_repeated_fin_is_acked_and_changes_nothing() {
    let mut x = Exchange::established();
    x.peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    x.reads_end().after(secs(1)).peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    x.state_is("CLOSE-WAIT").reads_end();
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 2");
    x.after(ms(100)).peer("F. 1:1(0) ack 1").stack(". 2:2(0) ack 2");
    x.state_is("LAST-ACK");
}

/// conformance: 9293-3.10.7.4-fin-estab, 9293-3.10.4-close-wait, 9293-3.10.7.4-ack-lastack
#[test]
fn the_passive_close_ends_with_the_last_ack() {
    let mut x = Exchange::established();
    x.peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    x.state_is("CLOSE-WAIT").reads_end();
    x.write_octets(2000);
    x.stack(". 1:1461(1460) ack 2");
    x.stack("P. 1461:2001(540) ack 2");
    x.close().stack("F. 2001:2001(0) ack 2");
    x.state_is("LAST-ACK").peer(". 2:2(0) ack 1461").quiet();
    x.peer(". 2:2(0) ack 2002").quiet().state_is("CLOSED");
    x.peer(". 2:2(0) ack 2002").stack("R 2002:2002(0)");
}

/// conformance: 9293-3.10.4-estab, 9293-3.6-fin-reliable
#[test]
fn fin_rides_on_the_last_data() {
    let mut x = Setup::new().window(2000).established();
    x.write_octets(2920).stack(". 1:1461(1460) ack 1");
    x.close().quiet();
    x.peer(". 1:1(0) ack 1461").stack("FP. 1461:2921(1460) ack 1");
    x.state_is("FIN-WAIT-1").peer(". 1:1(0) ack 2922").state_is("FIN-WAIT-2");
}

/// conformance: 9293-3.6-fin-reliable
#[test]
fn all_that_was_queued_arrives_before_the_fin() {
    let mut x = Exchange::established();
    let len = 100_000;
    x.write_octets(len);
    let mut sent = x.take_all();
    x.close();
    let mut next = 1;
    'stream: loop {
        sent.extend(x.take_all());
        for tcp in sent.drain(..) {
            let seq = i64::from(tcp.seq.wrapping_sub(x.isns_of_flow().0));
            assert_eq!(seq, next, "in order, nothing is lost here");
            next += tcp.payload.len() as i64;
            if tcp.has(crate::common::packet::FIN) {
                break 'stream;
            }
        }
        x.after(ms(10)).peer(&format!(". 1:1(0) ack {next}"));
    }
    assert_eq!(next, 1 + len as i64);
}

/// conformance: 9293-3.6-read-after-close, 9293-3.10.3-estab, 9293-3.10.7.4-text
#[test]
fn the_other_half_goes_on_after_ours_is_closed() {
    let mut x = Exchange::established();
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    x.peer(". 1:1(0) ack 2");
    for i in 0..50 {
        let seq = 1 + 2000 * i;
        x.peers(&[
            &format!(". {seq}:{}(1000) ack 2", seq + 1000),
            &format!("P. {}:{}(1000) ack 2", seq + 1000, seq + 2000),
        ]);
        x.take_all();
        x.reads(2000).skip(ms(50));
    }
    x.peer("F. 100001:100001(0) ack 2").stack(". 2:2(0) ack 100002");
    x.reads_end().state_is("TIME-WAIT");
}

/// conformance: 9293-3.10.2-closing, 9293-3.10.4-fin-wait
#[test]
fn nothing_is_sent_after_our_fin() {
    let mut x = Exchange::established();
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    x.write_fails(Errno::EPIPE).shutdown(Shutdown::Write).quiet();
    x.peer(". 1:1(0) ack 2").write_fails(Errno::EPIPE);
    x.close().quiet();
    x.peer("F. 1:1(0) ack 2").stack(". 2:2(0) ack 2");
}

/// conformance: 9293-3.10.3-close-wait, 9293-3.10.7.4-fin-generic, 9293-3.4-seglen
#[test]
fn a_fin_with_data_is_acked_at_once_and_read_in_order() {
    let mut x = Exchange::established();
    x.peer("FP. 1:11(10) ack 1").stack(". 1:1(0) ack 12");
    assert!(x.ready().contains(Readiness::READABLE | Readiness::READ_HANGUP));
    x.reads(10).reads_end().reads_end();
}

/// conformance: 9293-3.10.2-estab, 9293-3.10.7.4-ack-closewait
#[test]
fn data_still_goes_out_after_the_peers_fin_and_under_loss() {
    let mut x = Exchange::established();
    x.peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    x.write(b"hello").stack("P. 1:6(5) ack 2");
    x.until("P. 1:6(5) ack 2");
    x.peer(". 2:2(0) ack 6").quiet_for(secs(10));
    x.write(b"again").stack("P. 6:11(5) ack 2");
}

/// conformance: 9293-3.10.3-closing
#[test]
fn a_read_while_closing_finds_the_end() {
    let mut x = Exchange::established();
    x.peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 2");
    x.state_is("LAST-ACK").reads_end();
    let mut x = Exchange::established();
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    x.peer("F. 1:1(0) ack 1").stack(". 2:2(0) ack 2");
    x.state_is("CLOSING").reads_end();
    x.peer(". 2:2(0) ack 2").state_is("TIME-WAIT").reads_end();
}

/// conformance: 9293-SHLD-3
#[test]
fn close_with_unread_data_resets() {
    let mut x = Exchange::established();
    x.peer("P. 1:11(10) ack 1");
    x.close().stack("R. 1:1(0) ack 11");
    x.state_is("CLOSED").quiet_for(secs(10));
}

/// Octets that come again with the FIN were read already: nothing is lost by closing.
#[test]
fn close_after_everything_was_read_is_in_good_order() {
    let mut x = Exchange::established();
    x.peer("P. 1:11(10) ack 1").reads(10);
    x.after(ms(40)).stack(". 1:1(0) ack 11");
    x.peer("FP. 1:11(10) ack 1").stack(". 1:1(0) ack 12");
    x.close().stack("F. 1:1(0) ack 12");
    x.state_is("LAST-ACK");
}

/// Sent before the peer had seen all that we know it has, and overtaken on the way.
#[test]
fn a_fin_with_an_old_ack_counts() {
    for acked in [false, true] {
        let mut x = Exchange::established();
        x.write(b"data").stack("P. 1:5(4) ack 1");
        x.peer(". 1:1(0) ack 5").shutdown(Shutdown::Write).stack("F. 5:5(0) ack 1");
        if acked {
            x.peer(". 1:1(0) ack 6").state_is("FIN-WAIT-2");
        }
        x.peer("F. 1:1(0) ack 1").stack(". 6:6(0) ack 2");
        x.state_is(if acked { "TIME-WAIT" } else { "CLOSING" }).reads_end();
    }
}

/// conformance: 9293-SHLD-3, 9293-MAY-1
#[test]
fn data_after_close_is_reset() {
    let mut x = Exchange::established();
    let id = x.id();
    x.close().stack("F. 1:1(0) ack 1");
    let mut buf = [0; 10];
    let flags = tunstack::host::MsgFlags::empty();
    let read = x.user("recv", |host, now| host.recv(now, id, &mut buf, flags).map(|r| r.len));
    assert_eq!(read, Err(Errno::EBADF));
    x.peer(". 1:1(0) ack 2").state_is("FIN-WAIT-2");
    x.peer("P. 1:11(10) ack 2").stack("R 2:2(0)");
    x.state_is("CLOSED");
}

/// conformance: 9293-3.10.4-orphan
#[test]
fn an_orphan_in_fin_wait_2_is_forgotten_in_time() {
    let mut x = Exchange::established();
    x.close().stack("F. 1:1(0) ack 1");
    x.peer(". 1:1(0) ack 2").state_is("FIN-WAIT-2");
    x.quiet_for(secs(59)).state_is("FIN-WAIT-2");
    x.quiet_for(secs(2)).state_is("CLOSED");
    x.peer("F. 1:1(0) ack 2").stack("R 2:2(0)");
    // A time of its own.
    let mut x = Exchange::established();
    x.set(Opt::Linger2(secs(5))).close().stack("F. 1:1(0) ack 1");
    x.peer(". 1:1(0) ack 2").quiet_for(secs(4)).state_is("FIN-WAIT-2");
    x.quiet_for(secs(2)).state_is("CLOSED");
    x.peer("P. 1:11(10) ack 2").stack("R 2:2(0)");
}

/// One that a socket still holds waits as long as the peer likes.
#[test]
fn a_held_socket_in_fin_wait_2_waits_for_ever() {
    let mut x = Exchange::established();
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    x.peer(". 1:1(0) ack 2").quiet_for(secs(24 * 3600)).state_is("FIN-WAIT-2");
    x.peer("P. 1:6(5) ack 2").reads(5);
    x.after(ms(40)).stack(". 2:2(0) ack 6");
}

/// conformance: 9293-3.10.7.4-inorder
#[test]
fn a_fin_ahead_of_its_data_waits_for_it() {
    let mut x = Exchange::established();
    x.peer("FP. 11:21(10) ack 1").stack(". 1:1(0) ack 1");
    x.reads_nothing().state_is("ESTABLISHED");
    x.peer("P. 1:11(10) ack 1").stack(". 1:1(0) ack 22");
    x.state_is("CLOSE-WAIT").reads(20).reads_end();
}

/// conformance: 9293-3.10.7.4-text-late
#[test]
fn text_beyond_the_fin_is_ignored() {
    let mut x = Exchange::established();
    x.peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    x.peer("P. 2:12(10) ack 1").skip(ms(100));
    x.reads_end().state_is("CLOSE-WAIT");
    x.write(b"x").stack("P. 1:2(1) ack 2");
}

/// A FIN is data to its sender: sent again until acknowledged.
/// conformance: 9293-3.10.8-rto
#[test]
fn a_lost_fin_is_sent_again_in_each_state_that_has_one() {
    let mut x = Exchange::established();
    x.shutdown(Shutdown::Write).stack("F. 1:1(0) ack 1");
    x.until("F. 1:1(0) ack 1");
    x.peer("F. 1:1(0) ack 1").stack(". 2:2(0) ack 2");
    x.state_is("CLOSING");
    x.until("F. 1:1(0) ack 2");
    x.peer(". 2:2(0) ack 2").state_is("TIME-WAIT").quiet_for(secs(30));
    let mut x = Exchange::established();
    x.peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    x.close().stack("F. 1:1(0) ack 2");
    x.until("F. 1:1(0) ack 2");
    x.peer(". 2:2(0) ack 2").state_is("CLOSED").quiet_for(secs(30));
}

/// conformance: 9293-3.10.7.4-ack-finwait2
#[test]
fn nothing_lingers_once_the_fin_is_acked() {
    let mut x = Exchange::established();
    x.write(b"abc").stack("P. 1:4(3) ack 1");
    x.shutdown(Shutdown::Write).stack("F. 4:4(0) ack 1");
    assert!(x.host.lingers(x.id()));
    x.peer(". 1:1(0) ack 4");
    assert!(x.host.lingers(x.id()));
    x.peer(". 1:1(0) ack 5").state_is("FIN-WAIT-2");
    assert!(!x.host.lingers(x.id()));
}

/// conformance: 9293-3.10.4-syn-rcvd
#[test]
fn a_close_right_after_accept_loses_nothing() {
    let mut x = Exchange::connecting();
    x.peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1");
    x.state_is("SYN-RECEIVED").shutdown(Shutdown::Write);
    x.ignore().peer(". 1:1(0) ack 1");
    x.skip(secs(2)).peer(". 1:1(0) ack 2").state_is("FIN-WAIT-2");
}

/// A FIN for which the peer has no window is sent as a window probe until there is room.
#[test]
fn a_fin_waits_for_a_closed_window_without_giving_up() {
    let mut x = Exchange::established();
    x.peer(". 1:1(0) ack 1 win 0").write(b"abcd");
    x.close().quiet();
    let mut gaps = Vec::new();
    for _ in 0..6 {
        let start = x.now;
        x.until_anything();
        gaps.push(x.now.since(start));
        x.ignore().peer(". 1:1(0) ack 1 win 0");
    }
    assert!(gaps.windows(2).all(|pair| pair[1] >= pair[0].mul(2).saturating_sub(ms(1))), "{gaps:?}");
    x.peer(". 1:1(0) ack 1 win 1000").stack("FP. 1:5(4) ack 1");
}

/// conformance: 9293-3.10.4-late
#[test]
fn a_socket_is_closed_once() {
    let mut x = Exchange::established();
    let id = x.id();
    x.close().stack("F. 1:1(0) ack 1");
    assert_eq!(x.user("close again", |host, now| host.close(now, id)), Err(Errno::EBADF));
    x.quiet();
}

/// conformance: 9293-MUST-12
#[test]
fn the_end_of_a_stream_and_a_reset_are_told_apart() {
    let mut x = Exchange::established();
    x.peer("F. 1:1(0) ack 1").stack(". 1:1(0) ack 2");
    x.reads_end();
    let mut x = Exchange::established();
    x.peer("R 1:1(0)").read_fails(Errno::ECONNRESET).reads_end();
}
