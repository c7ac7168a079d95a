//! Path MTU without ICMP (RFC 4821), as Linux does it: when full segments time out again and again the path may swallow them without a
//! word, so smaller ones go; then larger ones are tried, one at a time, by halving what is unknown.
//!
//! `tcp_mtu_probing`: 0 never, 1 when a black hole shows, 2 from the start. A probe is the next of the data in one larger segment, so
//! nothing is sent for its sake; its loss says nothing about congestion. Invariant: `low ≤ high`, and the probe lies between.

use super::common::Common;
use super::congestion::Controller;
use super::output::Plan;
use super::recovery::Mode;
use super::sender::Blocked;
use super::synchronized::Synchronized;
use crate::base::{Config, Instant};
use crate::trace::Why;
use crate::transport::Env;
use crate::wire::seq::SeqNumber;
use arrayvec::ArrayVec;

/// Segments beside the probe that tell by their acknowledgments that it was lost.
const WITNESSES: u32 = 4;
/// A smaller congestion window has no room for probes (Linux).
const LEAST_CWND_SEGMENTS: u32 = 11;

/// The search for the size of packets, once it is on. All sizes are those of IP packets.
#[derive(Clone, Debug)]
pub(super) struct MtuSearch {
    /// Packets of this size are thought to arrive.
    low: u32,
    /// Larger ones are not tried.
    high: u32,
    probe: Option<Probe>,
    /// Full segments have arrived since `low` is what it is: what vanishes then does not vanish for its size.
    proved: bool,
    /// When the search began.
    began: Instant,
}

/// A probe in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    size: u32,
    start: SeqNumber,
    end: SeqNumber,
}

/// What the search wants of the next segment.
pub(super) enum Wish {
    /// Nothing.
    None,
    /// That it waits until there is room for a probe.
    Wait,
    /// That it is a probe.
    Probe(Plan),
}

impl MtuSearch {
    /// Begins at the base; `overhead` octets of each packet are headers, and no packet may be larger than `largest`.
    pub fn new(config: &Config, now: Instant, overhead: u32, largest: u32) -> MtuSearch {
        let low = (config.tcp_base_mss + overhead).min(largest);
        MtuSearch { low, high: largest, probe: None, proved: false, began: now }
    }

    /// The largest packet that may be sent but for probes, `path_mtu` being what ICMP told.
    pub fn packet_limit(&self, path_mtu: u32) -> u32 {
        path_mtu.min(self.low)
    }

    /// A path that was known to take more takes only this.
    fn bound(&mut self, path_mtu: u32) {
        self.high = self.high.min(path_mtu);
        self.low = self.low.min(self.high);
    }

    /// Nothing of the size that was thought to arrive does: search lower.
    fn lower(&mut self, config: &Config, overhead: u32) {
        let half = self.low.saturating_sub(overhead) / 2;
        let mss = half.min(config.tcp_base_mss).max(config.tcp_mtu_probe_floor).max(config.tcp_min_snd_mss);
        self.low = self.low.min(mss + overhead);
        self.proved = false;
    }

    /// A path that is bad as well, and looked like a small one, gets another chance after a while. True when there is one.
    fn return_to_base(&mut self, config: &Config, now: Instant, overhead: u32) -> bool {
        let base = (config.tcp_base_mss + overhead).min(self.high);
        let due = self.low < base && now.since(self.began) >= config.tcp_probe_interval;
        if due {
            (self.low, self.proved, self.began) = (base, false, now);
        }
        due
    }

    /// The size to try next; `None` when what is unknown is not worth a probe. Then the search begins anew after a while.
    fn next_size(&mut self, config: &Config, now: Instant, largest: u32) -> Option<u32> {
        if self.high.saturating_sub(self.low) >= config.tcp_probe_threshold {
            return Some(self.low.midpoint(self.high));
        }
        if now.since(self.began) >= config.tcp_probe_interval {
            (self.high, self.began) = (largest.max(self.low), now);
        }
        None
    }
}

