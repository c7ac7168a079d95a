//! Taking a reduction back that was for nothing: Eifel detection by timestamps (RFC 3522), D-SACK (RFC 3708) and the response of
//! RFC 4015 without its change to the RTO.

use super::timestamps;
use crate::wire::seq::SeqNumber;

/// What is known of one reduction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undo {
    /// SND.UNA when it was made.
    una: SeqNumber,
    /// Octets sent again since, less those that D-SACKs reported; `None` before the first.
    resent: Option<u32>,
    /// Our timestamp of the first of them.
    first_at: u32,
    /// Recovery is over; D-SACKs may come until this is acknowledged.
    until: Option<SeqNumber>,
}

impl Undo {
    /// `outstanding`: octets that were sent again before and are still on their way, and our timestamp of the first of them.
    pub fn new(una: SeqNumber, outstanding: Option<(u32, u32)>) -> Undo {
        let (resent, first_at) = outstanding.map_or((None, 0), |(octets, at)| (Some(octets), at));
        Undo { una, resent, first_at, until: None }
    }

    /// Octets are sent again, with this timestamp.
    pub fn on_sent_again(&mut self, octets: u32, timestamp: u32) {
        match &mut self.resent {
            Some(resent) => *resent = resent.saturating_add(octets),
            None => (self.resent, self.first_at) = (Some(octets), timestamp),
        }
    }

    /// A D-SACK reports octets up to `right` received twice.
    pub fn on_dsack(&mut self, left: SeqNumber, right: SeqNumber) {
        if let Some(resent) = self.resent.as_mut().filter(|_| right.after(self.una)) {
            *resent = resent.saturating_sub(right.distance_from(left.max(self.una)));
        }
    }

    /// Recovery is over, with everything up to `nxt` in flight.
    pub fn on_recovered(&mut self, nxt: SeqNumber) {
        self.until = Some(nxt);
    }

    /// With everything up to `una` acknowledged: may a D-SACK of it still come?
    pub fn may_come_until(&self, una: SeqNumber) -> bool {
        self.until.is_none_or(|until| !una.after(until))
    }

    /// Was everything that was sent again received twice?
    pub fn all_came_twice(&self) -> bool {
        self.resent == Some(0)
    }

    /// Does an acknowledgment of new data show that an original arrived? It does when nothing was sent again yet, or when it echoes a
    /// timestamp from before the first retransmission.
    pub fn is_of_original(&self, echo: Option<u32>) -> bool {
        self.resent.is_none() || echo.is_some_and(|echo| timestamps::before(echo, self.first_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_echo_from_before_the_first_copy_tells_of_the_original() {
        let mut undo = Undo::new(SeqNumber(100), None);
        assert!(undo.is_of_original(Some(5)) && undo.is_of_original(None), "nothing was sent again");
        undo.on_sent_again(10, 7);
        undo.on_sent_again(10, 9);
        assert!(undo.is_of_original(Some(6)));
        assert!(!undo.is_of_original(Some(7)) && !undo.is_of_original(None));
    }

    #[test]
    fn all_that_was_sent_again_must_have_come_twice() {
        let mut undo = Undo::new(SeqNumber(100), None);
        assert!(!undo.all_came_twice());
        undo.on_sent_again(20, 7);
        undo.on_dsack(SeqNumber(50), SeqNumber(100));
        undo.on_dsack(SeqNumber(100), SeqNumber(110));
        assert!(!undo.all_came_twice());
        undo.on_dsack(SeqNumber(110), SeqNumber(120));
        assert!(undo.all_came_twice());
    }
}
