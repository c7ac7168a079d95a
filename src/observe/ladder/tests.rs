use super::*;
use crate::observe::exchange::{Recorder, ladder_of_both};
use crate::observe::script::{Paper, Script, tcp_packet, view};
use crate::trace::{Drop, TcpState::*, Why, Why::*};
use etherparse::{IcmpEchoHeader, Icmpv4Type, PacketBuilder};

fn drawn(width: usize, play: impl FnOnce(&mut Ladder)) -> String {
    let paper = Paper::default();
    let mut ladder = Ladder::new(paper.clone(), Style::plain(width));
    play(&mut ladder);
    ladder.finish();
    let text = paper.text();
    for line in text.lines() {
        assert!(line.chars().count() <= width, "{} columns: {line}", line.chars().count());
    }
    text
}

fn check(text: &str, expected: &str) {
    let expected = expected.strip_prefix('\n').expect("starts on its own line");
    assert_eq!(text, expected, "\n{text}");
}

fn whole_connection(ladder: &mut Ladder) {
    let mut script = Script::new(ladder, 41234);
    script
        .handshake()
        .peer("P.", 1, 1, 77, Established)
        .us(".", 1, 78, 0, Ack, Established)
        .wait(200)
        .us("P.", 1, 78, 1200, Data, Established)
        .us("F.", 1201, 78, 0, Fin, FinWait1)
        .wait(200_000)
        .us("P.", 1, 78, 1200, Retransmit, FinWait1)
        .peer(".", 78, 1202, 0, FinWait2)
        .peer("F.", 78, 1202, 0, TimeWait)
        .us(".", 1202, 79, 0, Ack, TimeWait)
        .wait(60_000_000)
        .say(EventKind::State { from: TimeWait, to: Closed, why: "2 MSL are over", rfc: "RFC 9293 §3.6" });
}

#[test]
fn whole_connection_in_80_columns() {
    check(
        &drawn(80, whole_connection),
        "
       ms     this end                                                 other end
          #1  TCP 10.9.0.2:80 <> 10.9.0.1:41234
    0.000 #1  SYN-RECEIVED <─ SYN     seq 0 win 502 ───────────────     SYN-SENT
                              mss 1460, sack, timestamps, wscale 7
    0.020 #1  SYN-RECEIVED ── SYN ACK seq 0 ack 1 win 502 ────────>  ESTABLISHED
                              mss 1460, sack, timestamps, wscale 7
    0.070 #1  ESTABLISHED  <─ ACK     seq 1 ack 1 win 64256 ───────  ESTABLISHED
    0.090 #1  ESTABLISHED  <─ PSH ACK seq 1 ack 1 len 77 ──────────  ESTABLISHED
    0.110 #1  ESTABLISHED  ── ACK     seq 1 ack 78 win 64256 ─────>  ESTABLISHED
    0.330 #1  ESTABLISHED  ── PSH ACK seq 1 ack 78 len 1200 ──────>  ESTABLISHED
    0.350 #1  FIN-WAIT-1   ── FIN ACK seq 1201 ack 78 win 64256 ──>   CLOSE-WAIT
  200.370 #1  FIN-WAIT-1   ── PSH ACK seq 1 ack 78 len 1200 ──────>   CLOSE-WAIT
                              sent again: retransmission timeout
  200.390 #1  FIN-WAIT-2   <─ ACK     seq 78 ack 1202 win 64256 ───   CLOSE-WAIT
  200.410 #1  TIME-WAIT    <─ FIN ACK seq 78 ack 1202 win 64256 ───     LAST-ACK
  200.430 #1  TIME-WAIT    ── ACK     seq 1202 ack 79 win 64256 ──>       CLOSED
60200.430 #1  CLOSED         (2 MSL are over)

#1  TCP 10.9.0.2:80 <> 10.9.0.1:41234, opened by the peer
    handshake 0.070 ms; 1200 bytes sent, 77 bytes received; sent again: 1 by us,
    0 by the peer
    closed in good order, by us first
",
    );
}

