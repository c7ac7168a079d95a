//! Anything in any order: near-valid segments, calls, time. Nothing may panic, overflow or break an invariant.

use super::ms;
use super::script::{PeerSyn, Script};
use crate::base::{Duration, Errno, MsgFlags, Rng};
use crate::trace::TcpState;
use crate::wire::seq::SeqNumber;
use crate::wire::tcp::{Flags, SackBlock, Timestamps};

const STATES: [TcpState; 8] = [
    TcpState::SynReceived,
    TcpState::Established,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::CloseWait,
    TcpState::Closing,
    TcpState::LastAck,
    TcpState::TimeWait,
];

#[test]
fn anything_in_any_order() {
    let seeds = std::env::var("TCP_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1500);
    for seed in 0..seeds {
        let result = std::panic::catch_unwind(|| storm(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

fn storm(seed: u64) {
    let mut rng = Rng::from_seed(seed);
    let syn = PeerSyn {
        mss: [None, Some(0), Some(88), Some(1460), Some(65_535)][rng.below(5) as usize],
        scale: [None, Some(0), Some(7), Some(14), Some(255)][rng.below(5) as usize],
        sack: rng.chance(0.5),
        timestamps: rng.chance(0.5),
        window: [0, 1, 1000, 65_535][rng.below(4) as usize],
    };
    let state = if syn == PeerSyn::FULL || rng.chance(0.2) {
        STATES[rng.below(8) as usize]
    } else {
        TcpState::Listen
    };
    let mut x = match state {
        TcpState::Listen => Script::new(syn).accepted(),
        state => Script::in_state(state, PeerSyn::FULL),
    };
    x.end.max_payload = [0, 65_000][rng.below(2) as usize];
    for _ in 0..60 {
        match rng.below(10) {
            0..5 => near_valid(&mut x, &mut rng),
            5 => drop(x.send_flags(&vec![b'x'; rng.below(20_000) as usize], flags(&mut rng))),
            6 => drop(x.recv_flags(rng.below(20_000) as usize, flags(&mut rng))),
            7 => x.wait(Duration::from_micros(rng.below(1 << (5 + rng.clone().below(25))))),
            8 => call(&mut x, &mut rng),
            _ => drop(x.out()),
        }
    }
    x.out();
    x.close();
    x.out();
    for _ in 0..200 {
        x.wait(Duration::from_secs(200));
        x.out();
    }
    assert_eq!(x.state(), TcpState::Closed, "an orphan that never ends");
    assert!(x.end.conn().memory_octets() < 1000, "memory kept after the end");
}

fn flags(rng: &mut Rng) -> MsgFlags {
    let all = [MsgFlags::OOB, MsgFlags::MORE, MsgFlags::EOR, MsgFlags::PEEK, MsgFlags::TRUNC];
    if rng.chance(0.5) { MsgFlags::empty() } else { all[rng.below(5) as usize] }
}

fn call(x: &mut Script, rng: &mut Rng) {
    let (a, b) = (rng.below(8), rng.next_u32());
    match a {
        0 => x.set(|settings| settings.rcv_buf = b % 200_000),
        1 => x.set(|settings| settings.snd_buf = b % 200_000),
        2 => x.set(|settings| {
            settings.cork = b & 1 == 1;
            settings.no_delay = b & 2 == 2;
            settings.keep_alive = b & 4 == 4;
            settings.oob_inline = b & 8 == 8;
            settings.user_timeout = ms(u64::from(b >> 4 & 1) * 5000);
            settings.linger2 = ms(u64::from(b % 50_000));
        }),
        3 => x.end.call(x.now, |conn, env| conn.set_path_mtu(env, 40 + b % 3000)),
        4 => {
            let at = SeqNumber(x.end.conn().view().snd_una.wrapping_add(b % 2000));
            let mtu = (b & 1 == 1).then_some(b >> 16);
            x.end.call(x.now, |conn, env| conn.on_icmp(env, Errno::EHOSTUNREACH, true, mtu, Some(at)));
        }
        5 => {
            let _ = x.end.call(x.now, |conn, env| conn.shutdown(env, b & 1 == 1, b & 2 == 2));
        }
        6 if b.is_multiple_of(5) => x.close(),
        6 if b % 5 == 1 => x.abort(),
        _ => {
            let _ = (x.ready(), x.wakes(), x.end.conn().info(x.now), x.end.conn().at_mark());
        }
    }
}

/// A segment that might be meant for this connection.
fn near_valid(x: &mut Script, rng: &mut Rng) {
    let view = x.end.conn().view();
    let mut near = |base: u32, spread: u64| {
        let by = rng.below(spread) as u32;
        match rng.below(4) {
            0 | 1 => base,
            2 => base.wrapping_add(by),
            _ => base.wrapping_sub(by),
        }
    };
    let mut segment = x.segment(".", 0, 0, "");
    segment.seq = SeqNumber(near(view.rcv_nxt, 3000));
    segment.ack = SeqNumber(near(view.snd_nxt, 30_000));
    segment.window = near(0, 65_536) as u16;
    segment.urgent = near(0, 3000) as u16;
    let blocks = near(0, 5) % 5;
    let sack: Vec<SackBlock> = (0..blocks)
        .map(|_| SackBlock {
            left: SeqNumber(near(view.snd_una, 20_000)),
            right: SeqNumber(near(view.snd_nxt, 20_000)),
        })
        .collect();
    segment.options.sack = sack.into_iter().collect();
    if let Some(ts) = &mut segment.options.timestamps {
        *ts = Timestamps { value: near(ts.value, 100), echo: near(ts.echo, 2000) };
    }
    segment.flags = match rng.below(12) {
        0 => Flags::from_bits_truncate(rng.next_u32() as u8),
        1 => Flags::ACK | Flags::FIN,
        2 => Flags::ACK | Flags::URG | Flags::PSH,
        _ => Flags::ACK,
    };
    if rng.chance(0.6) {
        segment.payload = vec![b'z'; rng.below(3000) as usize];
    }
    if rng.chance(0.1) {
        segment.payload = vec![b'z'; rng.below(60_000) as usize];
        segment.segment_size = 1000;
    }
    x.inject(&segment);
}