impl Synchronized {
    /// Octets of headers in a packet with text.
    pub fn overhead(&self, common: &Common) -> u32 {
        common.header_octets() + if self.rcv.timestamps.is_some() { 12 } else { 0 }
    }

    /// The largest packet that may be sent but for probes.
    pub fn packet_limit(&self, common: &Common) -> u32 {
        self.mtu_search.as_ref().map_or(common.path_mtu, |search| search.packet_limit(common.path_mtu))
    }

    /// The largest packet that the link and the peer take.
    fn largest_packet(&self, common: &Common) -> u32 {
        common.path_mtu.min(u32::from(self.snd.peer_mss) + common.header_octets())
    }

    /// The retransmission timer expired `expiries` times in a row. A probe in flight has proved nothing; and if more is in flight than
    /// a small segment holds, the path may be a black hole for full ones (RFC 4821 §7.7).
    pub fn suspect_black_hole(&mut self, common: &mut Common, env: &mut Env, expiries: u32) {
        self.forget_mtu_probe();
        let config = env.config;
        let full = self.snd.flight() > config.tcp_base_mss.min(self.snd.mss);
        if config.tcp_mtu_probing == 0 || expiries < config.tcp_retries1 || !full {
            return;
        }
        let (overhead, largest) = (self.overhead(common), self.largest_packet(common));
        match &mut self.mtu_search {
            // Only many losses in a row outweigh that the size was good before.
            Some(search) if search.proved && expiries < 2 * config.tcp_retries1 => return,
            Some(search) => search.lower(config, overhead),
            None => {
                self.mtu_search = Some(Box::new(MtuSearch::new(config, env.now, overhead, largest)));
            }
        }
        self.on_path_mtu(common, env, false);
    }

    /// The path MTU that ICMP tells has changed; a probe in flight may be known to be lost.
    pub fn bound_mtu_search(&mut self, common: &mut Common, env: &mut Env) {
        let Some(search) = &mut self.mtu_search else { return };
        search.bound(common.path_mtu);
        if search.probe.is_some_and(|probe| probe.size > common.path_mtu) {
            self.on_mtu_probe_lost(common, env);
        }
    }

    /// Is the next segment of new data to be a probe?
    pub fn wish_of_mtu_search(&mut self, common: &Common, env: &Env) -> Wish {
        let (overhead, largest) = (self.overhead(common), self.largest_packet(common));
        let Some(search) = &mut self.mtu_search else { return Wish::None };
        if search.probe.is_some() || !common.settings.discover_mtu {
            return Wish::None;
        }
        let snd = &self.snd;
        let (board, recovery) = (&snd.out.board, &snd.out.recovery);
        let whole = board.lost() == 0 && board.sacked() == 0 && recovery.dup_acks == 0;
        let calm = recovery.mode == Mode::Open && whole && self.rcv.sack.is_none();
        let cwnd = snd.congestion.cwnd();
        if !calm || snd.urgent.is_some() || cwnd < LEAST_CWND_SEGMENTS * snd.mss {
            return Wish::None;
        }
        let Some(size) = search.next_size(env.config, env.now, largest) else { return Wish::None };
        let len = size.saturating_sub(overhead);
        let needed = len + WITNESSES * snd.mss;
        let offset = snd.offset(snd.nxt);
        let whole = snd.buffer.contiguous(offset, len as usize) == len as usize
            && snd.buffer.boundary_after(offset).is_none_or(|at| at - offset >= u64::from(len));
        if len <= snd.mss || snd.unsent() < needed || snd.window_room() < needed || !whole {
            return Wish::None;
        }
        if snd.cwnd_room() < len {
            return if snd.flight() > 0 { Wish::Wait } else { Wish::None };
        }
        let (start, end) = (snd.nxt, snd.nxt.add(len));
        search.probe = Some(Probe { size, start, end });
        Wish::Probe(Plan {
            seq: start,
            len,
            fin: false,
            push: false,
            again: false,
            why: Why::MtuProbe,
            mss: len,
            sack: ArrayVec::new(),
        })
    }

