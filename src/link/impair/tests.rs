use super::*;
use crate::base::Instant;
use etherparse::{
    IcmpEchoHeader, Icmpv4Type, Icmpv6Slice, Icmpv6Type, PacketBuilder, SlicedPacket, TransportSlice,
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> Instant {
    Instant::ZERO + ms(millis)
}

fn stage(text: &str) -> Impair {
    text.parse::<Impairment>().expect("valid").stages(7).0
}

/// A packet that can be told from others by its first two octets.
fn packet(number: u16) -> Vec<u8> {
    let mut packet = number.to_be_bytes().to_vec();
    packet.resize(100, 0);
    packet
}

fn number(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[0], packet[1]])
}

/// Everything that comes out, with the millisecond at which it does.
fn drain(stage: &mut Impair) -> Vec<(u64, u16)> {
    let mut out = Vec::new();
    while let Some(due) = stage.next_timeout() {
        assert!(
            due.as_nanos() == 0 || stage.pop(Instant::from_nanos(due.as_nanos() - 1)).is_none(),
            "out too early"
        );
        let packet = stage.pop(due).expect("due");
        out.push((due.as_millis(), number(&packet)));
    }
    out
}

/// Puts `count` packets in, one per millisecond, and returns their numbers as they come out.
fn pass(stage: &mut Impair, count: u16) -> Vec<u16> {
    let mut out = Vec::new();
    for n in 0..count {
        let now = at(u64::from(n));
        out.extend(std::iter::from_fn(|| stage.pop(now)).map(|packet| number(&packet)));
        assert_eq!(stage.push(now, packet(n)), None);
    }
    out.extend(drain(stage).into_iter().map(|(_, number)| number));
    out
}

fn tcp(flags: &str, payload: &[u8]) -> Vec<u8> {
    let mut builder = PacketBuilder::ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64).tcp(1, 2, 3, 4);
    for flag in flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'F' => builder.fin(),
            'R' => builder.rst(),
            'P' => builder.psh(),
            '.' => builder.ack(5),
            other => panic!("no flag {other}"),
        };
    }
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).expect("fits");
    packet
}

#[test]
fn a_perfect_link_changes_nothing() {
    let mut stage = stage("");
    assert_eq!(pass(&mut stage, 50), (0..50).collect::<Vec<_>>());
    let stats = stage.stats();
    assert_eq!(stats, Stats { offered: 50, delivered: 50, ..Stats::default() });
}

