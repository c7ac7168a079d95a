//! The text ladder: one line per packet, with the state of both ends after it.
//!
//! Our state comes from the host's events, the other end's is inferred from the segments (or real, when both hosts are
//! ours). Sequence numbers are relative to each side's first. The layout follows the figures of RFC 9293 §3.5.

use super::packet::{Body, Packet, Tcp, parse};
use super::peer::at_or_after;
use super::text::{Colour, Style, octets, write_line};
use super::track::{Note, Track};
use crate::base::{Duration, Instant};
use crate::trace::{Direction, Event, EventKind, Flow, PacketEvent, Reason, Sink, TcpState};
use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;

/// Columns of time, connection and one state, with the blank behind each.
const TIME: usize = 10;
const TAG: usize = 4;
const STATE: usize = 13;
/// Columns of the arrow at most; beyond, a line is harder to follow than to read.
const ARROW_MAX: usize = 90;
/// Connections remembered at most.
const TRACKS_MAX: usize = 1000;
/// A state that no packet showed gets its own line after this long.
const SHOW_STATE_AFTER: Duration = Duration::from_millis(5);

/// Draws events as text while they happen.
pub struct Ladder {
    out: Box<dyn Write + Send>,
    style: Style,
    names: [String; 2],
    start: Option<Instant>,
    tracks: HashMap<(SocketAddr, SocketAddr), Track>,
    /// UDP, ICMP and other flows: number, packets and octets each way (in, out).
    others: HashMap<(&'static str, SocketAddr, SocketAddr), (u32, Ways)>,
    next: u32,
    /// Connections with a state that no line has shown yet.
    waiting: Vec<(SocketAddr, SocketAddr)>,
    /// Summaries of connections whose addresses were used again.
    finished: Vec<(u32, Vec<String>)>,
    forgotten: u64,
}

/// What is known about the far end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Far {
    /// Nothing: infer it.
    Infer,
    /// Its real state.
    Real(Option<TcpState>),
    /// The packet never arrived.
    Lost,
}

impl Ladder {
    /// A ladder that writes to `out`.
    pub fn new(out: impl Write + Send + 'static, style: Style) -> Ladder {
        Ladder {
            out: Box::new(out),
            style,
            names: ["this end".to_owned(), "other end".to_owned()],
            start: None,
            tracks: HashMap::new(),
            others: HashMap::new(),
            next: 1,
            waiting: Vec::new(),
            finished: Vec::new(),
            forgotten: 0,
        }
    }

    /// The same with other headings for the two ends.
    #[must_use]
    pub fn with_names(mut self, ours: &str, theirs: &str) -> Ladder {
        self.names = [ours.to_owned(), theirs.to_owned()];
        self
    }

    /// Writes what is still to be told, and a summary of every connection.
    pub fn finish(&mut self) {
        for key in std::mem::take(&mut self.waiting) {
            self.show_state(key);
        }
        let mut all = std::mem::take(&mut self.finished);
        all.extend(self.tracks.drain().map(|(_, track)| (track.number, track.summary())));
        all.extend(self.others.drain().map(|((name, local, remote), (number, ways))| {
            let ends = ends_text(name, local, remote);
            let way = |(packets, bytes): (u64, u64)| format!("{packets} ({})", octets(bytes));
            (number, vec![ends, format!("packets: {} sent, {} received", way(ways[1]), way(ways[0]))])
        }));
        all.sort();
        if !all.is_empty() {
            self.line("");
        }
        for (number, lines) in all {
            for (index, line) in lines.iter().enumerate() {
                let tag = if index == 0 { format!("#{number}") } else { String::new() };
                for (index_of_part, part) in wrap(line, self.style.width - TAG).iter().enumerate() {
                    let tag = if index_of_part == 0 { tag.as_str() } else { "" };
                    let text = format!("{tag:<TAG$}{part}");
                    let colour = if index == 0 { Colour::Bold } else { Colour::None };
                    self.line(&self.style.paint(colour, text));
                }
            }
        }
        if self.forgotten > 0 {
            self.line(&format!("and {} connections more", self.forgotten));
            self.forgotten = 0;
        }
    }

