//! What a ladder remembers of one flow: relative numbers, what came twice, and the summary.

use super::packet::Tcp;
use super::peer::{Peer, at_or_after};
use super::text::octets;
use crate::base::{Duration, Instant};
use crate::trace::{Direction, Reason, TcpState, View, Why};
use std::net::SocketAddr;

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
struct Half {
    /// Initial sequence number: from the SYN, else from the connection, else one before the first octet seen.
    isn: Option<u32>,
    /// Window scale offered in the SYN.
    scale: Option<u8>,
    /// End of the furthest segment.
    end: Option<u32>,
    /// Acknowledgment and window of the last segment.
    last: Option<(u32, u16)>,
    /// Octets of payload, each counted once.
    octets: u64,
    /// Segments that brought nothing new.
    repeated: u32,
    /// It sent a FIN.
    fin: bool,
}

/// What a ladder says about a segment beyond its header.
#[derive(Debug, Default)]
pub(super) struct Note {
    /// Relative sequence number.
    pub seq: u32,
    /// Relative acknowledgment number.
    pub ack: u32,
    /// Window in octets.
    pub window: u64,
    /// Worth a line of its own.
    pub marks: Vec<String>,
    /// Shown where there is room.
    pub minor: Option<&'static str>,
    /// Something was sent again.
    pub again: bool,
}

/// How a connection ended, as far as seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    Fin(Direction),
    Reset(Direction),
}

/// One TCP connection.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub number: u32,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Our state.
    pub state: Option<TcpState>,
    /// The other end.
    pub peer: Peer,
    /// The same without the packet that we sent last.
    pub peer_before: Option<Peer>,
    /// A change of state that no line has shown yet: when, where to, why.
    pub unshown: Option<(Instant, TcpState, &'static str)>,
    ours: Half,
    theirs: Half,
    opened_by: Option<Direction>,
    syn_at: Option<Instant>,
    handshake: Option<Duration>,
    close: Option<Close>,
    /// Both sides have closed in good order: a late segment and the reset that answers it change nothing.
    over: bool,
    error: Option<&'static str>,
}

impl Track {
    pub fn new(number: u32, local: SocketAddr, remote: SocketAddr) -> Track {
        Track {
            number,
            local,
            remote,
            state: None,
            peer: Peer::default(),
            peer_before: None,
            unshown: None,
            ours: Half::default(),
            theirs: Half::default(),
            opened_by: None,
            syn_at: None,
            handshake: None,
            close: None,
            over: false,
            error: None,
        }
    }

    /// Is this SYN the begin of another connection between the same ends?
    pub fn is_over_before(&self, segment: &Tcp) -> bool {
        segment.syn && !segment.is_ack && self.close.is_some()
    }

    pub fn ended(&mut self, error: Option<&'static str>) {
        self.error = error.or(self.error);
    }

    /// Takes a segment in, and says what is to be said about it.
    pub fn segment(&mut self, at: Instant, direction: Direction, segment: &Tcp, reason: Reason) -> Note {
        if segment.syn && !segment.is_ack && self.syn_at.is_none() {
            (self.syn_at, self.opened_by) = (Some(at), Some(direction));
        }
        let (from, to) = match direction {
            Direction::In => (&mut self.theirs, &mut self.ours),
            Direction::Out => (&mut self.ours, &mut self.theirs),
        };
        let mut note = Note::default();
        if !matches!(reason, Reason::Dropped(_) | Reason::HandedOver) {
            judge(from, to, segment, &mut note);
            from.take(segment);
        }
        note.seq = segment.seq.wrapping_sub(from.isn.unwrap_or(segment.seq));
        if segment.is_ack {
            note.ack = segment.ack.wrapping_sub(*to.isn.get_or_insert(segment.ack.wrapping_sub(1)));
        }
        let shift = match (segment.syn, from.scale, to.scale) {
            (false, Some(shift), Some(_)) => shift.min(14),
            _ => 0,
        };
        note.window = u64::from(segment.window) << shift;
        let reset = segment.rst && !self.over && !matches!(reason, Reason::Dropped(_) | Reason::HandedOver);
        match (self.close, reset.then_some(Close::Reset(direction))) {
            (Some(Close::Reset(_)), _) => {}
            (_, Some(reset)) => self.close = Some(reset),
            (None, None) if segment.fin => self.close = Some(Close::Fin(direction)),
            (_, None) => {}
        }
        let done = matches!(self.state, Some(TcpState::Closed | TcpState::TimeWait));
        self.over |= done && !segment.rst && self.ours.fin && self.theirs.fin;
        explain(reason, &mut note);
        note
    }

    /// Our variables after a packet, where the host tells them.
    pub fn view(&mut self, at: Instant, before: Option<View>, after: Option<View>) {
        for view in [before, after].into_iter().flatten() {
            if view.state != TcpState::Listen && view.state != TcpState::Closed {
                self.ours.isn = Some(view.iss);
                if view.state != TcpState::SynSent {
                    self.theirs.isn = Some(view.irs);
                }
            }
        }
        // A connection that is gone after the packet told its last state just before.
        let told = self.unshown.filter(|(when, _, _)| *when == at).map(|(_, state, _)| state);
        let state = after.map(|view| view.state).or(told).or(before.map(|view| view.state));
        self.state = state.or(self.state);
        if state == Some(TcpState::Established) && self.handshake.is_none() {
            self.handshake = self.syn_at.map(|start| at.since(start));
        }
    }

