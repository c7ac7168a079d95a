//! Path MTU without ICMP (RFC 4821): black holes are noticed, and larger segments are tried with care.

use super::common::exchange::{Exchange, Setup};
use super::common::{ms, secs};

/// The peer at the far end of a path that swallows segments of more than `most` octets without a word.
struct Hole {
    most: i64,
    /// Text that arrived ahead: from, to.
    ahead: Vec<(i64, i64)>,
    nxt: i64,
    /// Lengths of all segments with text that the stack sent, in order.
    lens: Vec<i64>,
}

impl Hole {
    fn new(most: i64) -> Hole {
        Hole { most, ahead: Vec::new(), nxt: 1, lens: Vec::new() }
    }

    /// What the stack has sent arrives or does not; what arrives is acknowledged, each segment by itself. False: nothing arrived.
    fn answer(&mut self, x: &mut Exchange) -> bool {
        let (iss, _) = x.isns_of_flow();
        let mut acks = Vec::new();
        x.pass(ms(10));
        for tcp in x.take_all() {
            let (start, len) = (i64::from(tcp.seq.wrapping_sub(iss) as i32), tcp.payload.len() as i64);
            if len > 0 {
                self.lens.push(len);
            }
            if len == 0 || len > self.most {
                continue;
            }
            self.ahead.push((start, start + len));
            while let Some(at) = self.ahead.iter().position(|(from, to)| *from <= self.nxt && *to > self.nxt)
            {
                self.nxt = self.ahead.swap_remove(at).1;
            }
            self.ahead.retain(|(_, to)| *to > self.nxt);
            let blocks: Vec<String> =
                self.ahead.iter().rev().take(1).map(|(from, to)| format!("{from}:{to}")).collect();
            let sack = if x.info().sack && !blocks.is_empty() {
                format!("<nop,nop,TS val * ecr *,nop,nop,sack {}>", blocks.join(" "))
            } else {
                String::new()
            };
            acks.push(format!(". 1:1(0) ack {} {sack}", self.nxt));
        }
        let texts: Vec<&str> = acks.iter().map(String::as_str).collect();
        if !texts.is_empty() {
            x.peers(&texts);
        }
        !texts.is_empty()
    }

    /// The path carries all that the stack sends until nothing is left.
    fn carry(&mut self, x: &mut Exchange) {
        for _ in 0..10_000 {
            if !self.answer(x) {
                if x.info().unacked == 0 {
                    return;
                }
                x.until_anything();
            }
        }
        x.fail("the stack never comes to an end");
    }

    /// The longest segment since the last look.
    fn longest(&mut self) -> i64 {
        core::mem::take(&mut self.lens).into_iter().max().unwrap_or(0)
    }
}

/// Probes that were judged.
fn probes(x: &Exchange) -> u64 {
    x.counter("TcpExtTCPMTUPFail") + x.counter("TcpExtTCPMTUPSuccess")
}

fn probing(mode: u32) -> Setup {
    Setup::reno().config(|c| c.tcp_mtu_probing = mode)
}

/// conformance: 4821-7.7-blackhole
#[test]
fn full_segments_that_vanish_lead_to_smaller_ones() {
    let mut x = probing(1).established();
    let mut hole = Hole::new(1200);
    x.write_octets(4380);
    for attempt in 1..=3 {
        assert!(!hole.answer(&mut x), "timeout {attempt}: nothing arrives");
        assert_eq!(hole.longest(), 1460);
        x.until_anything();
    }
    // The third timeout sends what fits any path.
    assert_eq!(x.info().snd_mss, 1024);
    hole.carry(&mut x);
    assert_eq!(hole.longest(), 1024);
    // Off: it would be for ever.
    let mut x = probing(0).established();
    let mut hole = Hole::new(1200);
    x.write_octets(4380);
    for _ in 0..8 {
        assert!(!hole.answer(&mut x));
        x.until_anything();
    }
    assert_eq!(x.info().snd_mss, 1460);
    x.ignore();
}

