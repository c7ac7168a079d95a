//! F-RTO: was a retransmission timeout spurious? (RFC 5682 §2.1, and §3.1 with SACK.)

use crate::wire::seq::SeqNumber;

/// Where the algorithm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frto {
    /// Not in use: conventional recovery.
    Off,
    /// Step 1 is done: the head goes again, up to here.
    First { resent: SeqNumber },
    /// Step 2b: so many new segments may go instead of old ones.
    Second { left: u32 },
}

/// What an acknowledgment after the timeout says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnAck {
    /// Nothing yet, or not in use.
    Undecided,
    /// Losses are real: conventional recovery (steps 2a and 3a).
    Real,
    /// The timeout was spurious (step 3b).
    Spurious,
}

/// What is to be known of the acknowledgment.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrtoAck {
    pub una: SeqNumber,
    /// RecoveryPoint: what was in flight at the timeout ends here.
    pub recover: SeqNumber,
    /// SND.UNA advanced.
    pub advanced: bool,
    /// It is a duplicate; with SACK: it reports something new.
    pub duplicate: bool,
    /// With SACK: it delivers something from before the timeout that was not sent again.
    pub original: bool,
    /// There is new data, and the peer's window takes it.
    pub may_send_new: bool,
}

impl Frto {
    pub fn on_ack(&mut self, ack: &FrtoAck) -> OnAck {
        match *self {
            Frto::Off => OnAck::Undecided,
            Frto::First { resent } => {
                // Step 2a.
                let covers = !ack.una.before(resent);
                if !ack.advanced && !ack.duplicate {
                    return OnAck::Undecided;
                }
                if ack.original && ack.una.before(ack.recover) {
                    return self.end(OnAck::Spurious);
                }
                if !ack.advanced || !covers || !ack.una.before(ack.recover) || !ack.may_send_new {
                    return self.end(OnAck::Real);
                }
                *self = Frto::Second { left: 2 };
                OnAck::Undecided
            }
            Frto::Second { .. } if ack.advanced || ack.original => self.end(OnAck::Spurious),
            Frto::Second { .. } if ack.duplicate => self.end(OnAck::Real),
            Frto::Second { .. } => OnAck::Undecided,
        }
    }

    fn end(&mut self, verdict: OnAck) -> OnAck {
        *self = Frto::Off;
        verdict
    }
}