#[test]
fn the_same_seed_meets_the_same_fate_and_another_one_another() {
    let link: Impairment =
        "loss=10%,dup=5%,reorder=5%,corrupt=5%,delay=5ms,jitter=4ms".parse().expect("valid");
    let run = |seed| {
        let (mut up, mut down) = link.stages(seed);
        (pass(&mut up, 300), pass(&mut down, 300), up.stats())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
    // The two directions draw from streams of their own.
    assert_ne!(run(1).0, run(1).1);
}

#[test]
fn loss_and_duplication_hit_their_share() {
    let mut stage = stage("loss=10%,dup=1%");
    let out = pass(&mut stage, 20_000);
    let stats = stage.stats();
    assert_eq!(out.len() as u64, 20_000 - stats.lost + stats.duplicated);
    assert!((1800..2200).contains(&stats.lost), "{stats:?}");
    assert!((120..240).contains(&stats.duplicated), "{stats:?}");
}

#[test]
fn all_and_none_are_exact() {
    assert_eq!(pass(&mut stage("loss=100%"), 1000), []);
    assert_eq!(pass(&mut stage("dup=100%"), 3), [0, 0, 1, 1, 2, 2]);
}

#[test]
fn bursts_lose_runs_of_the_mean_length() {
    let mut stage = stage("burst=1%/25%");
    let out = pass(&mut stage, 40_000);
    let gaps: Vec<u64> =
        out.windows(2).map(|pair| u64::from(pair[1] - pair[0] - 1)).filter(|gap| *gap > 0).collect();
    let lost: u64 = gaps.iter().sum();
    let mean = lost as f64 / gaps.len() as f64;
    // Mean length 1/25% = 4; share of time in bursts 1/(1+25) = 3.8 %.
    assert!((3.4..4.6).contains(&mean), "mean burst {mean}");
    assert!((1200..1900).contains(&lost), "lost {lost}");
}

#[test]
fn delay_and_jitter_keep_the_order() {
    let mut stage = stage("delay=20ms,jitter=15ms");
    for n in 0..200 {
        assert_eq!(stage.push(at(u64::from(n)), packet(n)), None);
    }
    let out = drain(&mut stage);
    assert_eq!(out.iter().map(|(_, number)| *number).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    let delays: Vec<u64> = out.iter().map(|(time, number)| time - u64::from(*number)).collect();
    assert!(delays.iter().all(|delay| (5..=35).contains(delay)), "{delays:?}");
    assert!(delays.iter().max().expect("some") - delays.iter().min().expect("some") > 5, "{delays:?}");
}

#[test]
fn reordering_by_packets_lets_just_so_many_pass() {
    let mut stage = stage("reorder=2%/3");
    let out = pass(&mut stage, 5000);
    assert_eq!(out.len(), 5000);
    let late: Vec<usize> =
        (0..out.len()).filter(|&i| out[..i].iter().rev().take(50).any(|other| *other > out[i])).collect();
    assert_eq!(late.len() as u64, stage.stats().reordered);
    assert!((60..140).contains(&late.len()), "{}", late.len());
    for i in late {
        let overtaken_by = out[..i].iter().rev().take(50).filter(|other| **other > out[i]).count();
        // More than three only when some of those that passed were held back themselves.
        assert!((3..=6).contains(&overtaken_by), "packet {} was overtaken by {overtaken_by}", out[i]);
    }
}

#[test]
fn a_packet_nobody_overtakes_comes_at_last() {
    let mut stage = stage("reorder=100%/3,delay=10ms");
    assert_eq!(stage.push(at(0), packet(1)), None);
    assert_eq!(drain(&mut stage), [(110, 1)]);
}

#[test]
fn reordering_by_time_holds_so_long() {
    let mut stage = stage("reorder=50%/5ms");
    let out = pass(&mut stage, 100);
    let mut sorted = out.clone();
    sorted.sort_unstable();
    assert_ne!(out, sorted);
    assert_eq!(sorted, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_line_with_a_rate_spaces_packets_and_drops_what_does_not_fit_its_queue() {
    // 100 octets at 80 kbit/s: 10 ms each.
    let mut limited = stage("rate=80kbit,queue=5,delay=1ms");
    for n in 0..8 {
        assert_eq!(limited.push(at(0), packet(n)), None);
    }
    assert_eq!(drain(&mut limited), [(11, 0), (21, 1), (31, 2), (41, 3), (51, 4)]);
    assert_eq!(limited.stats().queue_full, 3);
    // The line is free again, and idle time is not saved up.
    assert_eq!(limited.push(at(100), packet(9)), None);
    assert_eq!(drain(&mut limited), [(111, 9)]);

    let mut octets = stage("rate=80kbit,queue=250b");
    for n in 0..4 {
        assert_eq!(octets.push(at(0), packet(n)), None);
    }
    assert_eq!(drain(&mut octets), [(10, 0), (20, 1)]);
}

#[test]
fn corruption_flips_exactly_one_bit() {
    let mut stage = stage("corrupt=100%");
    let mut places = std::collections::HashSet::new();
    for n in 0..500 {
        let original = packet(n);
        assert_eq!(stage.push(at(0), original.clone()), None);
        let out = stage.pop(at(0)).expect("due");
        let flipped: Vec<usize> =
            (0..800).filter(|bit| (original[bit / 8] ^ out[bit / 8]) >> (bit % 8) & 1 == 1).collect();
        assert_eq!(flipped.len(), 1);
        places.insert(flipped[0]);
    }
    assert!(places.len() > 300, "bits flipped in {} places only", places.len());
}

#[test]
fn nothing_passes_in_a_blackout() {
    let mut stage = stage("blackout=10ms+5ms,blackout=30ms+1ms,delay=2ms");
    let out = pass(&mut stage, 40);
    let missing: Vec<u16> = (0..40).filter(|n| !out.contains(n)).collect();
    assert_eq!(missing, [10, 11, 12, 13, 14, 30]);
    assert_eq!(stage.stats().blacked_out, 6);
}

#[test]
fn what_is_under_way_is_bounded() {
    let mut stage = stage("delay=1000s");
    for _ in 0..1100 {
        assert_eq!(stage.push(at(0), vec![0; 65535]), None);
    }
    let stats = stage.stats();
    assert_eq!((stats.offered, stats.queue_full), (1100, 1100 - (64 << 20) / 65535));
}

#[test]
fn scripts_hit_the_packets_they_name() {
    let mut stage = stage("drop=syn-ack:1,drop=data:3,dup=ack:2,delay=fin:1:200ms,drop=rst:2-,corrupt=udp:1");
    let mut fate = |packet: Vec<u8>| {
        assert_eq!(stage.push(at(0), packet), None);
        drain(&mut stage).into_iter().map(|(time, _)| time).collect::<Vec<_>>()
    };
    assert_eq!(fate(tcp("S", b"")), [0]);
    assert_eq!(fate(tcp("S.", b"")), []);
    assert_eq!(fate(tcp("S.", b"")), [0]);
    assert_eq!(fate(tcp(".", b"")), [0]);
    assert_eq!(fate(tcp(".", b"a")), [0]);
    assert_eq!(fate(tcp(".", b"")), [0, 0], "the data segment does not count as an ack");
    assert_eq!(fate(tcp("P.", b"b")), [0]);
    assert_eq!(fate(tcp("P.", b"c")), [], "third data segment");
    assert_eq!(fate(tcp("P.", b"c")), [0]);
    assert_eq!(fate(tcp("F.", b"")), [200]);
    assert_eq!(fate(tcp("F.", b"")), [0]);
    assert_eq!(fate(tcp("R", b"")), [0]);
    assert_eq!(fate(tcp("R.", b"")), []);
    assert_eq!(fate(tcp("R", b"")), []);
    assert_eq!(fate(vec![0x45, 0]), [0], "rubbish is just a packet");
    assert_eq!(stage.stats().scripted, 4);
}

/// A data segment of a flow, told by its source port.
fn segment(port: u16, seq: u32, flags: &str, payload: usize) -> Vec<u8> {
    let mut builder = PacketBuilder::ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64).tcp(port, 2, seq, 4);
    if flags == "S" {
        builder = builder.syn();
    }
    let mut packet = Vec::new();
    builder.ack(5).write(&mut packet, &vec![0; payload]).expect("fits");
    packet
}

#[test]
fn retransmissions_are_known_by_their_sequence_numbers() {
    let mut stage = stage("drop=again:2");
    stage.count_resent();
    let mut passes = |packet: Vec<u8>| {
        assert_eq!(stage.push(at(0), packet), None);
        (!drain(&mut stage).is_empty(), stage.stats().resent)
    };
    let near_the_end = u32::MAX - 99;
    assert_eq!(passes(segment(1, near_the_end, "", 100)), (true, 0));
    assert_eq!(passes(segment(1, 0, "", 100)), (true, 0), "the numbers go round");
    assert_eq!(passes(segment(1, 100, "", 0)), (true, 0), "an ACK");
    assert_eq!(passes(segment(2, 0, "", 100)), (true, 0), "another flow");
    assert_eq!(passes(segment(1, 0, "", 100)), (true, 1), "the first one");
    assert_eq!(
        passes(segment(1, near_the_end, "", 200)),
        (false, 2),
        "the second one, also with new data behind it"
    );
    assert_eq!(passes(segment(1, 0, "", 100)), (true, 3));
    assert_eq!(passes(segment(1, 100, "", 100)), (true, 3));
    assert_eq!(passes(segment(1, 50, "S", 0)), (true, 3), "a new connection");
    assert_eq!(passes(segment(1, 51, "", 10)), (true, 3));
}

#[test]
fn a_long_queue_marks_what_can_be_marked() {
    let ect = |number: u8| {
        let mut packet = tcp(".", &[number; 60]);
        packet[1] = 2;
        packet
    };
    for (text, first) in [("rate=1mbit,mark=3", 3), ("rate=1mbit,mark=300b", 3), ("rate=1mbit,mark=301b", 4)]
    {
        let mut stage = stage(text);
        for number in 0..6 {
            assert_eq!(stage.push(at(0), ect(number)), None);
        }
        assert_eq!(stage.push(at(0), tcp(".", &[6; 60])), None);
        let out: Vec<u8> = std::iter::from_fn(|| stage.pop(at(100))).map(|packet| packet[1] & 3).collect();
        let expected: Vec<u8> = (0..6).map(|number| if number < first { 2 } else { 3 }).chain([0]).collect();
        assert_eq!(out, expected, "{text}");
        assert_eq!(stage.stats().marked, 6 - first, "{text}");
    }
}

#[test]
fn kinds_cover_datagrams_and_messages() {
    let mut udp = Vec::new();
    PacketBuilder::ipv6([1; 16], [2; 16], 64).udp(1, 2).write(&mut udp, b"x").expect("fits");
    let mut echo = Vec::new();
    let builder = PacketBuilder::ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64);
    builder.icmpv4_echo_request(1, 1).write(&mut echo, b"x").expect("fits");
    for (text, packet) in [
        ("drop=udp:1", &udp),
        ("drop=icmp:1", &echo),
        ("drop=packet:1", &udp),
        ("drop=tcp:1", &tcp(".", b"")),
    ] {
        let mut stage = stage(text);
        for (other, dropped) in [(&udp, text.contains("udp")), (&echo, text.contains("icmp"))] {
            if other != packet && !text.contains("packet") {
                assert_eq!(stage.push(at(0), other.clone()), None);
                assert_eq!(stage.pop(at(0)).is_none(), dropped, "{text}");
            }
        }
        assert_eq!(stage.push(at(0), packet.clone()), None);
        assert_eq!(stage.pop(at(0)), None, "{text}");
    }
}

#[test]
fn a_narrow_path_tells_the_sender() {
    let mut path = stage("mtu=1400");
    let fits = tcp(".", &[1; 1360]);
    assert_eq!(fits.len(), 1400);
    assert_eq!(path.push(at(0), fits), None);
    assert!(path.pop(at(0)).is_some());
    let large = tcp(".", &[1; 1361]);
    let message = path.push(at(0), large.clone()).expect("the sender is told");
    assert!(path.pop(at(0)).is_none());
    let sliced = SlicedPacket::from_ip(&message).expect("well formed");
    let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("no ICMP") };
    let Icmpv4Type::DestinationUnreachable(etherparse::icmpv4::DestUnreachableHeader::FragmentationNeeded {
        next_hop_mtu,
    }) = icmp.icmp_type()
    else {
        panic!("{:?}", icmp.icmp_type())
    };
    assert_eq!((next_hop_mtu, message.len()), (1400, 576));
    assert_eq!(icmp.payload(), &large[..548]);
    assert_eq!(icmp.icmp_type().calc_checksum(icmp.payload()), icmp.checksum());
    assert_eq!(&message[16..20], &[10, 9, 0, 2], "to the sender");

    let mut hole = stage("mtu=1400/silent");
    assert_eq!(hole.push(at(0), large), None);
    assert_eq!(hole.stats().too_big, 1);
}

#[test]
fn a_narrow_path_speaks_ipv6_and_stays_silent_about_errors() {
    let mut path = stage("mtu=1300");
    let mut large = Vec::new();
    let (source, destination) = ([0xfd; 16], [0xfc; 16]);
    PacketBuilder::ipv6(source, destination, 64).udp(1, 2).write(&mut large, &[1; 1400]).expect("fits");
    let message = path.push(at(0), large.clone()).expect("the sender is told");
    assert_eq!(message.len(), 1280);
    let icmp = Icmpv6Slice::from_slice(&message[40..]).expect("long enough");
    assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: 1300 });
    assert!(icmp.is_checksum_valid(destination, source));
    assert_eq!(icmp.payload(), &large[..1232]);

    let error = Icmpv4Type::TimeExceeded(etherparse::icmpv4::TimeExceededCode::TtlExceededInTransit);
    let v4 = || PacketBuilder::ipv4([10, 9, 0, 2], [10, 9, 0, 1], 64);
    let mut about = Vec::new();
    v4().icmpv4(error).write(&mut about, &[1; 1400]).expect("fits");
    assert_eq!(path.push(at(0), about), None);
    let mut echo = Vec::new();
    let request = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 2 });
    v4().icmpv4(request).write(&mut echo, &[1; 1400]).expect("fits");
    assert!(path.push(at(0), echo.clone()).is_some());
    echo[6..8].copy_from_slice(&[0x20, 0]);
    assert!(path.push(at(0), echo.clone()).is_some(), "first fragment");
    echo[6..8].copy_from_slice(&[0x20, 9]);
    assert_eq!(path.push(at(0), echo), None, "later fragment");
    assert_eq!(path.push(at(0), vec![0; 2000]), None);
}

