//! What a sender keeps only while something is in flight or being repaired; an idle connection has none of it.

use super::pacing::Pacer;
use super::rack::Rack;
use super::rate::DeliveryRate;
use super::recovery::Recovery;
use super::scoreboard::Scoreboard;
use super::undo::Undo;
use crate::base::Instant;
use crate::wire::seq::SeqNumber;
use core::ops::{Deref, DerefMut};

/// The state of the flight.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// What became of every octet.
    pub board: Scoreboard,
    pub rack: Rack,
    pub recovery: Recovery,
    pub rate: DeliveryRate,
    pub pacer: Pacer,
    /// Something was sent since this was made.
    begun: bool,
}

/// [`InFlight`], made when it is first changed. Until then it reads as that of nothing in flight.
#[derive(Debug, Default)]
pub(super) struct WhileInFlight(Option<InFlight>);

static IDLE: InFlight = InFlight {
    board: Scoreboard::EMPTY,
    rack: Rack::NEW,
    recovery: Recovery::NEW,
    rate: DeliveryRate::NEW,
    pacer: Pacer::NEW,
    begun: false,
};

impl InFlight {
    /// A reduction is about to be made, with everything up to `una` acknowledged.
    pub fn begin_undo(&mut self, una: SeqNumber, mss: u32) {
        // A probe whose original was delivered is on its way, too, and its D-SACK says nothing of what is lost now.
        let probe = if self.recovery.tail_loss.resent() { mss } else { 0 };
        let octets = self.board.again().max(probe);
        let outstanding = (octets > 0).then_some((octets, self.recovery.resent_at));
        self.recovery.undo = Some(Undo::new(una, outstanding));
    }
}

impl Deref for WhileInFlight {
    type Target = InFlight;

    fn deref(&self) -> &InFlight {
        self.0.as_ref().unwrap_or(&IDLE)
    }
}

impl DerefMut for WhileInFlight {
    fn deref_mut(&mut self) -> &mut InFlight {
        self.0.get_or_insert_default()
    }
}

impl WhileInFlight {
    /// It, if it was made: what would change nothing of an idle one need not make one.
    pub fn made(&mut self) -> Option<&mut InFlight> {
        self.0.as_mut()
    }

    /// Octets from `una` on leave, and nothing was in flight; `delivered` octets came before them on this connection. `app_limited`: not
    /// for want of a window.
    pub fn begin(&mut self, now: Instant, una: SeqNumber, delivered: u64, app_limited: bool) {
        let flight = self.0.get_or_insert_default();
        if !core::mem::replace(&mut flight.begun, true) {
            // RFC 6582 §3.2 step 1.
            flight.recovery.recover = una.sub(1);
        }
        flight.rate.restart(now, delivered, app_limited);
    }

    /// Everything sent is acknowledged, up to `una`: gives the memory back, unless something of it is still to be remembered.
    pub fn release(&mut self, una: SeqNumber) {
        if self.0.as_ref().is_some_and(|flight| !flight.begun || flight.recovery.is_over(una)) {
            self.0 = None;
        }
    }

    /// Is there nothing to remember?
    pub fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// Octets of memory behind it.
    pub fn memory_octets(&self) -> usize {
        self.0.as_ref().map_or(0, |flight| flight.board.memory_octets())
    }
}
