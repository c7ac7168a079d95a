//! `TCP_INFO`: what a connection tells of itself, in Linux's terms.

use super::common::exchange::{Exchange, Setup};
use super::common::ms;
use super::rack::{flying, path};

/// tcpi_ca_state: Open, Disorder, Recovery, and after a timeout Loss.
#[test]
fn it_tells_what_is_done_about_losses() {
    let mut x = flying(10);
    assert_eq!(x.info().ca_state, 0);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>").take_all();
    assert_eq!((x.info().ca_state, x.info().sacked, x.info().delivered), (1, 1, 1 + 1));
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:4001>").take_all();
    let info = x.info();
    assert_eq!((info.ca_state, info.sacked, info.retrans, info.lost, info.delivered), (3, 3, 1, 1, 1 + 3));
    x.until(". 1:1001(1000) ack 1");
    assert_eq!((x.info().ca_state, x.info().retransmits), (4, 1));
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:10001>").take_all();
    x.peer(&format!(". 1:1(0) ack {}", x.stack_nxt())).take_all();
    assert_eq!(x.info().ca_state, 0);
}

/// tcpi_delivery_rate: ten segments of 1000 octets in a round trip of 100 ms. They were offered when there was nothing else to send, so
/// as on Linux it is the application's rate.
#[test]
fn it_tells_the_rate_of_delivery() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 10001").ignore();
    let info = x.info();
    assert_eq!((info.delivery_rate, info.app_limited, info.delivered), (100_000, true, 1 + 10));
    assert_eq!(info.min_rtt, 100_000);
}

/// tcpi_app_limited: the rate is what the application offers while it offers less than the path takes, also where Nagle's algorithm or
/// an empty flight lies between (as Linux's `tcp_rate_check_app_limited`).
#[test]
fn it_tells_that_the_application_limits_the_rate() {
    let mut x = path(|_| {});
    for n in 0..5 {
        // The second one waits for the acknowledgment of the first.
        x.write_octets(500).ignore_but_learn();
        x.write_octets(500).ignore_but_learn();
        let una = 1 + 1000 * n;
        x.after(ms(100)).peer(&format!(". 1:1(0) ack {}", una + 500)).ignore_but_learn();
        assert!(x.info().app_limited, "{n}: alone");
        x.after(ms(100)).peer(&format!(". 1:1(0) ack {}", una + 1000)).ignore();
        assert!(x.info().app_limited, "{n}: held back");
    }
    x.write_octets(100_000).ignore_but_learn();
    for _ in 0..3 {
        x.after(ms(100));
        let all = x.stack_nxt();
        x.peer(&format!(". 1:1(0) ack {all}")).ignore_but_learn();
    }
    assert!(!x.info().app_limited, "a full window");
}

/// tcpi_reordering: by how many segments something was late; three until more was seen.
#[test]
fn it_tells_how_far_things_are_reordered() {
    let mut x = flying(20);
    assert_eq!(x.info().reordering, 3);
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:3001>").ignore();
    x.peer(". 1:1(0) ack 3001").ignore();
    assert_eq!((x.info().reordering, x.info().reord_seen), (3, 1));
    x.peer(". 1:1(0) ack 3001 <nop,nop,sack 9001:10001>").ignore();
    x.peer(". 1:1(0) ack 4001 <nop,nop,sack 9001:10001>").ignore();
    assert_eq!((x.info().reordering, x.info().reord_seen), (7, 2));
}

/// tcpi_dsack_dups counts segments.
#[test]
fn it_tells_how_many_segments_came_twice() {
    let mut x = flying(10);
    x.peer(". 1:1(0) ack 5001").ignore();
    x.peer(". 1:1(0) ack 5001 <nop,nop,sack 1:5001>").ignore();
    assert_eq!((x.info().dsack_dups, x.counter("TcpExtTCPDSACKRecv")), (5, 1));
}

/// tcpi_busy_time and tcpi_rwnd_limited.
#[test]
fn it_tells_what_the_time_went_to() {
    let mut x = path(|_| ());
    x.quiet_for(ms(500));
    assert_eq!(x.info().busy_time, 0, "idle");
    x.peer(". 1:1(0) ack 1 win 2");
    x.write_octets(1000);
    x.ignore();
    x.skip(ms(30));
    let info = x.info();
    assert_eq!((info.busy_time, info.rwnd_limited), (30_000, 30_000));
    x.peer(". 1:1(0) ack 1 win 1000").ignore();
    x.skip(ms(20));
    x.peer(". 1:1(0) ack 1001 win 1000");
    x.skip(ms(50));
    let info = x.info();
    assert_eq!((info.busy_time, info.rwnd_limited, info.sndbuf_limited), (50_000, 30_000, 0));
}

/// What the kernel shows of connections that have just begun, and of a listener.
#[test]
fn it_counts_the_handshake_and_tells_of_a_listener() {
    let counts = |x: &Exchange| {
        let info = x.info();
        (info.segs_out, info.segs_in, info.delivered, info.bytes_acked, info.ato)
    };
    let mut x = Setup::new().connecting();
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack(". 1:1(0) ack 1");
    assert_eq!(counts(&x), (2, 1, 1, 1, 0));
    x.peer("P. 1:101(100) ack 1").ignore();
    assert_eq!((x.info().segs_in, x.info().ato), (2, 40_000));
    let mut x = Setup::new().syn_received();
    x.peer(". 1:1(0) ack 1").accept();
    assert_eq!(counts(&x), (0, 2, 1, 0, 0));
    let info = x.host.tcp_info(x.now, x.listener.expect("it listens")).expect("a listener");
    assert_eq!((info.state, info.unacked, info.snd_cwnd, info.reordering), ("LISTEN", 0, 10, 3));
    assert!(info.sacked > 0, "its backlog");
}

/// tcpi_lost: what goes again as a probe is not thought lost.
#[test]
fn a_probe_is_no_loss() {
    let mut x = path(|_| ());
    x.write_octets(3000);
    x.sends(1, 3, 1000);
    x.until("P. 2001:3001(1000) ack 1");
    assert_eq!((x.info().lost, x.info().retrans, x.info().unacked), (0, 1, 3));
}
