//! The other end's TCP state, inferred from the segments.
//!
//! As in the figures of RFC 9293 §3.5 and §3.6, a state is the one after the departure or arrival of the segment in
//! that line. What departed there is certain; what we sent is presumed to arrive. A FIN of the peer that does not
//! acknowledge ours corrects the presumption, as does a loss that the link tells of; a segment that only acknowledges
//! less may have left before ours came.

use super::packet::Tcp;
use crate::trace::TcpState;

/// What is known of the other end of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Its state; `None` while there is no sign of life.
    pub state: Option<TcpState>,
    /// Where our FIN ends, once sent.
    our_fin: Option<u32>,
    /// It acknowledged our FIN.
    our_fin_acked: bool,
    /// Where its FIN ends, once sent.
    its_fin: Option<u32>,
    /// We acknowledged its FIN.
    its_fin_acked: bool,
}

impl Peer {
    /// The peer sent `segment`.
    pub fn on_sent(&mut self, segment: &Tcp) {
        use TcpState::*;
        if segment.rst {
            self.state = Some(Closed);
            return;
        }
        if segment.syn {
            *self =
                Peer { state: Some(if segment.is_ack { SynReceived } else { SynSent }), ..Peer::default() };
            return;
        }
        if segment.fin {
            self.its_fin = Some(segment.end());
            // Sent (again): our acknowledgment, if there was one, did not arrive.
            self.its_fin_acked = false;
        }
        self.our_fin_acked |= segment.is_ack && self.our_fin.is_some_and(|end| at_or_after(segment.ack, end));
        let presumed =
            matches!(self.state, Some(CloseWait | LastAck | Closing | TimeWait)) && !self.our_fin_acked;
        if !segment.fin && (presumed || self.state == Some(Closed)) {
            return;
        }
        self.state = Some(match (self.its_fin.is_some(), self.our_fin_acked) {
            (false, false) => Established,
            (false, true) => CloseWait,
            (true, false) if self.its_fin_acked => FinWait2,
            (true, false) => FinWait1,
            (true, true) => match self.state {
                // It closed after us: its FIN came from CLOSE-WAIT.
                Some(CloseWait | LastAck) => LastAck,
                Some(Established | Closed) if segment.fin => LastAck,
                _ if self.its_fin_acked => TimeWait,
                _ => Closing,
            },
        });
    }

    /// We sent `segment`; presume that it arrives.
    pub fn on_received(&mut self, segment: &Tcp) {
        use TcpState::*;
        let Some(state) = self.state else { return };
        if segment.rst {
            self.state = Some(Closed);
            return;
        }
        if segment.fin {
            self.our_fin = Some(segment.end());
        }
        let acks_its_fin = segment.is_ack && self.its_fin.is_some_and(|end| at_or_after(segment.ack, end));
        self.its_fin_acked |= acks_its_fin;
        let mut state = match state {
            SynSent if segment.syn && segment.is_ack => Established,
            SynSent if segment.syn => SynReceived,
            SynReceived if segment.is_ack => Established,
            other => other,
        };
        if acks_its_fin {
            state = match state {
                FinWait1 => FinWait2,
                Closing => TimeWait,
                LastAck => Closed,
                other => other,
            };
        }
        if segment.fin {
            state = match state {
                Established | SynReceived => CloseWait,
                FinWait1 => Closing,
                FinWait2 => TimeWait,
                other => other,
            };
        }
        self.state = Some(state);
    }
}