    /// A packet was lost on the way. One that we sent has its line already, and this goes right below it.
    pub fn lost(&mut self, at: Instant, direction: Direction, bytes: &[u8]) {
        match direction {
            Direction::In => {
                let (bytes, reason) = (&[bytes][..], Reason::Taken);
                let event =
                    PacketEvent { direction, bytes, segment_size: 0, reason, before: None, after: None };
                self.packet(at, &event, Far::Lost);
            }
            Direction::Out => {
                self.take_back(bytes);
                let indent = TIME + TAG + STATE + 3;
                self.line(&format!("{:indent$}{}", "", self.style.paint(Colour::Bad, "lost on the way")));
            }
        }
    }

    /// The peer did not get this packet, which the ladder has shown as the last one of its connection.
    fn take_back(&mut self, bytes: &[u8]) {
        let key = parse(bytes).map(|packet| (packet.source, packet.destination));
        if let Some(track) = key.and_then(|key| self.tracks.get_mut(&key))
            && let Some(before) = track.peer_before.take()
        {
            track.peer = before;
        }
    }

    /// One packet, with what is known of its far end.
    pub(super) fn packet(&mut self, at: Instant, event: &PacketEvent<'_>, far: Far) {
        let bytes = event.bytes.concat();
        let Some(packet) = parse(&bytes) else {
            return self.stray(
                at,
                event.direction,
                &format!("{} unreadable octets", bytes.len()),
                event.reason,
            );
        };
        let (local, remote) = match event.direction {
            Direction::In => (packet.destination, packet.source),
            Direction::Out => (packet.source, packet.destination),
        };
        match &packet.body {
            Body::Tcp(segment) => self.segment(at, (local, remote), event, segment, far),
            Body::Udp(_) | Body::Icmp(_, _) | Body::Other(_) => {
                self.other(at, (local, remote), event, &packet, far)
            }
        }
    }

    fn segment(
        &mut self,
        at: Instant,
        key: (SocketAddr, SocketAddr),
        event: &PacketEvent<'_>,
        segment: &Tcp,
        far: Far,
    ) {
        self.begin(at);
        if self.tracks.get(&key).is_some_and(|track| track.is_over_before(segment)) {
            self.show_state(key);
            let old = self.tracks.remove(&key).map(|track| (track.number, track.summary()));
            if self.finished.len() < TRACKS_MAX {
                self.finished.extend(old);
            } else {
                self.forgotten += 1;
            }
        }
        let track = self.track(key);
        let (our_before, peer_before) = (track.state, track.peer.state);
        track.view(at, event.before, event.after);
        let note = track.segment(at, event.direction, segment, event.reason);
        match (event.direction, far) {
            (_, Far::Real(state)) => track.peer.state = state.or(track.peer.state),
            (_, Far::Lost) => {}
            (Direction::In, Far::Infer) if !tells_of_now(event.reason) => {}
            (Direction::In, Far::Infer) => {
                track.peer_before = None;
                track.peer.on_sent(segment);
            }
            (Direction::Out, Far::Infer) => {
                track.peer_before = Some(track.peer.clone());
                track.peer.on_received(segment);
            }
        }
        track.unshown = track.unshown.take().filter(|(_, state, _)| track.state != Some(*state));
        let ends = Ends {
            tag: format!("#{}", track.number),
            left: track.state,
            right: track.peer.state,
            left_is_new: track.state != our_before,
            right_is_new: track.peer.state != peer_before,
            stateless: false,
        };
        let (head, short) = segment_text(segment, &note);
        let mut marks = Vec::new();
        if far == Far::Lost {
            marks.push("lost on the way".to_owned());
        }
        marks.extend_from_slice(&note.marks);
        marks.extend(option_marks(segment, &note));
        let mut minor: Vec<String> = vec![format!("win {}", note.window)];
        minor.extend(note.minor.map(|text| format!("({text})")));
        let colour = match event.reason {
            _ if segment.rst || far == Far::Lost => Colour::Bad,
            Reason::Dropped(_) => Colour::Bad,
            _ if note.again => Colour::Warn,
            Reason::Taken | Reason::HandedOver => Colour::In,
            Reason::Sent(_) => Colour::Out,
        };
        let lost = far == Far::Lost || matches!(event.reason, Reason::Dropped(_));
        self.row(at, &ends, &Arrow { direction: event.direction, head, short, minor, marks, colour, lost });
    }