#[test]
fn text_is_read_back_to_the_same() {
    for text in [
        "",
        "loss=10%,delay=20ms",
        "loss=0.05%,burst=1%/25%,dup=1%,reorder=2%/3,corrupt=0.1%,delay=20ms,jitter=1500us,rate=10mbit,queue=100,mtu=1400,blackout=5s+2s,blackout=9s+1ms",
        "reorder=2%/5ms,rate=1500kbit,queue=64kib,mark=20,mtu=576/silent",
        "up:loss=5%,down:delay=1s",
        "drop=syn-ack:1,up:drop=data:3,up:dup=ack:2-4,up:delay=fin:1:200ms,up:corrupt=udp:3-",
    ] {
        let value: Impairment = text.parse().unwrap_or_else(|error| panic!("{error}"));
        let shown = value.to_string();
        assert_eq!(shown.parse(), Ok(value), "{text} is shown as {shown}");
        if !text.contains("syn-ack") {
            assert_eq!(shown, text);
        }
    }
}

#[test]
fn text_means_what_it_says() {
    let link: Impairment =
        " loss=1% , down:loss=2.5%,rate=1.5mbit,delay=0.25s, up:queue=3b,".parse().expect("valid");
    assert_eq!((link.up.loss, link.down.loss), (Share::percent(1), Share::per_million(25_000)));
    assert_eq!((link.up.rate, link.down.delay), (Some(1_500_000), ms(250)));
    assert_eq!((link.up.queue, link.down.queue), (Some(QueueLimit::Octets(3)), None));
    let fault: Fault = "drop syn-ack 1".parse().expect("valid");
    assert_eq!(fault, Fault { action: Action::Drop, kind: Kind::SynAck, first: 1, last: 1 });
    let fault: Fault = "duplicate ack 2-".parse().expect("valid");
    assert_eq!(fault, Fault { action: Action::Duplicate, kind: Kind::Ack, first: 2, last: u32::MAX });
    assert_eq!("delay fin 1 200ms".parse::<Fault>().expect("valid").action, Action::Delay(ms(200)));
}

