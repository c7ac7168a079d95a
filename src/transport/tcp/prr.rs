//! Proportional rate reduction (RFC 9937): during recovery the window sinks to ssthresh as data is delivered, not at once.
//!
//! conformance-deviation: 9937-6.4-pacing
//! What the end of recovery releases, up to ssthresh, leaves at once: CUBIC and Reno are not paced, as on Linux without a queue that does it.

/// An episode's variables, in octets.
#[derive(Clone, Debug, Default)]
pub(super) struct Prr {
    /// RecoverFS: in flight when the episode began.
    recover_fs: u32,
    delivered: u32,
    out: u32,
}

/// What one acknowledgment in recovery tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrrAck {
    /// DeliveredData.
    pub delivered: u32,
    /// The pipe after it.
    pub in_flight: u32,
    pub ssthresh: u32,
    /// SND.UNA advanced and nothing more was found lost.
    pub safe: bool,
    pub mss: u32,
}

impl Prr {
    /// No episode.
    pub const NONE: Prr = Prr { recover_fs: 0, delivered: 0, out: 0 };

    /// An episode begins (§6.1).
    pub fn begin(recover_fs: u32) -> Prr {
        Prr { recover_fs: recover_fs.max(1), delivered: 0, out: 0 }
    }

    /// §6.2: the window after this acknowledgment; `None`: nothing was delivered, it stays.
    pub fn on_ack(&mut self, ack: &PrrAck) -> Option<u32> {
        if ack.delivered == 0 && self.out > 0 {
            return None;
        }
        self.delivered = self.delivered.saturating_add(ack.delivered);
        let count = if ack.in_flight > ack.ssthresh {
            let share = u64::from(self.delivered) * u64::from(ack.ssthresh);
            (share.div_ceil(u64::from(self.recover_fs)) as u32).saturating_sub(self.out)
        } else {
            let owed = self.delivered.saturating_sub(self.out).max(ack.delivered);
            let count = owed + if ack.safe { ack.mss } else { 0 };
            count.min(ack.ssthresh - ack.in_flight)
        };
        // The first is the fast retransmit, whatever the share.
        let count = if self.out == 0 { count.max(ack.mss) } else { count };
        Some(ack.in_flight.saturating_add(count))
    }

    /// Did anything go out in this episode?
    pub fn has_sent(&self) -> bool {
        self.out > 0
    }

    /// §6.3: octets were sent during the episode.
    pub fn on_sent(&mut self, octets: u32) {
        self.out = self.out.saturating_add(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    /// CUBIC's 0.7 of 20 segments: 14 leave while 20 are delivered, evenly.
    ///
    /// conformance: 9937-6.2-proportional, 9937-6.2-force-first, 9937-6.3-out, 9937-6.2-cwnd
    #[test]
    fn the_window_sinks_in_proportion_to_what_is_delivered() {
        let (mut prr, ssthresh, mut in_flight) = (Prr::begin(20 * MSS), 14 * MSS, 19 * MSS);
        let mut sent = Vec::new();
        for _ in 0..20 {
            in_flight -= if sent.is_empty() { 0 } else { MSS };
            let ack = PrrAck { delivered: MSS, in_flight, ssthresh, safe: true, mss: MSS };
            let cwnd = prr.on_ack(&ack).expect("something was delivered");
            let count = (cwnd - in_flight) / MSS;
            prr.on_sent(count * MSS);
            in_flight += count * MSS;
            sent.push(count);
        }
        assert_eq!(sent[0], 1, "the fast retransmit");
        assert!((14..=15).contains(&sent.iter().sum::<u32>()), "{sent:?}");
        assert!(sent.iter().all(|count| *count <= 1), "{sent:?}");
        assert!(sent.chunks(10).all(|chunk| chunk.iter().sum::<u32>() == 7), "{sent:?}");
    }

    /// conformance: 9937-6.2-crb-ssrb, 9937-6.2-safeack
    #[test]
    fn after_a_burst_of_losses_as_much_leaves_as_arrives_and_one_more_when_all_is_well() {
        let mut prr = Prr::begin(20 * MSS);
        let ack =
            |delivered, in_flight, safe| PrrAck { delivered, in_flight, ssthresh: 10 * MSS, safe, mss: MSS };
        assert_eq!(prr.on_ack(&ack(MSS, 3 * MSS, false)), Some(4 * MSS));
        prr.on_sent(MSS);
        assert_eq!(prr.on_ack(&ack(2 * MSS, 2 * MSS, false)), Some(4 * MSS));
        prr.on_sent(2 * MSS);
        assert_eq!(prr.on_ack(&ack(2 * MSS, 2 * MSS, true)), Some(5 * MSS));
        prr.on_sent(3 * MSS);
        assert_eq!(prr.on_ack(&ack(8 * MSS, 9 * MSS, true)), Some(10 * MSS), "ssthresh at most");
        assert_eq!(prr.on_ack(&ack(0, 5 * MSS, false)), None, "nothing delivered, nothing changes");
    }
}