    /// A packet that is no TCP segment.
    fn other(
        &mut self,
        at: Instant,
        (local, remote): (SocketAddr, SocketAddr),
        event: &PacketEvent<'_>,
        packet: &Packet,
        far: Far,
    ) {
        self.begin(at);
        let (name, head, len) = match &packet.body {
            Body::Udp(len) => ("UDP", format!("UDP     len {len}"), *len),
            Body::Icmp(text, _) => ("ICMP", format!("ICMP    {text}"), event.bytes.concat().len()),
            Body::Other(text) => ("IP", format!("IP      {text}"), event.bytes.concat().len()),
            Body::Tcp(_) => return,
        };
        let number = self.next;
        let room = self.others.len() < TRACKS_MAX;
        let known = self.others.get_mut(&(name, local, remote));
        let new = known.is_none();
        let tag = match known {
            Some((number, ways)) => {
                count(ways, event.direction, len);
                format!("#{number}")
            }
            None if room => {
                let mut ways = [(0, 0); 2];
                count(&mut ways, event.direction, len);
                self.others.insert((name, local, remote), (number, ways));
                self.next += 1;
                format!("#{number}")
            }
            None => String::new(),
        };
        if new && room {
            self.introduce(number, &ends_text(name, local, remote));
        }
        let mut marks = Vec::new();
        if let Reason::Dropped(drop) = event.reason {
            marks.push(format!("dropped: {drop}"));
        }
        if far == Far::Lost {
            marks.push("lost on the way".to_owned());
        }
        if let Body::Icmp(_, about) = &packet.body
            && !about.is_empty()
        {
            marks.push(about.clone());
        }
        let lost = far == Far::Lost || matches!(event.reason, Reason::Dropped(_));
        let colour = match event.reason {
            _ if lost => Colour::Bad,
            Reason::Taken | Reason::HandedOver | Reason::Dropped(_) => Colour::In,
            Reason::Sent(_) => Colour::Out,
        };
        let ends = Ends { tag, stateless: true, ..Ends::default() };
        let (direction, short) = (event.direction, head.clone());
        self.row(at, &ends, &Arrow { direction, head, short, minor: Vec::new(), marks, colour, lost });
    }

    /// A packet without readable addresses.
    fn stray(&mut self, at: Instant, direction: Direction, text: &str, reason: Reason) {
        self.begin(at);
        let marks = match reason {
            Reason::Dropped(drop) => vec![format!("dropped: {drop}")],
            Reason::Taken | Reason::HandedOver | Reason::Sent(_) => Vec::new(),
        };
        let (head, short, minor) = (text.to_owned(), text.to_owned(), Vec::new());
        let arrow = Arrow { direction, head, short, minor, marks, colour: Colour::Bad, lost: true };
        self.row(at, &Ends { stateless: true, ..Ends::default() }, &arrow);
    }

    /// A change of state that no packet showed.
    pub(super) fn state(&mut self, at: Instant, flow: Flow, to: TcpState, why: &'static str) {
        let key = (flow.local, flow.remote);
        if to == TcpState::Listen || flow.remote.port() == 0 {
            return;
        }
        self.show_state(key);
        if let Some(track) = self.tracks.get_mut(&key) {
            track.unshown = Some((at, to, why));
            self.waiting.push(key);
        }
    }

    /// Writes the line of a state that waits for one.
    fn show_state(&mut self, key: (SocketAddr, SocketAddr)) {
        let Some(track) = self.tracks.get_mut(&key) else { return };
        let Some((at, state, why)) = track.unshown.take().filter(|(_, state, _)| track.state != Some(*state))
        else {
            return;
        };
        track.state = Some(state);
        let (tag, left) = (format!("#{}", track.number), Some(state));
        let ends = Ends { tag, left, left_is_new: true, ..Ends::default() };
        self.row_text(at, &ends, &self.style.paint(Colour::Dim, format!("  ({why})")));
    }

    fn remark(&mut self, at: Instant, flow: Option<Flow>, text: &str) {
        let Some(flow) = flow else { return };
        let Some(track) = self.tracks.get(&(flow.local, flow.remote)) else { return };
        let ends = Ends { tag: format!("#{}", track.number), ..Ends::default() };
        self.row_text(at, &ends, &self.style.paint(Colour::Dim, format!("  ({text})")));
    }

    fn track(&mut self, key: (SocketAddr, SocketAddr)) -> &mut Track {
        if !self.tracks.contains_key(&key) {
            if self.tracks.len() >= TRACKS_MAX {
                self.forgotten += self.tracks.len() as u64;
                self.tracks.clear();
            }
            let number = self.next;
            self.next += 1;
            self.introduce(number, &ends_text("TCP", key.0, key.1));
        }
        let number = self.next - 1;
        self.tracks.entry(key).or_insert_with(|| Track::new(number, key.0, key.1))
    }