#[test]
fn whole_connection_in_140_columns() {
    check(
        &drawn(140, whole_connection),
        "
       ms     this end                                                                                                   other end
          #1  TCP 10.9.0.2:80 <> 10.9.0.1:41234
    0.000 #1  SYN-RECEIVED <─ SYN     seq 0 win 502  mss 1460, sack, timestamps, wscale 7 ───────────────────────────     SYN-SENT
    0.020 #1  SYN-RECEIVED ── SYN ACK seq 0 ack 1 win 502  mss 1460, sack, timestamps, wscale 7 ────────────────────>  ESTABLISHED
    0.070 #1  ESTABLISHED  <─ ACK     seq 1 ack 1 win 64256 ─────────────────────────────────────────────────────────  ESTABLISHED
    0.090 #1  ESTABLISHED  <─ PSH ACK seq 1 ack 1 len 77 win 64256 ──────────────────────────────────────────────────  ESTABLISHED
    0.110 #1  ESTABLISHED  ── ACK     seq 1 ack 78 win 64256 ───────────────────────────────────────────────────────>  ESTABLISHED
    0.330 #1  ESTABLISHED  ── PSH ACK seq 1 ack 78 len 1200 win 64256 ──────────────────────────────────────────────>  ESTABLISHED
    0.350 #1  FIN-WAIT-1   ── FIN ACK seq 1201 ack 78 win 64256 ────────────────────────────────────────────────────>   CLOSE-WAIT
  200.370 #1  FIN-WAIT-1   ── PSH ACK seq 1 ack 78 len 1200 win 64256  sent again: retransmission timeout ──────────>   CLOSE-WAIT
  200.390 #1  FIN-WAIT-2   <─ ACK     seq 78 ack 1202 win 64256 ─────────────────────────────────────────────────────   CLOSE-WAIT
  200.410 #1  TIME-WAIT    <─ FIN ACK seq 78 ack 1202 win 64256 ─────────────────────────────────────────────────────     LAST-ACK
  200.430 #1  TIME-WAIT    ── ACK     seq 1202 ack 79 win 64256 ────────────────────────────────────────────────────>       CLOSED
60200.430 #1  CLOSED         (2 MSL are over)

#1  TCP 10.9.0.2:80 <> 10.9.0.1:41234, opened by the peer
    handshake 0.070 ms; 1200 bytes sent, 77 bytes received; sent again: 1 by us, 0 by the peer
    closed in good order, by us first
",
    );
}

#[test]
fn interleaved_connections_keep_their_numbers_and_states() {
    let text = drawn(80, |ladder| {
        let (mut first, mut second) = (Recorder::default(), Recorder::default());
        Script::new(&mut first, 1111).handshake().peer("F.", 1, 1, 0, CloseWait);
        Script::new(&mut second, 2222).wait(10).handshake().peer("R.", 1, 1, 0, Closed);
        first.merge(second);
        first.replay(ladder);
    });
    check(
        &text,
        "
       ms     this end                                                 other end
          #1  TCP 10.9.0.2:80 <> 10.9.0.1:1111
    0.000 #1  SYN-RECEIVED <─ SYN     seq 0 win 502 ───────────────     SYN-SENT
                              mss 1460, sack, timestamps, wscale 7
          #2  TCP 10.9.0.2:80 <> 10.9.0.1:2222
    0.010 #2  SYN-RECEIVED <─ SYN     seq 0 win 502 ───────────────     SYN-SENT
                              mss 1460, sack, timestamps, wscale 7
    0.020 #1  SYN-RECEIVED ── SYN ACK seq 0 ack 1 win 502 ────────>  ESTABLISHED
                              mss 1460, sack, timestamps, wscale 7
    0.030 #2  SYN-RECEIVED ── SYN ACK seq 0 ack 1 win 502 ────────>  ESTABLISHED
                              mss 1460, sack, timestamps, wscale 7
    0.070 #1  ESTABLISHED  <─ ACK     seq 1 ack 1 win 64256 ───────  ESTABLISHED
    0.080 #2  ESTABLISHED  <─ ACK     seq 1 ack 1 win 64256 ───────  ESTABLISHED
    0.090 #1  CLOSE-WAIT   <─ FIN ACK seq 1 ack 1 win 64256 ───────   FIN-WAIT-1
    0.100 #2  CLOSED       <─ RST ACK seq 1 ack 1 win 64256 ───────       CLOSED

#1  TCP 10.9.0.2:80 <> 10.9.0.1:1111, opened by the peer
    handshake 0.070 ms; 0 bytes sent, 0 bytes received; nothing sent again
    half closed by the peer, our end in CLOSE-WAIT
#2  TCP 10.9.0.2:80 <> 10.9.0.1:2222, opened by the peer
    handshake 0.070 ms; 0 bytes sent, 0 bytes received; nothing sent again
    reset by the peer
",
    );
}

