//! Initial sequence numbers (RFC 6528, RFC 9293 §3.4.1).

use super::Isn;
use crate::base::{Instant, Key, Rng};
use crate::trace::Flow;
use crate::transport::ports::v6_octets;
use crate::wire::seq::SeqNumber;

/// Makes initial sequence numbers: a clock of 4 µs steps plus a keyed function of the four-tuple.
#[derive(Debug)]
pub struct IsnGenerator {
    key: Key,
    /// Where the clock starts, so that it is not the uptime.
    origin: u32,
}

impl IsnGenerator {
    /// A generator with a secret of its own.
    ///
    /// conformance-review: 6528-3-secret
    /// 128 bits from the host's generator, which the runtime seeds from the operating system; made once, never shown (`Key` has no
    /// readable form).
    pub fn new(rng: &mut Rng) -> IsnGenerator {
        IsnGenerator { key: rng.key(), origin: rng.next_u32() }
    }

    /// The initial numbers for a connection of this four-tuple that opens now.
    pub fn isn(&self, now: Instant, flow: &Flow) -> Isn {
        // RFC 9293 §3.4.1 (MUST-8, SHLD-1): ISN = M + F(localip, localport, remoteip, remoteport, secret).
        let clock = (now.as_micros() / 4) as u32;
        let hash = self.key.hash(&tuple(flow));
        let iss = SeqNumber(self.origin.wrapping_add(clock).wrapping_add(hash as u32));
        // RFC 7323 §5.4: timestamp clocks of different flows are unrelated, that of one flow never jumps.
        Isn { iss, ts_offset: (hash >> 32) as u32 }
    }
}

/// A four-tuple in few octets, IPv4 as IPv4-mapped.
pub(super) fn tuple(flow: &Flow) -> [u8; 36] {
    let mut octets = [0; 36];
    octets[..16].copy_from_slice(&v6_octets(flow.local.ip()));
    octets[16..18].copy_from_slice(&flow.local.port().to_be_bytes());
    octets[18..34].copy_from_slice(&v6_octets(flow.remote.ip()));
    octets[34..].copy_from_slice(&flow.remote.port().to_be_bytes());
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(remote_port: u16) -> Flow {
        let local = "10.0.0.1:4000".parse().expect("valid");
        Flow { local, remote: ([10, 0, 0, 2], remote_port).into() }
    }

    /// conformance: 9293-MUST-8, 6528-3-monotonic
    #[test]
    fn one_second_later_the_number_is_250000_higher() {
        let isn = IsnGenerator::new(&mut Rng::from_seed(1));
        let early = isn.isn(Instant::from_nanos(7_000_000_000), &flow(80)).iss;
        let late = isn.isn(Instant::from_nanos(8_000_000_000), &flow(80)).iss;
        assert_eq!(late.since(early), Some(250_000));
    }

    /// conformance: 9293-SHLD-1, 6528-3-formula
    #[test]
    fn tuples_and_secrets_change_the_number() {
        let at =
            |seed, port| IsnGenerator::new(&mut Rng::from_seed(seed)).isn(Instant::ZERO, &flow(port)).iss;
        assert_ne!(at(1, 80), at(1, 81));
        assert_ne!(at(1, 80), at(2, 80));
    }

    /// conformance: 9293-MUST-9
    #[test]
    fn numbers_of_neighbouring_tuples_have_no_linear_relation() {
        // For an attacker who sees the numbers of many tuples, the difference between neighbours must look random:
        // every difference new, and each of the 32 bits set about half of the time.
        let isn = IsnGenerator::new(&mut Rng::from_seed(5));
        let numbers: Vec<u32> = (0..10_000).map(|port| isn.isn(Instant::ZERO, &flow(port)).iss.0).collect();
        let differences: Vec<u32> = numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        let distinct: std::collections::HashSet<&u32> = differences.iter().collect();
        assert!(distinct.len() > 9_990);
        for bit in 0..32 {
            let set = differences.iter().filter(|difference| *difference >> bit & 1 == 1).count();
            assert!((4_700..5_300).contains(&set), "bit {bit} is set in {set} of 9999");
        }
        assert!(!format!("{isn:?}").contains("Key(["));
    }
}