    /// Two or three lines about the whole connection.
    pub fn summary(&self) -> Vec<String> {
        let opened = match self.opened_by {
            Some(Direction::In) => "opened by the peer",
            Some(Direction::Out) => "opened by us",
            None => "opened before we looked",
        };
        let handshake = match (self.handshake, self.syn_at) {
            (Some(time), _) => format!("handshake {}", millis(time)),
            (None, Some(_)) => "never established".to_owned(),
            (None, None) => "established earlier".to_owned(),
        };
        vec![
            format!("TCP {} <> {}, {opened}", self.local, self.remote),
            format!(
                "{handshake}; {} sent, {} received; {}",
                octets(self.ours.octets),
                octets(self.theirs.octets),
                again(self.ours.repeated, self.theirs.repeated),
            ),
            self.closing(),
        ]
    }

    fn closing(&self) -> String {
        let name = |direction: Direction| match direction {
            Direction::In => "the peer",
            Direction::Out => "us",
        };
        let state = self.state.map_or("unknown", TcpState::name);
        let error = self.error.map(|error| format!(" ({error})")).unwrap_or_default();
        match self.close {
            None if self.error.is_some() => format!("gave up{error}"),
            None => format!("still open, our end in {state}"),
            Some(Close::Reset(by)) if self.handshake.is_none() && self.syn_at.is_some() => {
                format!("refused by {}{error}", name(by))
            }
            Some(Close::Reset(by)) => format!("reset by {}{error}", name(by)),
            Some(Close::Fin(by)) if !(self.ours.fin && self.theirs.fin) => {
                format!("half closed by {}, our end in {state}{error}", name(by))
            }
            Some(Close::Fin(by)) => {
                let wait = match (by, self.state) {
                    (Direction::Out, Some(TcpState::TimeWait)) => ", so TIME-WAIT is ours",
                    (Direction::In, _) if self.peer.state == Some(TcpState::TimeWait) => {
                        ", so TIME-WAIT is the peer's"
                    }
                    _ => "",
                };
                format!("closed in good order, by {} first{wait}{error}", name(by))
            }
        }
    }
}

impl Half {
    fn take(&mut self, segment: &Tcp) {
        if segment.syn {
            self.isn = Some(segment.seq);
            self.scale = segment.options.window_scale;
        } else if !segment.rst {
            self.isn.get_or_insert(segment.seq.wrapping_sub(1));
        }
        if !segment.rst {
            let known = *self.end.get_or_insert(segment.seq);
            if at_or_after(segment.end(), known) {
                let fresh = segment.end().wrapping_sub(known).min(segment.space());
                let flags = u32::from(segment.syn) + u32::from(segment.fin);
                self.octets += u64::from(fresh.saturating_sub(flags));
                self.end = Some(segment.end());
            }
            self.last = Some((segment.ack, segment.window));
        }
        self.fin |= segment.fin;
    }
}

/// What the numbers of a segment tell, before it is taken in.
fn judge(from: &mut Half, to: &Half, segment: &Tcp, note: &mut Note) {
    let Some(end) = from.end.filter(|_| !segment.rst) else { return };
    let behind = !at_or_after(segment.seq, end);
    if segment.space() > 0 && behind && at_or_after(end, segment.end()) {
        note.again = true;
        from.repeated += 1;
    } else if segment.space() == 0 && behind && segment.seq == end.wrapping_sub(1) {
        note.minor = Some("probe");
    } else if segment.space() > 0 && segment.seq != end && !behind && !segment.syn {
        note.marks.push("gap before it".to_owned());
    }
    if segment.window == 0 && !segment.syn {
        note.marks.push("window closed".to_owned());
    } else if segment.space() == 0
        && from.last == Some((segment.ack, segment.window))
        && to.end.is_some_and(|end| !at_or_after(segment.ack, end))
    {
        note.minor = Some("duplicate ack");
    }
}

/// What the host says about the packet.
fn explain(reason: Reason, note: &mut Note) {
    let again = match reason {
        Reason::Taken => "sent again by the peer".to_owned(),
        Reason::HandedOver => {
            note.marks.push("handed over".to_owned());
            String::new()
        }
        Reason::Dropped(drop) => {
            note.marks.push(format!("dropped: {drop}"));
            String::new()
        }
        Reason::Sent(why) => match why {
            Why::Retransmit | Why::FastRetransmit | Why::LossRetransmit | Why::PartialAckRetransmit => {
                note.again = true;
                format!("sent again: {why}")
            }
            Why::TailLossProbe => {
                note.marks.push(why.text().to_owned());
                note.minor = None;
                "sent again".to_owned()
            }
            Why::DuplicateAck | Why::WindowUpdate | Why::DelayedAck => {
                note.minor = Some(why.text());
                "sent again".to_owned()
            }
            Why::ZeroWindowProbe
            | Why::KeepAlive
            | Why::Challenge
            | Why::LimitedTransmit
            | Why::MtuProbe
            | Why::SynCookie => {
                note.marks.push(why.text().to_owned());
                (note.minor, note.again) = (None, false);
                String::new()
            }
            Why::Syn
            | Why::SynAck
            | Why::Data
            | Why::Fin
            | Why::Ack
            | Why::Reset
            | Why::Datagram
            | Why::EchoRequest
            | Why::EchoReply
            | Why::IcmpError => "sent again".to_owned(),
        },
    };
    if note.again {
        note.marks.insert(0, again);
    }
}

fn again(ours: u32, theirs: u32) -> String {
    match (ours, theirs) {
        (0, 0) => "nothing sent again".to_owned(),
        (ours, theirs) => format!("sent again: {ours} by us, {theirs} by the peer"),
    }
}

/// A time in milliseconds, for people.
pub(super) fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_nanos() as f64 / 1e6)
}