#[test]
fn drops_closed_windows_and_repeats_are_marked() {
    let text = drawn(80, |ladder| {
        let mut script = Script::new(ladder, 41234);
        script
            .handshake()
            .peer("P.", 1, 1, 1448, Established)
            .peer("P.", 1, 1, 1448, Established)
            .peer("P.", 2897, 1, 1448, Established)
            .us(".", 1, 1449, 0, DuplicateAck, Established)
            .dropped("P.", 9000, 1, 5, Drop::TransportChecksum)
            .us(".0", 1, 1449, 0, Ack, Established)
            .us("P.", 1, 1449, 1, ZeroWindowProbe, Established)
            .say(EventKind::Ended { error: Some("ETIMEDOUT") });
    });
    check(
        &text,
        "
       ms     this end                                                 other end
          #1  TCP 10.9.0.2:80 <> 10.9.0.1:41234
    0.000 #1  SYN-RECEIVED <─ SYN     seq 0 win 502 ───────────────     SYN-SENT
                              mss 1460, sack, timestamps, wscale 7
    0.020 #1  SYN-RECEIVED ── SYN ACK seq 0 ack 1 win 502 ────────>  ESTABLISHED
                              mss 1460, sack, timestamps, wscale 7
    0.070 #1  ESTABLISHED  <─ ACK     seq 1 ack 1 win 64256 ───────  ESTABLISHED
    0.090 #1  ESTABLISHED  <─ PSH ACK seq 1 ack 1 len 1448 ────────  ESTABLISHED
    0.110 #1  ESTABLISHED  <─ PSH ACK seq 1 ack 1 len 1448 ────────  ESTABLISHED
                              sent again by the peer
    0.130 #1  ESTABLISHED  <─ PSH ACK seq 2897 ack 1 len 1448 ─────  ESTABLISHED
                              gap before it
    0.150 #1  ESTABLISHED  ── ACK     seq 1 ack 1449 win 64256 ───>  ESTABLISHED
    0.170 #1  ESTABLISHED  x─ PSH ACK seq 9000 ack 1 len 5 ────────  ESTABLISHED
                              dropped: bad checksum
    0.190 #1  ESTABLISHED  ── ACK     seq 1 ack 1449 win 0 ───────>  ESTABLISHED
                              window closed
    0.210 #1  ESTABLISHED  ── PSH ACK seq 1 ack 1449 len 1 ───────>  ESTABLISHED
                              zero-window probe
    0.210 #1                 (ended with ETIMEDOUT)

#1  TCP 10.9.0.2:80 <> 10.9.0.1:41234, opened by the peer
    handshake 0.070 ms; 1 byte sent, 2896 bytes received; sent again: 0 by us, 1
    by the peer
    gave up (ETIMEDOUT)
",
    );
}

