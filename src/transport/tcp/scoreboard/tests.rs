//! The scoreboard against a model that knows every octet.

use super::*;
use crate::base::{Duration, Rng};
use proptest::prelude::*;

fn stamp(at: Instant) -> Stamp {
    Stamp { at, delivered: 0, lost: 0, delivered_at: at, first_sent_at: at, in_flight: 0, app_limited: false }
}

fn at(ms: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(ms)
}

/// An octet in flight: what became of it, and when it was sent last.
#[derive(Clone, Copy)]
struct Octet {
    fate: Fate,
    sent: Instant,
    again: bool,
}

#[derive(Default)]
struct Model {
    una: u64,
    octets: Vec<Octet>,
}

impl Model {
    fn sum(&self, wanted: impl Fn(&Octet) -> bool) -> u32 {
        self.octets.iter().filter(|octet| wanted(octet)).count() as u32
    }

    fn compare(&self, board: &Scoreboard) {
        board.check(self.una..self.una + self.octets.len() as u64).expect("invariants");
        let fate = |fate| self.sum(|octet| octet.fate == fate);
        assert_eq!(
            (board.pipe(), board.sacked(), board.lost()),
            (fate(Fate::Flying), fate(Fate::Sacked), fate(Fate::Lost))
        );
        assert_eq!(board.again(), self.sum(|octet| octet.again && octet.fate == Fate::Flying));
        let first = self.octets.iter().position(|octet| octet.fate == Fate::Lost);
        assert_eq!(board.first_lost(), first.map(|index| self.una + index as u64));
    }

    fn range(&self, rng: &mut Rng) -> Range<u64> {
        let len = self.octets.len() as u64;
        let start = rng.below(len);
        self.una + start..self.una + start + 1 + rng.below(len - start)
    }
}

fn one_step(rng: &mut Rng, model: &mut Model, board: &mut Scoreboard, now: Instant) {
    let end = model.una + model.octets.len() as u64;
    match rng.below(8) {
        0..=2 if model.octets.len() < 300 => {
            let count = 1 + rng.below(30);
            board.on_sent(end..end + count, stamp(now));
            let octet = Octet { fate: Fate::Flying, sent: now, again: false };
            model.octets.extend((0..count).map(|_| octet));
        }
        _ if model.octets.is_empty() => {}
        3 => {
            let (mut delivery, range) = (Delivery::default(), model.range(rng));
            board.sack(range.clone(), &mut delivery);
            let mut news = 0;
            for octet in
                &mut model.octets[(range.start - model.una) as usize..(range.end - model.una) as usize]
            {
                news += u32::from(octet.fate != Fate::Sacked);
                octet.fate = Fate::Sacked;
            }
            assert_eq!((delivery.octets, delivery.sacked), (news, news));
        }
        4 => {
            let (mut delivery, count) = (Delivery::default(), rng.below(model.octets.len() as u64 + 1));
            board.ack_below(model.una + count, &mut delivery);
            let gone: Vec<Octet> = model.octets.drain(..count as usize).collect();
            model.una += count;
            assert_eq!(
                delivery.octets as usize,
                gone.iter().filter(|octet| octet.fate != Fate::Sacked).count()
            );
        }
        5 => {
            let newest = (at(rng.below(now.as_millis() + 1)), model.una + rng.below(300));
            let patience = Duration::from_millis(rng.below(20));
            let found = board.lose_older(newest, patience, now);
            let mut lost = 0;
            for (index, octet) in model.octets.iter_mut().enumerate() {
                // What was sent at the time of the newest is split where it ends: only whole runs are judged.
                if octet.fate == Fate::Flying && octet.sent < newest.0 && octet.sent + patience <= now {
                    (octet.fate, lost) = (Fate::Lost, lost + 1);
                } else if octet.fate == Fate::Flying && octet.sent == newest.0 {
                    let start = model.una + index as u64;
                    if board.sendable(start, 1, false) == 1 {
                        assert!(start < newest.1 && octet.sent + patience <= now);
                        (octet.fate, lost) = (Fate::Lost, lost + 1);
                    }
                }
            }
            assert_eq!(found.lost, lost);
        }
        6 => {
            let Some(start) = board.first_lost() else { return };
            let count = board.sendable(start, 1 + rng.below(40) as u32, false);
            board.on_sent_again(start..start + u64::from(count), stamp(now));
            let from = (start - model.una) as usize;
            for octet in &mut model.octets[from..from + count as usize] {
                assert!(octet.fate == Fate::Lost);
                *octet = Octet { fate: Fate::Flying, sent: now, again: true };
            }
        }
        _ => match rng.below(2) {
            0 => {
                board.find_again();
                model
                    .octets
                    .iter_mut()
                    .filter(|octet| octet.fate == Fate::Lost)
                    .for_each(|o| o.fate = Fate::Flying);
            }
            _ => {
                board.lose_all(None);
                model
                    .octets
                    .iter_mut()
                    .filter(|octet| octet.fate == Fate::Flying)
                    .for_each(|o| o.fate = Fate::Lost);
            }
        },
    }
}