    /// Says which ends a number stands for.
    fn introduce(&mut self, number: u32, ends: &str) {
        let indent = " ".repeat(TIME);
        let text = format!("{indent}{:<TAG$}{ends}", format!("#{number}"));
        if text.chars().count() <= self.style.width {
            return self.line(&self.style.paint(Colour::Bold, text));
        }
        let (ours, theirs) = ends.split_once(" <> ").unwrap_or((ends, ""));
        let first = format!("{indent}{:<TAG$}{ours}", format!("#{number}"));
        self.line(&self.style.paint(Colour::Bold, first));
        self.line(&self.style.paint(Colour::Bold, format!("{indent}      <> {theirs}")));
    }

    /// The heading, once; sets the zero of time.
    fn begin(&mut self, at: Instant) {
        if self.start.is_none() {
            self.start = Some(at);
            let middle = self.arrow_width();
            let [ours, theirs] = &self.names;
            let room = middle + STATE - ours.chars().count().min(middle);
            let head = format!("{:>9} {:TAG$}{ours}{theirs:>width$}", "ms", "", width = room + STATE);
            self.line(&self.style.paint(Colour::Dim, head));
        }
        for key in std::mem::take(&mut self.waiting) {
            match self.tracks.get(&key).and_then(|track| track.unshown) {
                Some((since, _, _)) if at.since(since) >= SHOW_STATE_AFTER => self.show_state(key),
                Some(_) => self.waiting.push(key),
                None => {}
            }
        }
    }

    fn arrow_width(&self) -> usize {
        (self.style.width - TIME - TAG - 2 * STATE).min(ARROW_MAX)
    }

    /// A line with an arrow, and lines below it for what does not fit.
    fn row(&mut self, at: Instant, ends: &Ends, arrow: &Arrow) {
        // Where no state stands at the far end, the arrow may go there.
        let width = self.arrow_width() + if ends.stateless { STATE } else { 0 };
        let (text, below) = arrow.fit(width);
        let drawn = self.style.paint(arrow.colour, arrow.draw(&text, width));
        self.row_text(at, ends, &drawn);
        let indent = TIME + TAG + STATE + 3;
        let below = below.map(|text| wrap(&text, self.style.width - indent)).unwrap_or_default();
        for line in below {
            self.line(&format!("{:indent$}{}", "", self.style.paint(arrow.colour, line)));
        }
    }

    fn row_text(&mut self, at: Instant, ends: &Ends, middle: &str) {
        let since = at.since(self.start.unwrap_or(at)).as_nanos() as f64 / 1e6;
        let time = if since < 99_999.0 { format!("{since:9.3}") } else { format!("{since:9.0}") };
        let state = |state: Option<TcpState>, new: bool, right: bool| {
            let name = state.map_or("", TcpState::name);
            let padded = if right { format!("{name:>12}") } else { format!("{name:<12}") };
            self.style.paint(if new { Colour::Bold } else { Colour::None }, padded)
        };
        let line = format!(
            "{} {:<TAG$}{} {middle} {}",
            self.style.paint(Colour::Dim, time),
            ends.tag,
            state(ends.left, ends.left_is_new, false),
            state(ends.right, ends.right_is_new, true)
        );
        self.line(&line);
    }

    fn line(&mut self, text: &str) {
        write_line(&mut self.out, text);
    }
}

impl Sink for Ladder {
    fn event(&mut self, event: &Event<'_>) {
        match &event.kind {
            EventKind::Packet(packet) => self.packet(event.at, packet, Far::Infer),
            EventKind::State { from: _, to, why, rfc: _ } => {
                if let Some(flow) = event.flow {
                    self.state(event.at, flow, *to, why);
                }
            }
            EventKind::Timer { .. } => {}
            EventKind::Congestion { why, cwnd, ssthresh } => {
                self.remark(event.at, event.flow, &format!("{why}: cwnd {cwnd}, ssthresh {ssthresh}"));
            }
            EventKind::Ended { error } => {
                let track = event.flow.and_then(|flow| self.tracks.get_mut(&(flow.local, flow.remote)));
                if let Some(track) = track {
                    track.ended(*error);
                }
                if let Some(error) = error {
                    self.remark(event.at, event.flow, &format!("ended with {error}"));
                }
            }
        }
    }
}