#[test]
fn refused_connection_says_so() {
    let text = drawn(80, |ladder| {
        let mut script = Script::new(ladder, 41234);
        script
            .us("S", 0, 0, 0, Syn, SynSent)
            .wait(1_000_000)
            .us("S", 0, 0, 0, Retransmit, SynSent)
            .peer("R.", 0, 1, 0, Closed)
            .say(EventKind::Ended { error: Some("ECONNREFUSED") });
    });
    check(
        &text,
        "
       ms     this end                                                 other end
          #1  TCP 10.9.0.2:80 <> 10.9.0.1:41234
    0.000 #1  SYN-SENT     ── SYN     seq 0 win 502 ──────────────>
                              mss 1460, sack, timestamps, wscale 7
 1000.020 #1  SYN-SENT     ── SYN     seq 0 win 502 ──────────────>
                              sent again: retransmission timeout, mss 1460,
                              sack, timestamps, wscale 7
 1000.040 #1  CLOSED       <─ RST ACK seq 0 ack 1 win 502 ─────────       CLOSED
 1000.040 #1                 (ended with ECONNREFUSED)

#1  TCP 10.9.0.2:80 <> 10.9.0.1:41234, opened by us
    never established; 0 bytes sent, 0 bytes received; sent again: 1 by us, 0 by
    the peer
    refused by the peer (ECONNREFUSED)
",
    );
}

#[test]
fn datagrams_and_icmp_have_their_lines() {
    let text = drawn(80, |ladder| {
        let mut say = |direction, reason, bytes: &[u8]| {
            let bytes = &[bytes][..];
            let packet = PacketEvent { direction, bytes, segment_size: 0, reason, before: None, after: None };
            ladder.event(&Event { at: Instant::ZERO, flow: None, kind: EventKind::Packet(packet) });
        };
        let (us, peer) = ([10, 9, 0, 2], [10, 9, 0, 1]);
        let mut udp = Vec::new();
        PacketBuilder::ipv4(peer, us, 64).udp(4000, 7).write(&mut udp, b"hello").expect("fits");
        say(Direction::In, Reason::Dropped(Drop::NoSocket), &udp);
        let mut error = Vec::new();
        let port = Icmpv4Type::DestinationUnreachable(etherparse::icmpv4::DestUnreachableHeader::Port);
        PacketBuilder::ipv4(us, peer, 64).icmpv4(port).write(&mut error, &udp).expect("fits");
        say(Direction::Out, Reason::Sent(Why::IcmpError), &error);
        let mut echo = Vec::new();
        let request = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 77, seq: 1 });
        PacketBuilder::ipv4(peer, us, 64).icmpv4(request).write(&mut echo, &[0; 56]).expect("fits");
        say(Direction::In, Reason::Taken, &echo);
        say(Direction::In, Reason::Dropped(Drop::Malformed), &[0x45, 0, 1]);
    });
    check(
        &text,
        "
       ms     this end                                                 other end
          #1  UDP 10.9.0.2:7 <> 10.9.0.1:4000
    0.000 #1               x─ UDP     len 5  dropped: nobody listens ───────────
          #2  ICMP 10.9.0.2 <> 10.9.0.1
    0.000 #2               ── ICMP    port unreachable ────────────────────────>
                              about UDP to 10.9.0.2:7
    0.000 #2               <─ ICMP    echo request id 77 seq 1 len 56 ──────────
    0.000                  x─ 3 unreadable octets  dropped: malformed header ───

#1  UDP 10.9.0.2:7 <> 10.9.0.1:4000
    packets: 0 (0 bytes) sent, 1 (5 bytes) received
#2  ICMP 10.9.0.2 <> 10.9.0.1
    packets: 1 (61 bytes) sent, 1 (84 bytes) received
",
    );
}