#[test]
fn a_bad_text_says_what_is_wrong() {
    for (text, item, problem) in [
        ("loss=110%", "loss=110%", "from 0% to 100%"),
        ("delay=5ms,loss=10", "loss=10", "a percentage"),
        ("loss=0.00001%", "loss=0.00001%", "a percentage"),
        ("los=1%", "los=1%", "expected some of loss=1%"),
        ("loss", "loss", "expected some of"),
        ("delay=20", "delay=20", "a time with its unit"),
        ("jitter=-1ms", "jitter=-1ms", "a time"),
        ("rate=10mb", "rate=10mb", "bits per second"),
        ("rate=0bit", "rate=0bit", "bits per second"),
        ("queue=0", "queue=0", "packets or octets"),
        ("queue=many", "queue=many", "packets or octets"),
        ("mark=0", "mark=0", "packets or octets"),
        ("mtu=67", "mtu=67", "68 to 65535"),
        ("mtu=1400/loud", "mtu=1400/loud", "black hole"),
        ("burst=1%", "burst=1%", "like 1%/25%"),
        ("burst=1%/0%", "burst=1%/0%", "like 1%/25%"),
        ("reorder=1%/0", "reorder=1%/0", "how many packets"),
        ("blackout=5s", "blackout=5s", "like 5s+2s"),
        ("drop=syn-ack", "drop=syn-ack", "like drop=syn-ack:1"),
        ("up:drop=synack:1", "up:drop=synack:1", "packets are called packet tcp"),
        ("drop=data:0", "drop=data:0", "counted from 1"),
        ("drop=data:4-2", "drop=data:4-2", "counted from 1"),
        ("delay=fin:1", "delay=fin:1", "like drop=syn-ack:1"),
        ("drop=data:1:2", "drop=data:1:2", "like drop=syn-ack:1"),
    ] {
        let said = text.parse::<Impairment>().expect_err(text).to_string();
        assert!(said.starts_with(&format!("'{item}' ")) && said.contains(problem), "{text}: {said}");
    }
}