    /// SND.UNA moved by `acked`: past the probe, it has arrived, and so will others of its size.
    pub fn check_mtu_probe(&mut self, common: &mut Common, env: &mut Env, acked: u32) {
        let (mss, overhead) = (self.snd.mss, self.overhead(common));
        let Some(search) = &mut self.mtu_search else { return };
        search.proved |= acked >= mss;
        if search.return_to_base(env.config, env.now, overhead) {
            self.on_path_mtu(common, env, false);
            return;
        }
        let Some(probe) = search.probe.take_if(|probe| probe.end.at_or_before(self.snd.una)) else { return };
        search.low = probe.size;
        env.counters.tcp_ext_mtup_success += 1;
        // RFC 4821 §7.5: the window keeps its octets.
        let cwnd = self.snd.congestion.cwnd();
        self.on_path_mtu(common, env, false);
        self.snd.congestion.set_cwnd(cwnd);
    }

    /// The probe does not leave after all, or proves nothing any more.
    pub fn forget_mtu_probe(&mut self) {
        if let Some(search) = &mut self.mtu_search {
            search.probe = None;
        }
    }

    /// Something is lost at SND.UNA, `octets` of it as far as is known. If it is the probe alone, it was too large, which says nothing
    /// about congestion (RFC 4821 §7.6.2): what it carried goes again in smaller segments. False: it is not.
    pub fn is_lost_mtu_probe(&mut self, common: &mut Common, env: &mut Env, octets: u32) -> bool {
        let probe = self.mtu_search.as_ref().and_then(|search| search.probe);
        let alone =
            |probe: &Probe| probe.start == self.snd.una && octets <= probe.end.distance_from(probe.start);
        let lost = self.snd.out.recovery.mode == Mode::Open && probe.as_ref().is_some_and(alone);
        if lost {
            self.on_mtu_probe_lost(common, env);
        }
        lost
    }

    fn on_mtu_probe_lost(&mut self, common: &mut Common, env: &mut Env) {
        let Some(search) = &mut self.mtu_search else { return };
        let Some(probe) = search.probe.take() else { return };
        search.high = search.high.min(probe.size.saturating_sub(1)).max(search.low);
        env.counters.tcp_ext_mtup_fail += 1;
        let snd = &mut self.snd;
        snd.rtt.on_retransmit();
        let range = snd.offset(probe.start.max(snd.una))..snd.offset(probe.end);
        snd.out.recovery.dup_acks = 0;
        snd.out.board.lose_within(range);
        snd.blocked = Blocked::No;
        common.output_due = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Duration;

    /// conformance: 4821-7.2-start
    #[test]
    fn the_search_halves_what_is_unknown_and_ends() {
        let config = Config { tcp_mtu_probing: 2, ..Config::default() };
        let mut search = MtuSearch::new(&config, Instant::ZERO, 52, 1500);
        assert_eq!(search.packet_limit(1500), 1024 + 52);
        let (path, mut tries) = (1420, 0);
        while let Some(size) = search.next_size(&config, Instant::ZERO, 1500) {
            tries += 1;
            if size <= path { search.low = size } else { search.high = size - 1 }
        }
        assert!(search.low <= path && path - search.low < config.tcp_probe_threshold, "{search:?}");
        assert!(tries <= 7, "{tries}");
        // The path may have changed: after a while all is unknown again.
        let later = Instant::ZERO + Duration::from_secs(600);
        assert_eq!(search.next_size(&config, later, 1500), None);
        assert!(search.next_size(&config, later, 1500).is_some_and(|size| size > path));
    }

    #[test]
    fn a_black_hole_leads_to_the_base_and_then_below() {
        let config = Config { tcp_mtu_probing: 1, ..Config::default() };
        let mut search = MtuSearch::new(&config, Instant::ZERO, 40, 1500);
        let sizes: Vec<u32> = (0..8)
            .map(|_| {
                let size = search.packet_limit(1500) - 40;
                search.lower(&config, 40);
                size
            })
            .collect();
        assert_eq!(sizes, [1024, 512, 256, 128, 64, 48, 48, 48]);
    }
}
