//! The receive window: what is advertised, what is accepted (RFC 9293 §3.8.6, §3.8.6.2.2; RFC 7323 §2).
//!
//! Invariant: everything below the highest right edge ever advertised is accepted, and the edge does not move left (SHLD-14), for which
//! some memory beyond the buffer is kept. Only where a peer fills that, too, with segments of less than a unit of the scale, the edge is
//! rounded down, by less than a unit.

use super::pack::pack_fields;
use crate::wire::seq::SeqNumber;

/// Largest shift (RFC 7323 §2.3).
pub(super) const MAX_SCALE: u8 = 14;

/// What a buffer allows to be advertised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Octets free beyond RCV.NXT.
    pub free: u32,
    /// Octets that may be advertised rather than move the edge left: there is memory for some more than the buffer is to hold.
    pub limit: u32,
    /// Octets that a window may have.
    pub offer: u32,
    /// How far the edge must move to be moved at all.
    pub step: u32,
}

/// Edges and scale of the receive window.
#[derive(Clone, Debug)]
pub(super) struct RecvWindow {
    /// Right edge of the last advertisement.
    advertised: SeqNumber,
    /// Highest right edge of any advertisement.
    edge: SeqNumber,
    /// Our shift.
    pub scale: u8,
}

pack_fields!(RecvWindow { advertised, edge, scale });

impl RecvWindow {
    /// After a SYN that announced `window` octets from `rcv_nxt` on.
    pub fn new(rcv_nxt: SeqNumber, window: u32, scale: u8) -> RecvWindow {
        let edge = rcv_nxt.add(window);
        RecvWindow { advertised: edge, edge, scale }
    }

    /// RCV.WND: octets that are accepted from `rcv_nxt` on.
    pub fn octets(&self, rcv_nxt: SeqNumber) -> u32 {
        self.edge.since(rcv_nxt).unwrap_or(0)
    }

    /// First sequence number that is not accepted.
    pub fn edge(&self) -> SeqNumber {
        self.edge
    }

    /// The window to advertise. Silly-window avoidance: the edge moves on only by a step or more (RFC 9293 §3.8.6.2.2, MUST-39), apart
    /// from rounding. As on Linux, that is upwards, so that the edge does not move left and a small buffer is not scaled away.
    pub fn candidate(&self, rcv_nxt: SeqNumber, room: Room) -> u32 {
        let now = self.octets(rcv_nxt);
        let least = now.saturating_add(room.step.max(1));
        let grows = room.offer >= least;
        let target = if grows { room.offer } else { now };
        let down = target >> self.scale << self.scale;
        let up = target.next_multiple_of(1 << self.scale);
        let upwards = match grows {
            true => up <= room.free || down < least,
            false => up <= room.limit,
        };
        let window = if upwards { up } else { down };
        window.min(65_535 << self.scale)
    }

    /// Advertises: returns the window field.
    pub fn advertise(&mut self, rcv_nxt: SeqNumber, room: Room) -> u16 {
        let window = self.candidate(rcv_nxt, room);
        self.advertised = rcv_nxt.add(window);
        self.edge = self.edge.max(self.advertised);
        (window >> self.scale) as u16
    }

    /// Is a segment for the window's sake worth it? As Linux: when it at least doubles what the peer still may send.
    pub fn wants_update(&self, rcv_nxt: SeqNumber, room: Room) -> bool {
        let left = self.advertised.since(rcv_nxt).unwrap_or(0);
        let window = self.candidate(rcv_nxt, room);
        window > left && window >= left.saturating_mul(2)
    }

    /// Was the last advertised window zero?
    pub fn is_closed(&self, rcv_nxt: SeqNumber) -> bool {
        self.advertised.since(rcv_nxt).unwrap_or(0) == 0
    }
}

