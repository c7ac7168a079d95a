//! Buffers that grow as Linux's do: the receive window by what the user takes, the send buffer by the congestion window.

use super::common::exchange::{Exchange, Setup, data::timestamps};
use super::common::{Errno, ms};
use tunstack::base::Config;
use tunstack::host::{MsgFlags, Opt, OptName, Readiness};

const RTT: u64 = 100;

/// Full segments on a link with large packets.
fn bulk(options: &str) -> Setup {
    Setup::new().mtu(9000).syn_options(options).window(65_535)
}

const PLAIN: &str = "mss 8960,nop,wscale 7";
const STAMPED: &str = "mss 8960,sackOK,TS val * ecr *,nop,wscale 7";

/// The peer sends `len` octets at once, as far as the window allows, to a user who reads at once or not; gives how many that was.
fn peer_sends(x: &mut Exchange, len: i64, echo: Option<u32>, reads: bool) -> i64 {
    let room = x.edge.expect("a window") - x.peer_nxt();
    let (start, end) = (x.peer_nxt(), x.peer_nxt() + len.min(room));
    while x.peer_nxt() < end {
        let seq = x.peer_nxt();
        let to = (seq + 8900).min(end);
        let options = echo.map(|echo| format!("<nop,nop,TS val * ecr {echo}>")).unwrap_or_default();
        x.peer(&format!(". {seq}:{to}({}) ack 1 {options}", to - seq));
        x.ignore_but_learn();
        if reads {
            take(x);
        }
    }
    end - start
}

/// The user takes all that there is.
fn take(x: &mut Exchange) {
    let id = x.sock.expect("a socket");
    let mut buf = vec![0; 10_000];
    while x.user("recv", |host, now| host.recv(now, id, &mut buf, MsgFlags::empty())).is_ok() {
        x.ignore_but_learn();
    }
}

/// A sender that begins with three segments and doubles in each round trip, to a user who reads at once. Gives how much the sender was
/// allowed in the last round trip, and the window at its end.
fn doubles(x: &mut Exchange, rounds: u32) -> (i64, i64) {
    let (mut burst, mut sent) = (3 * 8900, 0);
    for _ in 0..rounds {
        let echo = x.latest_timestamp();
        x.pass(ms(RTT)).ignore_but_learn();
        sent = peer_sends(x, burst, echo, true);
        burst *= 2;
    }
    (sent, x.edge.expect("a window") - x.peer_nxt())
}

/// 1 Gbit/s over 100 ms is 12.5 MB: the window never holds such a sender back.
#[test]
fn the_window_stays_ahead_of_a_sender_that_doubles() {
    for options in [STAMPED, PLAIN] {
        let mut x = bulk(options).established();
        // The last round trip brings 13.7 MB, and the next may bring twice that.
        let (sent, window) = doubles(&mut x, 10);
        assert_eq!(sent, (3 * 8900) << 9, "{options}: all that it wanted to send");
        assert!(window > 2 * sent && window <= 32 << 20, "{options}: {window} after {sent}");
        assert!(matches!(x.get(OptName::RcvBuf), Opt::RcvBuf(octets) if i64::from(octets) >= window - 1024));
        let info = x.info();
        assert_eq!(info.rcv_rtt / 1000, RTT, "{options}");
        assert!(i64::from(info.rcv_space) > sent / 3 && i64::from(info.rcv_ssthresh) > 2 * sent, "{info:?}");
    }
}

/// The window of the SYN is the beginning, and TCP_INFO tells what Linux tells.
#[test]
fn the_first_window_is_that_of_linux() {
    let mut x = Setup::new().modern(7).quick().established();
    let info = x.info();
    assert_eq!((info.rcv_ssthresh, info.rcv_space, info.advmss), (64_240, 14_480, 1448));
    // Each full segment widens it by two, until the buffer is the bound.
    x.peer("P. 1:1449(1448) ack 1");
    let ack = x.stack(". 1:1(0) ack 1449");
    assert_eq!(u32::from(ack.window) << info.rcv_wscale, 67_584, "64240 + 2·1448, rounded up");
    assert!(timestamps(&ack).is_some());
    for _ in 0..200 {
        let seq = x.peer_nxt();
        x.peer(&format!("P. {seq}:{}(1448) ack 1", seq + 1448)).ignore_but_learn();
        take(&mut x);
    }
    assert_eq!((x.info().rcv_ssthresh, x.get(OptName::RcvBuf)), (131_072 - 1448, Opt::RcvBuf(131_072)));
}

#[test]
fn small_segments_widen_nothing() {
    let mut x = Setup::new().modern(7).established();
    for _ in 0..100 {
        let seq = x.peer_nxt();
        x.peer(&format!("P. {seq}:{}(100) ack 1", seq + 100)).ignore_but_learn();
        take(&mut x);
    }
    assert_eq!(x.info().rcv_ssthresh, 64_240);
}

