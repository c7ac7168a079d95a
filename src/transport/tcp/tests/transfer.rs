//! Whole transfers over all kinds of wires: every octet arrives once and in order, and both ends come to an end.

use super::ms;
use super::pair::{Pair, Wire};
use crate::base::io::Target;
use crate::base::{Duration, MsgFlags, Rng};
use crate::trace::TcpState;

fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Sends `total[end]` octets from each end and closes both; checks what arrives.
fn exchange(pair: &mut Pair, total: [usize; 2]) {
    let mut written = [0; 2];
    let mut read = [0; 2];
    let mut shut = [false; 2];
    let mut ended = [false; 2];
    pair.open();
    for _ in 0..3_000_000 {
        for end in 0..2 {
            if pair.ends[end].conn.is_none() {
                continue;
            }
            if written[end] < total[end] {
                let data = pattern(written[end], (total[end] - written[end]).min(50_000));
                written[end] += pair.send(end, &data);
            } else if !shut[end] && pair.state(end) != TcpState::SynSent {
                shut[end] = true;
                pair.shut_write(end);
            }
            let mut buf = vec![0; 30_000];
            let now = pair.now;
            let got = pair.ends[end]
                .call(now, |conn, env| conn.recv(env, Target::Slice(&mut buf), MsgFlags::empty()));
            match got {
                Ok(got) if got.len > 0 => {
                    assert_eq!(buf[..got.len], pattern(read[end], got.len), "at {} of end {end}", read[end]);
                    read[end] += got.len;
                    pair.flush(end);
                }
                Ok(_) => ended[end] = true,
                Err(error) => assert_eq!(error, crate::base::Errno::EAGAIN, "end {end} at {:?}", pair.now),
            }
        }
        let quiet = [0, 1].map(|end| matches!(pair.state(end), TcpState::Closed | TcpState::TimeWait));
        if quiet == [true, true] && ended == [true, true] {
            break;
        }
        if !pair.step() {
            break;
        }
    }
    let views = [0, 1].map(|end| pair.ends[end].conn().view());
    assert_eq!((read[0], read[1]), (total[1], total[0]), "at {:?}: {views:#?}", pair.now);
    assert_eq!(ended, [true, true], "{views:#?}");
    for end in 0..2 {
        assert_eq!(pair.ends[end].conn().soft_error(), None);
    }
}

/// conformance: 9293-3.4-seq-arith, 9293-3.6-fin-reliable
#[test]
fn a_clean_wire_across_the_wrap() {
    let mut pair = Pair::new(1, Wire::CLEAN);
    exchange(&mut pair, [3_000_000, 1_000_000]);
    assert_eq!(pair.ends[0].counters.tcp_retrans_segs + pair.ends[1].counters.tcp_retrans_segs, 0);
}

#[test]
fn super_segments_on_both_sides() {
    let mut pair = Pair::new(2, Wire::CLEAN);
    pair.ends[0].max_payload = 65_000;
    pair.ends[1].max_payload = 65_000;
    exchange(&mut pair, [5_000_000, 2_000_000]);
    assert_eq!(pair.ends[0].counters.tcp_retrans_segs + pair.ends[1].counters.tcp_retrans_segs, 0);
}

#[test]
fn loss_reordering_and_repetition() {
    for seed in 0..60 {
        let wire = Wire {
            delay: ms(5),
            jitter: ms([0, 1, 10, 40][seed as usize % 4]),
            loss: [0.0, 0.01, 0.05, 0.2][seed as usize / 4 % 4],
            repeat: [0.0, 0.05][seed as usize % 2],
        };
        let mut pair = Pair::new(1000 + seed, wire);
        if seed % 3 == 0 {
            pair.ends[0].config.tcp_timestamps = false;
        }
        if seed % 5 == 0 {
            pair.ends[1].config.tcp_sack = false;
        }
        if seed % 7 == 0 {
            pair.ends[0].config.tcp_window_scaling = false;
        }
        exchange(&mut pair, [200_000, 100_000]);
    }
}

#[test]
fn tiny_buffers_and_windows() {
    for seed in 0..20 {
        let wire = Wire { delay: ms(3), jitter: ms(3), loss: 0.02, repeat: 0.02 };
        let mut pair = Pair::new(2000 + seed, wire);
        for end in 0..2 {
            (pair.settings[end].rcv_buf, pair.settings[end].rcv_buf_locked) =
                (2304 + 500 * seed as u32, true);
            (pair.settings[end].snd_buf, pair.settings[end].snd_buf_locked) = (4608, true);
        }
        exchange(&mut pair, [60_000, 40_000]);
    }
}

/// A blackout of 20 s: progress resumes within one backed-off RTO.
#[test]
fn blackout() {
    let mut pair = Pair::established(7, Wire::CLEAN);
    pair.wire.loss = 1.0;
    pair.send(0, &pattern(0, 100_000));
    pair.run_for(Duration::from_secs(20));
    pair.wire.loss = 0.0;
    let end = pair.now;
    let mut got = Vec::new();
    while got.len() < 100_000 {
        assert!(pair.step());
        got.extend(pair.recv(1, 65_536));
    }
    assert_eq!(got, pattern(0, 100_000));
    assert!(pair.now.since(end) < Duration::from_secs(27), "{:?}", pair.now.since(end));
}

/// Any wire, any settings, both directions: the bytes arrive and both ends finish.
#[test]
fn anything_goes() {
    let seeds = std::env::var("TCP_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    for seed in 0..seeds {
        let result = std::panic::catch_unwind(|| anything(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

fn anything(seed: u64) {
    let (mut rng, mut rng_size) = (Rng::from_seed(seed ^ 0x00d1_ce00), Rng::from_seed(seed ^ 0x0512_e000));
    let mut below = |bound: u64| rng.below(bound);
    let mut size = |least: u64, powers: u64| {
        let power = least + rng_size.below(powers);
        rng_size.below(1 << power)
    };
    let wire = Wire {
        delay: Duration::from_micros(below(50_000)),
        jitter: Duration::from_micros(below(4) * below(20_000)),
        loss: below(4) as f64 * below(10) as f64 / 100.0,
        repeat: below(2) as f64 * below(10) as f64 / 100.0,
    };
    let mut pair = Pair::new(seed, wire);
    pair.iss = [below(1 << 32) as u32, below(1 << 32) as u32];
    pair.mtu = 576 + below(2000) as u32;
    for end in 0..2 {
        let config = &mut pair.ends[end].config;
        config.tcp_timestamps = below(3) > 0;
        config.tcp_sack = below(3) > 0;
        config.tcp_window_scaling = below(3) > 0;
        config.tcp_init_cwnd = [0, 1, 10][below(3) as usize];
        pair.ends[end].max_payload = [0, 3000, 65_000][below(3) as usize];
        let settings = &mut pair.settings[end];
        settings.no_delay = below(2) > 0;
        settings.cork = below(8) == 0;
        settings.keep_alive = below(4) == 0;
        (settings.rcv_buf, settings.rcv_buf_locked) = (1000 + size(10, 9) as u32, true);
        (settings.snd_buf, settings.snd_buf_locked) = (1000 + size(10, 9) as u32, true);
    }
    let sizes = [0, 1].map(|_| size(4, 14) as usize);
    exchange(&mut pair, sizes);
}
