use super::*;
use etherparse::PacketBuilder;

const MTU: usize = 1500;

/// What a test changes in a segment.
#[derive(Clone)]
struct Made {
    v6: bool,
    seq: u32,
    text: Vec<u8>,
    ttl: u8,
    port: u16,
    window: u16,
    push: bool,
    fin: bool,
}

impl Made {
    fn new(v6: bool, seq: u32, len: usize) -> Made {
        let text = (0..len).map(|at| (seq as usize + at) as u8).collect();
        Made { v6, seq, text, ttl: 64, port: 80, window: 500, push: false, fin: false }
    }

    fn packet(&self) -> Vec<u8> {
        let ip = match self.v6 {
            false => PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], self.ttl),
            true => PacketBuilder::ipv6([1; 16], [2; 16], self.ttl),
        };
        let mut tcp = ip.tcp(4000, self.port, self.seq, self.window).ack(77);
        if self.push {
            tcp = tcp.psh();
        }
        if self.fin {
            tcp = tcp.fin();
        }
        let mut packet = Vec::new();
        tcp.write(&mut packet, &self.text).expect("fits");
        packet
    }
}

/// Reads packets as a device's owner does: the run, how many were joined, and what came after it.
fn read(packets: &[Vec<u8>]) -> (Vec<u8>, RxMeta, usize, Option<Vec<u8>>) {
    let mut buffer = vec![0xee; 65_536];
    let first = &packets[0];
    buffer[..first.len()].copy_from_slice(first);
    let Some(mut run) = Run::begin(&buffer[..first.len()]) else {
        return (first.clone(), RxMeta::default(), 0, packets.get(1).cloned());
    };
    let mut ahead = None;
    for packet in &packets[1..] {
        let Some(room) = run.room(&mut buffer, MTU) else { break };
        room[..packet.len()].copy_from_slice(packet);
        if let Some(other) = run.join(&mut buffer, packet.len()) {
            ahead = Some(other.to_vec());
            run.uncover(&mut buffer);
            break;
        }
    }
    let segments = run.segments();
    let (len, meta) = run.end(&mut buffer);
    (buffer[..len].to_vec(), meta, segments, ahead)
}

#[test]
fn segments_in_a_row_become_one() {
    for v6 in [false, true] {
        let parts: Vec<Made> =
            (0..5).map(|n| Made::new(v6, (u32::MAX - 2000).wrapping_add(n * 1000), 1000)).collect();
        let mut packets: Vec<_> = parts.iter().map(Made::packet).collect();
        let last = Made { push: true, ..Made::new(v6, parts[4].seq.wrapping_add(1000), 10) };
        packets.push(last.packet());
        // Nothing follows a push.
        packets.push(Made::new(v6, last.seq.wrapping_add(10), 1000).packet());
        let (whole, meta, segments, ahead) = read(&packets);
        assert_eq!((meta, segments, ahead), (RxMeta { checksum_trusted: true, segment_size: 1000 }, 6, None));
        let (ip, headers) = headers(&whole).expect("one packet");
        let text: Vec<u8> = parts.iter().chain([&last]).flat_map(|made| made.text.clone()).collect();
        assert_eq!(whole[headers..], text);
        assert_eq!(whole[ip + FLAGS], ACK | PSH);
        assert_eq!(whole[..ip + 8][ip + 4..], parts[0].seq.to_be_bytes());
        assert!(v6 || checksum(&whole[..20]) == 0);
    }
}

/// conformance: 9293-MUST-3
#[test]
fn what_does_not_follow_is_given_back_as_it_came() {
    for v6 in [false, true] {
        let first = Made::new(v6, 5000, 1000);
        let next = Made::new(v6, 6000, 1000);
        let mut damaged = next.packet();
        *damaged.last_mut().expect("text") ^= 1;
        let mut header_damaged = next.packet();
        header_damaged[if v6 { 7 } else { 10 }] ^= 1;
        let others = [
            Made { seq: 6001, ..next.clone() }.packet(),
            Made { port: 81, ..next.clone() }.packet(),
            Made { ttl: 63, ..next.clone() }.packet(),
            Made { window: 501, ..next.clone() }.packet(),
            Made { fin: true, ..next.clone() }.packet(),
            Made::new(v6, 6000, 1001).packet(),
            Made::new(v6, 6000, 0).packet(),
            Made::new(!v6, 6000, 1000).packet(),
            damaged,
            header_damaged,
            vec![0x45; 19],
        ];
        for (which, other) in others.into_iter().enumerate() {
            let (whole, meta, segments, ahead) = read(&[first.packet(), other.clone()]);
            assert_eq!((whole, segments, ahead), (first.packet(), 1, Some(other)), "{which}, v6 {v6}");
            assert_eq!(meta.segment_size, 0);
        }
    }
}

#[test]
fn a_run_begins_only_with_intact_plain_text() {
    let good = Made::new(false, 1, 1000);
    assert!(Run::begin(&good.packet()).is_some());
    let mut damaged = good.packet();
    damaged[900] ^= 4;
    let mut fragment = good.packet();
    fragment[6] |= 0x20;
    for bad in [
        damaged,
        fragment,
        Made { push: true, ..good.clone() }.packet(),
        Made { fin: true, ..good.clone() }.packet(),
        Made::new(false, 1, 100).packet(),
        Vec::new(),
        good.packet()[..500].to_vec(),
    ] {
        assert!(Run::begin(&bad).is_none(), "{bad:?}");
    }
}

#[test]
fn a_run_ends_where_the_buffer_or_a_packet_would() {
    let packets: Vec<_> = (0..70).map(|n| Made::new(false, n * 1000, 1000).packet()).collect();
    let (whole, _, segments, _) = read(&packets);
    assert_eq!(whole.len(), 40 + segments * 1000);
    assert!((60..66).contains(&segments), "{segments}");
}