proptest! {
    /// conformance: 8985-6.1-xmit
    #[test]
    fn it_knows_of_every_octet(seed in any::<u64>()) {
        let (mut rng, mut model, mut board) = (Rng::from_seed(seed), Model::default(), Scoreboard::default());
        for step in 0..120 {
            one_step(&mut rng, &mut model, &mut board, at(step * 3));
            model.compare(&board);
        }
    }
}

/// conformance: 8985-6.2-2-update
#[test]
fn the_newest_delivered_is_the_one_sent_last_and_then_the_highest() {
    let (mut board, mut delivery) = (Scoreboard::default(), Delivery::default());
    board.on_sent(0..10, stamp(at(1)));
    board.on_sent(10..20, stamp(at(2)));
    board.on_sent(20..30, stamp(at(3)));
    board.sack(5..10, &mut delivery);
    board.sack(20..30, &mut delivery);
    board.sack(12..14, &mut delivery);
    assert_eq!(delivery.newest.map(|newest| (newest.stamp.at, newest.end)), Some((at(3), 30)));
    let mut delivery = Delivery::default();
    board.sack(14..16, &mut delivery);
    board.sack(10..12, &mut delivery);
    assert_eq!(delivery.newest.map(|newest| newest.end), Some(16), "sent at the same time");
    assert_eq!((delivery.lowest_original, delivery.highest), (Some(10), 16));
}

/// conformance: 2018-8-keep-until-acked
#[test]
fn what_the_peer_has_thrown_away_is_to_be_sent_again() {
    let (mut board, mut delivery) = (Scoreboard::default(), Delivery::default());
    board.on_sent(0..30, stamp(at(1)));
    board.sack(0..10, &mut delivery);
    board.sack(20..30, &mut delivery);
    board.forget_sacks();
    board.check(0..30).expect("invariants");
    assert_eq!((board.pipe(), board.lost(), board.first_lost()), (10, 20, Some(0)));
}

/// A flight that left in many pieces leaves SACK blocks room all the same.
#[test]
fn a_large_flight_can_be_split() {
    let (mut board, mut delivery) = (Scoreboard::default(), Delivery::default());
    for n in 0..20_000 {
        board.on_sent(n * 1448..(n + 1) * 1448, stamp(at(n)));
    }
    board.sack(1..2, &mut delivery);
    board.sack(14_480_001..14_481_000, &mut delivery);
    assert_eq!(board.sacked(), 1000);
}

/// SACK blocks of single octets cost no more memory than allowed, and nothing goes wrong beyond that.
#[test]
fn hostile_blocks_are_bounded() {
    let (mut board, mut delivery) = (Scoreboard::default(), Delivery::default());
    board.on_sent(0..100_000, stamp(at(1)));
    for start in (1..100_000).step_by(2) {
        board.sack(start..start + 1, &mut delivery);
    }
    assert!(board.runs.len() <= MAX_RUNS + 100_000 / 512 + 2, "{}", board.runs.len());
    board.check(0..100_000).expect("invariants");
    board.ack_below(100_000, &mut delivery);
    assert_eq!((board.pipe(), board.sacked(), board.runs.len()), (0, 0, 0));
}

/// The work for an acknowledgment does not grow with what is in flight: a hundred thousand runs, each acknowledged by itself.
#[test]
fn a_long_flight_is_acknowledged_piece_by_piece() {
    let mut board = Scoreboard::default();
    for n in 0..100_000u64 {
        board.on_sent(n * 10..n * 10 + 10, stamp(at(n)));
    }
    for n in 0..100_000u64 {
        let mut delivery = Delivery::default();
        board.ack_below(n * 10 + 10, &mut delivery);
        let found = board.lose_older((at(n), n * 10 + 10), Duration::from_secs(1), at(n));
        assert_eq!(
            (delivery.octets, found.lost, board.sendings.iter().count()),
            (10, 0, 99_999 - n as usize)
        );
    }
}
