//! Packets that were tampered with at random: nothing panics, nothing grows, and what leaves is in order.

use super::fragments::{frag4, frag6};
use super::*;

/// Packets of all kinds, to be tampered with.
fn honest() -> Vec<Vec<u8>> {
    let quote4 = v4_from_to(US, PEER, 6, &[0; 600]);
    let quote6 = v6_from_to(US6, PEER6, 60, &[&[6, 0, 1, 4, 0, 0, 0, 0][..], &[0; 1300]].concat());
    let mut optioned = header4(UDP);
    optioned.options = [7, 7, 4, 0, 0, 0, 0, 1, 0x94, 4, 0, 0][..].try_into().expect("twelve octets");
    let chain = [
        &[60, 0, 5, 2, 0, 0, 1, 0][..],
        &[43, 0, 1, 4, 0, 0, 0, 0],
        &[44, 0, 0, 0, 0, 0, 0, 0],
        &[17, 0, 0, 1, 0, 0, 0, 9],
        &udp(16),
    ];
    vec![
        ping4(&[1; 60]),
        ping6(&[1; 60]),
        v4(UDP, &udp(30)),
        v6(UDP, &udp(30)),
        v4_with(optioned, &udp(8)),
        v6(0, &chain.concat()),
        frag4(3, 0, true, &udp(16)),
        frag4(3, 24, false, &udp(16)),
        frag6(UDP, 3, 0, true, &udp(16)),
        frag6(60, 3, 24, false, &udp(16)),
        v4(1, &icmp4(3, 4, [0, 0, 2, 0], &quote4)),
        v6(58, &icmp6(PEER6, US6, (2, 0), 1300u32.to_be_bytes(), &quote6)),
        v4(253, &[0; 30]),
    ]
}

fn tamper(rng: &mut Rng, packet: &mut Vec<u8>) {
    for _ in 0..rng.below(4) {
        let at = rng.below(packet.len() as u64) as usize;
        packet[at] = rng.next_u32() as u8;
    }
    match rng.below(8) {
        0 => packet.truncate(rng.below(packet.len() as u64 + 1) as usize),
        1 => packet.extend(std::iter::repeat_n(0x5a, rng.below(2000) as usize)),
        _ => {}
    }
    // Half of them get past the first check.
    if packet.len() >= 60 && packet[0] >> 4 == 4 && packet[0] & 15 >= 5 && rng.chance(0.7) {
        mend4(packet);
    }
}

#[test]
fn a_storm_of_bad_packets_does_no_harm() {
    let mut lab = Lab::new();
    lab.config.set("ipfrag_high_thresh", "65536").expect("a setting");
    let mut rng = Rng::from_seed(20);
    let honest = honest();
    let mut verdicts = [0; 3];
    for n in 0..60_000u64 {
        let mut packet = honest[rng.below(honest.len() as u64) as usize].clone();
        tamper(&mut rng, &mut packet);
        let (trusted, from_wire) = (rng.chance(0.5), rng.chance(0.9));
        let kind = match lab.with(|net, env| net.receive(env, &packet, trusted, from_wire)) {
            Verdict::Deliver(delivery) => {
                assert!(delivery.payload.end <= delivery.packet.len());
                0
            }
            Verdict::IcmpError(error) => {
                assert!(error.transport.len() >= 8 && lab.net.is_local(error.src));
                if let Some(mtu) = error.mtu {
                    lab.with(|net, env| net.learn_path_mtu(env, error.dst, mtu));
                }
                1
            }
            Verdict::Done(_) => 2,
        };
        verdicts[kind] += 1;
        lab.with(|net, env| net.send_error(env, &packet, IcmpErrorKind::PortUnreachable));
        lab.sent();
        assert!(lab.net.reassembly.used() <= 65536);
        if n % 64 == 0 {
            lab.advance(Duration::from_millis(rng.below(3000)));
        }
    }
    assert!(verdicts.iter().all(|count| *count > 1000), "every way was taken: {verdicts:?}");
}