/// A path that takes even less: half of the base, and so on.
///
/// conformance: 4821-7.7-blackhole
#[test]
fn a_path_that_takes_less_than_the_base_is_found_too() {
    let mut x = probing(1).established();
    let mut hole = Hole::new(300);
    x.write_octets(5000);
    hole.carry(&mut x);
    assert_eq!(x.info().snd_mss, 256);
}

/// What is small cannot vanish for its size.
#[test]
fn small_segments_that_vanish_change_nothing() {
    let mut x = probing(1).established();
    x.write_octets(900);
    for _ in 0..6 {
        x.ignore();
        x.until_anything();
    }
    assert_eq!(x.info().snd_mss, 1460);
    x.ignore();
}

/// conformance: 4821-7.2-start, 4821-7.3-probe, 4821-7.6-loss
#[test]
fn the_size_of_the_path_is_found_with_data_and_without_a_cut() {
    for (most, options) in [(1200, "mss 1460"), (1300, "mss 1460,sackOK,TS val * ecr *,nop,wscale 7")] {
        let mut x = probing(2).syn_options(options).syn_received();
        // The round trip of the path is known from the start, so that no tail loss probe disturbs.
        x.pass(ms(10)).peer(". 1:1(0) ack 1").accept();
        assert_eq!(x.info().snd_mss, 1024, "it starts from what fits any path");
        let mut hole = Hole::new(most);
        let mut cwnd = 0;
        for _ in 0..40 {
            x.write_octets(100_000);
            hole.carry(&mut x);
            let octets = x.cwnd() * x.info().snd_mss;
            if octets + 1460 < cwnd {
                x.fail(&format!("a lost probe is no congestion: {octets} after {cwnd}"));
            }
            cwnd = octets;
        }
        let mss = i64::from(x.info().snd_mss);
        assert!(mss <= most && most - mss < 8, "{mss} of {most}");
        assert!(hole.longest() > most, "it was tried");
        let (lost, arrived) = (x.counter("TcpExtTCPMTUPFail"), x.counter("TcpExtTCPMTUPSuccess"));
        assert!(lost >= 2 && arrived >= 2 && lost + arrived <= 8, "{lost} lost, {arrived} arrived");
        assert_eq!((x.counter("TcpExtTCPTimeouts"), x.ssthresh()), (0, u32::MAX >> 1));
        // Then there is peace, until the path may have changed.
        x.write_octets(300_000);
        hole.carry(&mut x);
        assert_eq!(hole.longest(), mss);
        x.pass(secs(600));
        hole.most = 1460;
        for _ in 0..10 {
            x.write_octets(100_000);
            hole.carry(&mut x);
        }
        assert!(i64::from(x.info().snd_mss) > 1430, "{}", x.info().snd_mss);
    }
}

/// Once the size is known to within a few octets, nothing is tried for ten minutes, however much is sent.
///
/// conformance: 4821-10.1-isolated
#[test]
fn after_the_search_there_is_peace_for_ten_minutes() {
    let mut x = probing(2).established();
    let mut hole = Hole::new(1200);
    for _ in 0..40 {
        x.write_octets(100_000);
        hole.carry(&mut x);
    }
    let (mss, tries) = (i64::from(x.info().snd_mss), probes(&x));
    for _ in 0..19 {
        x.pass(secs(29));
        hole.longest();
        x.write_octets(100_000);
        hole.carry(&mut x);
        assert_eq!(hole.longest(), mss);
    }
    assert_eq!(probes(&x), tries);
    x.pass(secs(60));
    for _ in 0..3 {
        x.write_octets(100_000);
        hole.carry(&mut x);
    }
    assert!(probes(&x) > tries, "the path may have changed");
}

/// conformance: 4821-7.3-probe
#[test]
fn one_probe_is_out_at_a_time_and_other_data_follows() {
    let mut x = probing(2).config(|c| c.tcp_init_cwnd = 20).established();
    x.write_octets(40_000);
    let lens: Vec<usize> = x.take_all().iter().map(|tcp| tcp.payload.len()).collect();
    // Half way between 1024 and 1460, then what is known to arrive.
    assert_eq!((lens[0], lens.iter().filter(|len| **len > 1024).count()), (1242, 1));
    // Acknowledged, it is the size of all, and the next is tried.
    let end = x.stack_nxt();
    x.peer(&format!(". 1:1(0) ack {end}"));
    let lens: Vec<usize> = x.take_all().iter().map(|tcp| tcp.payload.len()).collect();
    assert_eq!((lens[0], lens[1]), (1351, 1242));
}