#[test]
fn long_ipv6_ends_and_large_numbers_stay_inside_the_line() {
    let text = drawn(80, |ladder| {
        let mut script = Script::new(ladder, 41234);
        script.flow = Flow {
            local: "[2001:db8:1111:2222:3333:4444:5555:6666]:50001".parse().expect("address"),
            remote: "[2001:db8:1111:2222:3333:4444:5555:7777]:50002".parse().expect("address"),
        };
        script.handshake().peer("P.", 1_000_000_001, 1_000_000_001, 1428, Established);
    });
    check(
        &text,
        "
       ms     this end                                                 other end
          #1  TCP [2001:db8:1111:2222:3333:4444:5555:6666]:50001
                <> [2001:db8:1111:2222:3333:4444:5555:7777]:50002
    0.000 #1  SYN-RECEIVED <─ SYN     seq 0 win 502 ───────────────     SYN-SENT
                              mss 1460, sack, timestamps, wscale 7
    0.020 #1  SYN-RECEIVED ── SYN ACK seq 0 ack 1 win 502 ────────>  ESTABLISHED
                              mss 1460, sack, timestamps, wscale 7
    0.070 #1  ESTABLISHED  <─ ACK     seq 1 ack 1 win 64256 ───────  ESTABLISHED
    0.090 #1  ESTABLISHED  <─ P. seq 1000000001 ack 1000000001 l… ─  ESTABLISHED
                              gap before it

#1  TCP [2001:db8:1111:2222:3333:4444:5555:6666]:50001 <>
    [2001:db8:1111:2222:3333:4444:5555:7777]:50002, opened by the peer
    handshake 0.070 ms; 0 bytes sent, 1428 bytes received; nothing sent again
    still open, our end in ESTABLISHED
",
    );
}

#[test]
fn both_hosts_of_a_simulation_show_real_states_and_losses() {
    let (mut ours, mut theirs) = (Recorder::default(), Recorder::default());
    let (a, b) = ("10.0.0.1:1000".parse().expect("address"), "10.0.0.2:80".parse().expect("address"));
    let say = |recorder: &mut Recorder, at: u64, direction, bytes: &[u8], state| {
        let bytes = &[bytes][..];
        let reason = match direction {
            Direction::In => Reason::Taken,
            Direction::Out => Reason::Sent(Why::Data),
        };
        let after = Some(view(state));
        let packet = PacketEvent { direction, bytes, segment_size: 0, reason, before: None, after };
        let at = Instant::from_nanos(at * 1_000_000);
        recorder.event(&Event { at, flow: None, kind: EventKind::Packet(packet) });
    };
    let syn = tcp_packet(a, b, "S", 1000, 0, 0);
    let syn_ack = tcp_packet(b, a, "S.", 7000, 1001, 0);
    say(&mut ours, 0, Direction::Out, &syn, SynSent);
    say(&mut theirs, 20, Direction::In, &syn, SynReceived);
    say(&mut theirs, 20, Direction::Out, &syn_ack, SynReceived);
    say(&mut theirs, 1020, Direction::Out, &syn_ack, SynReceived);
    say(&mut ours, 1040, Direction::In, &syn_ack, Established);
    let ack = tcp_packet(a, b, ".", 1001, 7001, 0);
    say(&mut ours, 1040, Direction::Out, &ack, Established);
    check(
        &drawn(100, |ladder| ladder_of_both(ladder, &ours, &theirs)),
        "
       ms     this end                                                                     other end
          #1  TCP 10.0.0.1:1000 <> 10.0.0.2:80
    0.000 #1  SYN-SENT     ── SYN     seq 0 win 502 ──────────────────────────────────> SYN-RECEIVED
                              mss 1460, sack, timestamps, wscale 7
 1020.000 #1  SYN-SENT     x─ SYN ACK seq 0 ack 1 win 502 ───────────────────────────── SYN-RECEIVED
                              lost on the way, mss 1460, sack, timestamps, wscale 7
 1040.000 #1  ESTABLISHED  <─ SYN ACK seq 0 ack 1 win 502 ───────────────────────────── SYN-RECEIVED
                              sent again by the peer, mss 1460, sack, timestamps, wscale 7
 1040.000 #1  ESTABLISHED  ── ACK     seq 1 ack 1 win 64256  lost on the way ─────────x SYN-RECEIVED

#1  TCP 10.0.0.1:1000 <> 10.0.0.2:80, opened by us
    handshake 1040.000 ms; 0 bytes sent, 0 bytes received; sent again: 0 by us, 1 by the peer
    still open, our end in ESTABLISHED
",
    );
}