#[test]
fn a_size_that_was_set_is_never_tuned() {
    let set = || bulk(STAMPED).option(Opt::RcvBuf(200_000));
    let off = || bulk(STAMPED).config(|c| c.tcp_moderate_rcvbuf = false);
    for (setup, most) in [(set(), 200_000), (off(), 131_072)] {
        let mut x = setup.established();
        let (_, window) = doubles(&mut x, 6);
        assert!(window > most / 2 && window <= most, "{window} of {most}");
    }
    // Set in the middle: no further growth, and what was promised stays promised.
    let mut x = bulk(STAMPED).established();
    doubles(&mut x, 4);
    let edge = x.edge;
    x.set(Opt::RcvBuf(100_000)).ignore_but_learn();
    assert_eq!(x.get(OptName::RcvBuf), Opt::RcvBuf(200_000));
    assert!(x.edge >= edge);
    for _ in 0..40 {
        peer_sends(&mut x, 100_000, None, true);
    }
    let window = x.edge.expect("a window") - x.peer_nxt();
    assert!(window <= 100_000, "{window}");
}

/// A user who reads little gets no more than the default, whatever the sender would like.
#[test]
fn a_slow_reader_keeps_a_small_window() {
    let mut x = bulk(STAMPED).established();
    let id = x.sock.expect("a socket");
    let mut buf = [0; 5000];
    for _ in 0..50 {
        let echo = x.latest_timestamp();
        x.pass(ms(RTT)).ignore_but_learn();
        peer_sends(&mut x, 1 << 20, echo, false);
        x.user("recv", |host, now| host.recv(now, id, &mut buf, MsgFlags::empty())).expect("data");
        x.ignore_but_learn();
    }
    assert_eq!(x.get(OptName::RcvBuf), Opt::RcvBuf(131_072));
}

/// Linux's numbers, as `ss -m` shows them.
fn growing() -> Setup {
    Setup::reno().config(|c| c.tcp_wmem = Config::default().tcp_wmem)
}

#[test]
fn the_send_buffer_is_twice_the_window() {
    let mut x = growing().connecting();
    assert_eq!(x.get(OptName::SndBuf), Opt::SndBuf(16_384));
    x.peer("S. 0:0(0) ack 1 <mss 1460>").stack(". 1:1(0) ack 1");
    assert_eq!(x.get(OptName::SndBuf), Opt::SndBuf(87_040));
    // It grows with the congestion window when the user finds it full, and tells of the new room.
    let mut last = 87_040;
    for _ in 0..4 {
        let data = vec![7; 1 << 20];
        let id = x.sock.expect("a socket");
        while x.user("send", |host, now| host.send(now, id, &data, MsgFlags::empty())).is_ok() {
            x.ignore_but_learn();
        }
        x.events.clear();
        // Every segment is acknowledged by itself.
        let (una, end) = (x.acked(), x.stack_nxt());
        for ack in (una + 1460..=end).step_by(1460) {
            x.peer(&format!(". 1:1(0) ack {ack}")).ignore_but_learn();
        }
        assert!(x.events.contains(&(id, Readiness::WRITABLE)), "{:?}", x.events);
        let Opt::SndBuf(now) = x.get(OptName::SndBuf) else { unreachable!() };
        assert!(now >= last && now <= 2 * x.cwnd() * 4352, "{now}, cwnd {}", x.cwnd());
        last = now;
    }
    assert!(last > 4 * 87_040, "{last}");
}

#[test]
fn a_send_buffer_with_room_does_not_grow() {
    let mut x = growing().established();
    for _ in 0..100 {
        let start = x.stack_nxt();
        x.write_octets(14_600).ignore_but_learn();
        x.peer(&format!(". 1:1(0) ack {}", start + 14_600)).ignore_but_learn();
    }
    assert!(x.cwnd() > 10);
    assert_eq!(x.get(OptName::SndBuf), Opt::SndBuf(87_040));
}

#[test]
fn a_send_buffer_that_was_set_or_has_the_largest_size_stays() {
    for (setup, size) in [
        (growing().option(Opt::SndBuf(20_000)), 20_000),
        (growing().config(|c| c.tcp_wmem = [4096, 16_384, 50_000]), 50_000),
    ] {
        let mut x = setup.established();
        let data = vec![7; 1 << 20];
        for _ in 0..20 {
            let id = x.sock.expect("a socket");
            let sent = x.user("send", |host, now| host.send(now, id, &data, MsgFlags::empty()));
            x.ignore_but_learn();
            assert!(matches!(sent, Ok(n) if n <= size) || sent == Err(Errno::EAGAIN), "{sent:?}");
            let end = x.stack_nxt();
            x.peer(&format!(". 1:1(0) ack {end}")).ignore_but_learn();
        }
        assert!(x.info().notsent_bytes as usize <= size);
    }
}