/// Without enough data behind it a lost probe would have to wait for a timeout.
#[test]
fn without_witnesses_there_is_no_probe() {
    let mut x = probing(2).config(|c| c.tcp_init_cwnd = 20).established();
    x.write_octets(1242 + 4 * 1024 - 1);
    assert!(x.take_all().iter().all(|tcp| tcp.payload.len() <= 1024));
}

/// A probe that a router refuses, and says so, is not sent again as it was.
#[test]
fn a_router_that_speaks_ends_the_probe_at_once() {
    let mut x = probing(2).config(|c| c.tcp_init_cwnd = 20).established();
    x.write_octets(40_000);
    assert_eq!(x.stack(". 1:1243(1242) ack 1").payload.len(), 1242);
    x.take_all();
    x.peer_too_big(1240, ". 1:1243(1242) ack 1");
    x.stack(". 1:1025(1024) ack 1");
    x.stack(". 1025:1243(218) ack 1");
    let end = x.stack_nxt();
    x.peer(&format!(". 1:1(0) ack {end}"));
    assert!(x.take_all().iter().all(|tcp| tcp.payload.len() <= 1200));
    assert_eq!(x.cwnd() / 20, 1);
}

/// Losses on a path whose size is known to be good do not make it small; a path that looked small gets another chance.
#[test]
fn a_bad_path_is_not_taken_for_a_small_one() {
    let mut x = probing(1).established();
    let mut hole = Hole::new(1200);
    x.write_octets(10_240);
    hole.carry(&mut x);
    assert_eq!(x.info().snd_mss, 1024);
    // Five times nothing arrives: the size was good before.
    x.write_octets(3072);
    for _ in 0..5 {
        x.take_all();
        x.until_anything();
    }
    assert_eq!(x.info().snd_mss, 1024);
    for _ in 0..2 {
        x.take_all();
        x.until_anything();
    }
    assert_eq!(x.info().snd_mss, 256, "the sixth and the seventh");
    x.skip(secs(600));
    hole.carry(&mut x);
    x.write_octets(3072);
    hole.carry(&mut x);
    assert_eq!(x.info().snd_mss, 1024);
}

/// A probe is lost together with the segment before it. Both go again in segments that fit, so that their arrival proves nothing.
///
/// conformance: 4821-7.6-loss
#[test]
fn a_probe_that_goes_again_proves_nothing() {
    let mut x = probing(2).syn_options("mss 1460,nop,nop,sackOK,nop,wscale 7").syn_received();
    x.pass(ms(10)).peer(". 1:1(0) ack 1").accept();
    x.write_octets(400_000);
    let (mss, (iss, _)) = (x.info().snd_mss, x.isns_of_flow());
    let mut before = 0;
    let (lost, probe_end) = loop {
        let sent = x.take_all();
        let place = |n: usize| i64::from(sent[n].seq.wrapping_sub(iss));
        let probe = sent.iter().position(|tcp| tcp.payload.len() > mss as usize);
        if let Some(n) = probe {
            let lost = if n > 0 { place(n - 1) } else { before };
            break (lost, place(n) + sent[n].payload.len() as i64);
        }
        before = place(sent.len() - 1);
        x.pass(ms(10)).peer(&format!(". 1:1(0) ack {before}"));
    };
    let end = x.stack_nxt();
    x.pass(ms(10)).peer(&format!(". 1:1(0) ack {lost} <nop,nop,sack {probe_end}:{end}>"));
    let again = x.take_all();
    assert!(again.iter().all(|tcp| tcp.payload.len() <= mss as usize), "{again:?}");
    x.pass(ms(10));
    let all = x.stack_nxt();
    x.peer(&format!(". 1:1(0) ack {all}")).ignore();
    assert_eq!((x.counter("TcpExtTCPMTUPSuccess"), x.info().snd_mss), (0, mss));
}