#[test]
fn peer_did_not_get_what_the_link_lost() {
    let text = drawn(80, |ladder| {
        Script::new(ladder, 41234).handshake().us("F.", 1, 1, 0, Fin, FinWait1);
        let at = Instant::from_nanos(5_200_000);
        let [ours, theirs] = ["10.9.0.2:80", "10.9.0.1:41234"].map(|end| end.parse().expect("address"));
        ladder.lost(at, Direction::Out, &tcp_packet(ours, theirs, "F.", 1001, 7001, 0));
        let bytes = &[&tcp_packet(theirs, ours, ".", 7001, 1001, 5)[..]];
        let after = Some(view(FinWait1));
        let packet = PacketEvent {
            direction: Direction::In,
            bytes,
            segment_size: 0,
            reason: Reason::Taken,
            before: after,
            after,
        };
        ladder.event(&Event { at, flow: None, kind: EventKind::Packet(packet) });
    });
    let closing = text.lines().filter(|line| line.contains("FIN-WAIT-1 "));
    let peer: Vec<&str> = closing.filter_map(|line| line.split(' ').next_back()).collect();
    assert_eq!(peer, ["CLOSE-WAIT", "ESTABLISHED"], "\n{text}");
}

#[test]
fn what_comes_late_changes_nothing() {
    let text = drawn(80, |ladder| {
        let mut script = Script::new(ladder, 41234);
        script
            .handshake()
            .peer("F.", 1, 1, 0, CloseWait)
            .us(".", 1, 2, 0, Ack, CloseWait)
            .us("F.", 1, 2, 0, Fin, LastAck)
            // An old copy, then the last acknowledgment twice.
            .dropped("F.", 1, 1, 0, Drop::OldTimestamp)
            .peer(".", 2, 2, 0, Closed)
            .dropped(".", 2, 2, 0, Drop::AckInvalid)
            .us("R", 2, 0, 0, Reset, Closed);
    });
    let old = text.lines().position(|line| line.contains("timestamp too old")).expect("shown");
    assert!(text.lines().nth(old - 1).is_some_and(|line| line.ends_with("TIME-WAIT")), "\n{text}");
    assert!(text.ends_with("closed in good order, by the peer first\n"), "\n{text}");
}

#[test]
fn colour_appears_only_when_asked_for() {
    let coloured = Paper::default();
    let mut ladder = Ladder::new(coloured.clone(), Style { width: 80, colour: true });
    whole_connection(&mut ladder);
    ladder.finish();
    assert!(coloured.text().contains("\x1b[36m"));
    assert!(!drawn(80, whole_connection).contains('\x1b'));
}

#[test]
fn what_came_twice_is_told_from_what_is_held() {
    let said = |first: (u32, u32), second: Option<(u32, u32)>, ack: u32| {
        let options = super::super::packet::Options {
            sack: [Some(first), second].into_iter().flatten().collect(),
            ..Default::default()
        };
        let segment = Tcp { ack, is_ack: true, options, ..Tcp::default() };
        option_marks(&segment, &Note { ack, ..Note::default() }).join(", ")
    };
    assert_eq!(said((200, 300), None, 100), "has 200:300");
    assert_eq!(said((200, 300), Some((400, 500)), 100), "has 200:300, has 400:500");
    assert_eq!(said((50, 100), None, 100), "got twice 50:100");
    assert_eq!(said((210, 220), Some((200, 300)), 100), "got twice 210:220, has 200:300");
}