/// The shift that lets the field tell of a buffer of `most` octets (RFC 7323 §2.2).
pub(super) fn scale_for(most: u32) -> u8 {
    (0..MAX_SCALE).find(|shift| most >> shift <= 65_535).unwrap_or(MAX_SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NXT: SeqNumber = SeqNumber(0xffff_ff00);

    fn room(free: u32, step: u32) -> Room {
        Room { free, limit: free, offer: free, step }
    }

    #[test]
    fn scale_is_the_least_that_fits() {
        assert_eq!(scale_for(65_535), 0);
        assert_eq!(scale_for(65_536), 1);
        assert_eq!(scale_for(6 << 20), 7);
        assert_eq!(scale_for(u32::MAX), 14);
    }

    /// conformance: 9293-SHLD-14, 7323-2.4-honour, 7323-2.4-track-max
    #[test]
    fn the_accepted_edge_never_moves_left() {
        let mut window = RecvWindow::new(NXT, 1000, 7);
        let edge = window.edge();
        assert_eq!(window.advertise(NXT.add(100), room(0, 1000)), 7, "rounded down to 896");
        assert_eq!(window.edge(), edge);
        assert_eq!(window.octets(NXT.add(100)), 900);
    }

    #[test]
    fn a_scaled_edge_stays_where_it_is_while_there_is_room() {
        let mut window = RecvWindow::new(NXT, 64_240, 10);
        let room = Room { free: 131_072, limit: 131_072, offer: 64_240, step: 1460 };
        assert_eq!(window.advertise(NXT, room), 63, "64512 and not 63488");
        let edge = window.edge();
        window.advertise(NXT.add(100), room);
        assert!(!edge.after(NXT.add(100).add(window.candidate(NXT.add(100), room))));
    }

    /// A reader that is slower than the peer, at every scale. conformance: 9293-SHLD-14
    #[test]
    fn the_advertised_edge_never_moves_left() {
        let mut rng = crate::base::Rng::from_seed(3);
        for scale in 0..=MAX_SCALE {
            let capacity = (128 << 10).max(4u32 << scale);
            let (mut next, mut read, mut edge, mut beyond) = (0u32, 0u32, 0u32, 0);
            let mut window = RecvWindow::new(SeqNumber(0), 0, scale);
            for _ in 0..20_000 {
                let free = capacity.saturating_sub(next - read);
                let limit = (2 * capacity).saturating_sub(next - read);
                let room = Room { free, limit, offer: free, step: 1460 };
                let now = next + (u32::from(window.advertise(SeqNumber(next), room)) << scale);
                // With units much larger than segments the memory runs out, and the edge is rounded down.
                let least = if 1 << scale < 1448 { edge } else { edge.saturating_sub((1 << scale) - 1) };
                assert!(now >= least, "scale {scale}: {edge} was promised, and now {now}");
                edge = edge.max(now);
                beyond = beyond.max((edge - read).saturating_sub(capacity));
                next += now.saturating_sub(next).min(1448);
                read += (rng.below(1500) as u32).min(next - read);
            }
            assert!(
                read > 5 << 20 && beyond <= capacity + (1 << scale),
                "scale {scale}: {beyond} octets beyond the buffer"
            );
        }
    }

    #[test]
    fn a_buffer_smaller_than_a_unit_of_the_scale_still_opens() {
        let mut window = RecvWindow::new(NXT, 0, 10);
        assert_eq!(window.advertise(NXT, Room { free: 1000, limit: 1000, offer: 1000, step: 500 }), 1);
        assert_eq!(window.advertise(NXT.add(1024), Room { free: 0, limit: 0, offer: 0, step: 500 }), 0);
    }

    /// conformance: 9293-MUST-39
    #[test]
    fn the_edge_moves_on_by_whole_steps_only() {
        let mut window = RecvWindow::new(NXT, 0, 0);
        assert_eq!(window.advertise(NXT, room(999, 1000)), 0);
        assert!(!window.wants_update(NXT, room(999, 1000)));
        assert!(window.wants_update(NXT, room(1000, 1000)));
        assert_eq!(window.advertise(NXT, room(1000, 1000)), 1000);
    }

    /// conformance: 7323-2.3-out
    #[test]
    fn the_field_is_the_window_shifted() {
        let mut window = RecvWindow::new(NXT, 0, 7);
        assert_eq!(window.advertise(NXT, room(1 << 20, 1460)), 8192);
    }
}