/// Can the packet be trusted to say what the peer sent, and sent just now?
fn tells_of_now(reason: Reason) -> bool {
    use crate::trace::Drop::*;
    !matches!(reason, Reason::Dropped(Malformed | Truncated | IpChecksum | TransportChecksum | OldTimestamp))
}

/// The outer columns of a line.
#[derive(Default)]
struct Ends {
    tag: String,
    left: Option<TcpState>,
    right: Option<TcpState>,
    left_is_new: bool,
    right_is_new: bool,
    /// No connection: both columns stay empty.
    stateless: bool,
}

/// The middle of a line.
struct Arrow {
    direction: Direction,
    /// Must be there.
    head: String,
    /// The same for where the head is too long.
    short: String,
    /// There when it fits.
    minor: Vec<String>,
    /// There, or on lines of their own below.
    marks: Vec<String>,
    colour: Colour,
    lost: bool,
}

impl Arrow {
    /// The text on an arrow of `width` columns, and what goes below it.
    fn fit(&self, width: usize) -> (String, Option<String>) {
        let room = width - 5;
        let mut text = if self.head.chars().count() <= room { self.head.clone() } else { self.short.clone() };
        if text.chars().count() > room {
            text = text.chars().take(room - 1).chain(['…']).collect();
        }
        let mut used = text.chars().count();
        for minor in &self.minor {
            if used + 1 + minor.chars().count() <= room {
                text = format!("{text} {minor}");
                used += 1 + minor.chars().count();
            }
        }
        let marks = self.marks.join(", ");
        if marks.is_empty() {
            return (text, None);
        }
        if used + 2 + marks.chars().count() <= room {
            return (format!("{text}  {marks}"), None);
        }
        (text, Some(marks))
    }

    fn draw(&self, text: &str, width: usize) -> String {
        let line = "─".repeat(width.saturating_sub(text.chars().count() + 5));
        match (self.direction, self.lost) {
            (Direction::Out, false) => format!("── {text} {line}>"),
            (Direction::Out, true) => format!("── {text} {line}x"),
            (Direction::In, false) => format!("<─ {text} {line}─"),
            (Direction::In, true) => format!("x─ {text} {line}─"),
        }
    }
}

/// Control bits and numbers of a segment; the second form is shorter.
fn segment_text(segment: &Tcp, note: &Note) -> (String, String) {
    let mut numbers = format!("seq {}", note.seq);
    if segment.is_ack {
        numbers += &format!(" ack {}", note.ack);
    }
    if segment.len > 0 {
        numbers += &format!(" len {}", segment.len);
    }
    (format!("{:<7} {numbers}", segment.flag_names()), format!("{} {numbers}", segment.flag_letters()))
}

/// The options of a SYN, and SACK blocks.
fn option_marks(segment: &Tcp, note: &Note) -> Vec<String> {
    let options = &segment.options;
    let mut words = Vec::new();
    if segment.syn {
        words.extend(options.mss.map(|mss| format!("mss {mss}")));
        words.extend(options.sack_permitted.then(|| "sack".to_owned()));
        words.extend(options.timestamps.then(|| "timestamps".to_owned()));
        words.extend(options.window_scale.map(|shift| format!("wscale {shift}")));
    }
    let base = segment.ack.wrapping_sub(note.ack);
    for (index, (left, right)) in options.sack.iter().enumerate() {
        // RFC 2883 §4: the first block may tell of what came twice, by lying below the ACK or inside the second block.
        let second = options.sack.get(1);
        let inside = second.is_some_and(|(from, to)| at_or_after(*left, *from) && at_or_after(*to, *right));
        let twice = index == 0 && (!at_or_after(*left, segment.ack) || inside);
        let (left, right) = (left.wrapping_sub(base), right.wrapping_sub(base));
        words.push(format!("{} {left}:{right}", if twice { "got twice" } else { "has" }));
    }
    words
}

/// Packets and octets: in, out.
type Ways = [(u64, u64); 2];

fn count(ways: &mut Ways, direction: Direction, len: usize) {
    let way = &mut ways[usize::from(direction == Direction::Out)];
    way.0 += 1;
    way.1 += len as u64;
}

fn ends_text(name: &str, local: SocketAddr, remote: SocketAddr) -> String {
    match local.port() {
        0 if remote.port() == 0 => format!("{name} {} <> {}", local.ip(), remote.ip()),
        _ => format!("{name} {local} <> {remote}"),
    }
}

/// Cuts `text` into lines of at most `width`, at blanks.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
#[path = "ladder/tests.rs"]
mod tests;
