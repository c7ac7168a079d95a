//! The ladder of two hosts that are both ours: nothing is inferred, and what the wire lost is known.

use super::ladder::{Far, Ladder};
use crate::base::Instant;
use crate::trace::{Direction, Event, EventKind, Flow, PacketEvent, Reason, Sink, TcpState, View};
use std::collections::{HashMap, VecDeque};

/// Keeps events for later, up to a bound.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    events: Vec<Recorded>,
    missed: u64,
}

/// One event with its own bytes.
#[derive(Clone, Debug)]
struct Recorded {
    at: Instant,
    flow: Option<Flow>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Packet { direction: Direction, bytes: Vec<u8>, reason: Reason, before: Option<View>, after: Option<View> },
    Other(EventKind<'static>),
}

impl Recorder {
    /// Events kept at most.
    pub const LIMIT: usize = 1_000_000;

    /// Events that came after the limit was reached.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Tells `sink` everything again.
    pub fn replay(&self, sink: &mut dyn Sink) {
        for recorded in &self.events {
            recorded.tell(sink);
        }
    }

    /// Adds the events of another host with the same clock, in order of time.
    pub fn merge(&mut self, other: Recorder) {
        self.events.extend(other.events);
        self.events.sort_by_key(|recorded| recorded.at);
        self.missed += other.missed;
    }
}

impl Recorded {
    fn tell(&self, sink: &mut dyn Sink) {
        let (at, flow) = (self.at, self.flow);
        match &self.what {
            What::Packet { direction, bytes, reason, before, after } => {
                let bytes = &[bytes.as_slice()][..];
                let (direction, reason, before, after) = (*direction, *reason, *before, *after);
                let packet = PacketEvent { direction, bytes, segment_size: 0, reason, before, after };
                sink.event(&Event { at, flow, kind: EventKind::Packet(packet) });
            }
            What::Other(kind) => sink.event(&Event { at, flow, kind: kind.clone() }),
        }
    }
}

impl Sink for Recorder {
    fn event(&mut self, event: &Event<'_>) {
        if self.events.len() >= Recorder::LIMIT {
            self.missed += 1;
            return;
        }
        let what = match &event.kind {
            EventKind::Packet(packet) => What::Packet {
                direction: packet.direction,
                bytes: packet.bytes.concat(),
                reason: packet.reason,
                before: packet.before,
                after: packet.after,
            },
            EventKind::State { from, to, why, rfc } => {
                What::Other(EventKind::State { from: *from, to: *to, why, rfc })
            }
            EventKind::Timer { timer, attempt } => {
                What::Other(EventKind::Timer { timer: *timer, attempt: *attempt })
            }
            EventKind::Congestion { why, cwnd, ssthresh } => {
                What::Other(EventKind::Congestion { why, cwnd: *cwnd, ssthresh: *ssthresh })
            }
            EventKind::Ended { error } => What::Other(EventKind::Ended { error: *error }),
        };
        self.events.push(Recorded { at: event.at, flow: event.flow, what });
    }
}

/// Draws what two hosts recorded, `ours` on the left. Their clocks are the same.
pub fn ladder_of_both(ladder: &mut Ladder, ours: &Recorder, theirs: &Recorder) {
    let mut arrived_there = Passages::new(theirs, Direction::In);
    let mut left_there = Passages::new(theirs, Direction::Out);
    let mut lost = lost_towards_us(theirs, Passages::new(ours, Direction::In)).into_iter().peekable();
    for recorded in &ours.events {
        while let Some(packet) = lost.next_if(|packet| packet.at <= recorded.at) {
            draw_lost(ladder, packet);
        }
        match &recorded.what {
            What::Packet { direction, bytes, reason, before, after } => {
                let far = match direction {
                    Direction::Out => arrived_there.take(bytes).map_or(Far::Lost, Far::Real),
                    // What was damaged on the way left differently.
                    Direction::In => left_there.take(bytes).map_or(Far::Real(None), Far::Real),
                };
                let bytes = &[bytes.as_slice()][..];
                let (direction, reason, before, after) = (*direction, *reason, *before, *after);
                let event = PacketEvent { direction, bytes, segment_size: 0, reason, before, after };
                ladder.packet(recorded.at, &event, far);
            }
            What::Other(_) => recorded.tell(ladder),
        }
    }
    lost.for_each(|packet| draw_lost(ladder, packet));
}

/// What left there and never came here.
fn lost_towards_us<'a>(theirs: &'a Recorder, mut arrived: Passages<'_>) -> Vec<&'a Recorded> {
    let is_lost = |recorded: &&Recorded| match &recorded.what {
        What::Packet { direction: Direction::Out, bytes, .. } => arrived.take(bytes).is_none(),
        What::Packet { .. } | What::Other(_) => false,
    };
    theirs.events.iter().filter(is_lost).collect()
}

/// A packet of the other host that was lost on its way to us.
fn draw_lost(ladder: &mut Ladder, recorded: &Recorded) {
    let What::Packet { bytes, .. } = &recorded.what else { return };
    let bytes = &[bytes.as_slice()][..];
    let (direction, reason) = (Direction::In, Reason::Taken);
    let event = PacketEvent { direction, bytes, segment_size: 0, reason, before: None, after: None };
    ladder.packet(recorded.at, &event, Far::Lost);
}

/// When the same octets passed a border, and the state afterwards, oldest first.
struct Passages<'a>(HashMap<&'a [u8], VecDeque<Option<TcpState>>>);

impl<'a> Passages<'a> {
    fn new(recorder: &'a Recorder, way: Direction) -> Passages<'a> {
        let mut all: HashMap<&[u8], VecDeque<_>> = HashMap::new();
        for recorded in &recorder.events {
            if let What::Packet { direction, bytes, before, after, .. } = &recorded.what
                && *direction == way
            {
                let state = after.or(*before).map(|view| view.state);
                all.entry(bytes).or_default().push_back(state);
            }
        }
        Passages(all)
    }

    fn take(&mut self, bytes: &[u8]) -> Option<Option<TcpState>> {
        self.0.get_mut(bytes)?.pop_front()
    }
}