/// Is `a` at or after `b` in sequence space?
pub(super) fn at_or_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcpState::*;

    enum Step {
        /// Flags, sequence, acknowledgment, octets: we send.
        Us(&'static str, u32, u32, u32),
        /// The peer sends.
        It(&'static str, u32, u32, u32),
    }
    use Step::{It, Us};

    fn segment(flags: &str, seq: u32, ack: u32, len: u32) -> Tcp {
        let has = |letter| flags.contains(letter);
        Tcp { seq, ack, len, syn: has('S'), fin: has('F'), rst: has('R'), is_ack: has('.'), ..Tcp::default() }
    }

    fn play(steps: &[(Step, TcpState)]) {
        let mut peer = Peer::default();
        for (number, (step, state)) in steps.iter().enumerate() {
            match step {
                Us(flags, seq, ack, len) => peer.on_received(&segment(flags, *seq, *ack, *len)),
                It(flags, seq, ack, len) => peer.on_sent(&segment(flags, *seq, *ack, *len)),
            }
            assert_eq!(peer.state, Some(*state), "step {number}");
        }
    }

    const HANDSHAKE: [(Step, TcpState); 3] = [
        (It("S", 99, 0, 0), SynSent),
        (Us("S.", 299, 100, 0), Established),
        (It(".", 100, 300, 0), Established),
    ];

    fn after_handshake(rest: Vec<(Step, TcpState)>) {
        play(&HANDSHAKE.into_iter().chain(rest).collect::<Vec<_>>());
    }

    #[test]
    fn peer_that_closes_first_goes_through_fin_wait_to_time_wait() {
        after_handshake(vec![
            (It("F.", 100, 300, 0), FinWait1),
            (Us(".", 300, 101, 0), FinWait2),
            (Us("F.", 300, 101, 0), TimeWait),
            (It(".", 101, 301, 0), TimeWait),
        ]);
    }

    #[test]
    fn peer_that_closes_second_goes_through_close_wait_to_closed() {
        after_handshake(vec![
            (Us("F.", 300, 100, 0), CloseWait),
            (It(".", 100, 301, 0), CloseWait),
            (It("F.", 100, 301, 0), LastAck),
            (Us(".", 301, 101, 0), Closed),
            // It did not arrive: the FIN comes again.
            (It("F.", 100, 301, 0), LastAck),
            (Us(".", 301, 101, 0), Closed),
        ]);
    }

    #[test]
    fn three_segment_close_takes_the_short_way() {
        after_handshake(vec![
            (It("F.", 100, 300, 0), FinWait1),
            (Us("F.", 300, 101, 0), TimeWait),
            (It(".", 101, 301, 0), TimeWait),
        ]);
        after_handshake(vec![
            (Us("F.", 300, 100, 0), CloseWait),
            (It("F.", 100, 301, 0), LastAck),
            (Us(".", 301, 101, 0), Closed),
        ]);
    }

    #[test]
    fn simultaneous_close_passes_through_closing() {
        after_handshake(vec![
            (Us("F.", 300, 100, 0), CloseWait),
            // It had not seen our FIN: the presumption is corrected.
            (It("F.", 100, 300, 0), FinWait1),
            (It(".", 101, 301, 0), Closing),
            (Us(".", 301, 101, 0), TimeWait),
        ]);
    }

    #[test]
    fn simultaneous_open_passes_through_syn_received() {
        play(&[
            (It("S", 99, 0, 0), SynSent),
            (Us("S", 299, 0, 0), SynReceived),
            (It("S.", 99, 300, 0), SynReceived),
            (Us(".", 300, 100, 0), Established),
        ]);
    }

    #[test]
    fn segments_that_acknowledge_only_data_take_nothing_back() {
        after_handshake(vec![
            (Us(".", 300, 100, 5), Established),
            (Us("F.", 305, 100, 0), CloseWait),
            (It(".", 100, 305, 0), CloseWait),
            (It(".", 100, 306, 3), CloseWait),
            // Overtaken on its way.
            (It(".", 100, 300, 0), CloseWait),
            (It("F.", 103, 306, 0), LastAck),
            (It(".", 100, 300, 0), LastAck),
        ]);
        after_handshake(vec![
            (It("F.", 100, 300, 0), FinWait1),
            (Us(".", 300, 101, 5), FinWait2),
            (Us("F.", 305, 101, 0), TimeWait),
            (It(".", 101, 305, 0), TimeWait),
        ]);
        after_handshake(vec![
            (It("F.", 100, 300, 0), FinWait1),
            (Us("F.", 305, 100, 0), Closing),
            (It(".", 101, 300, 0), Closing),
        ]);
    }

    #[test]
    fn reset_closes_from_either_side() {
        after_handshake(vec![(It("R.", 100, 300, 0), Closed)]);
        after_handshake(vec![(Us("R", 300, 0, 0), Closed)]);
    }
}
