//! Every state × every kind of segment: what the stack answers and where it goes.
//!
//! RFC 9293 §3.10.7 with RFC 5961 and RFC 1337; where the RFCs leave a choice, Linux. The table is text to be read with the
//! RFC open. A cell is the answer, then `>` and the new state if it changes; `|` separates what the RFC leaves open.
//! Answers: `-` nothing · `a` an ACK of what was acknowledged before · `A` an ACK of what is new · `s` a SYN-ACK · `r` a RST with
//! the segment's ACK as its sequence number · `R` a RST+ACK with sequence number 0.

use crate::common::exchange::{Exchange, Place, Setup};
use crate::common::ms;
use crate::common::packet::{ACK, Packet, RST, SYN};
use tunstack::trace::TcpState;

const COLUMNS: [(&str, TcpState); 11] = [
    ("CL", TcpState::Closed),
    ("LI", TcpState::Listen),
    ("SS", TcpState::SynSent),
    ("SR", TcpState::SynReceived),
    ("ES", TcpState::Established),
    ("F1", TcpState::FinWait1),
    ("F2", TcpState::FinWait2),
    ("CW", TcpState::CloseWait),
    ("CG", TcpState::Closing),
    ("LA", TcpState::LastAck),
    ("TW", TcpState::TimeWait),
];

/// Kinds of segments. `N` is RCV.NXT, `W` the right edge of the stack's window, `U` SND.UNA, `X` SND.NXT; `+n` and `-n` are added.
const TABLE: &str = "
kind                        | CL LI   SS     SR     ES    F1      F2    CW    CG      LA    TW
S  N+900000000 0            | R  s>SR s>SR   a      a     a       a     a     a       a     s>SR
S  N+10 0                   | R  s>SR s>SR   s      a     a       a     a     a       a     s>SR
S  N 0                      | R  s>SR s>SR   s      a     a       a     a     a       a     a|s>SR
S  =0 0                     | R  s>SR s>SR   s      a     a       a     a     a       a     a
S  N 5                      | R  s>SR s>SR   s      a     a       a     a     a       a     a|s>SR
S. =0 0 X                   | r  r    A>ES   a|s    a     a       a     a     a       a     a
S. N 0 X                    | r  r    A>ES   ->LI   a     a       a     a     a       a     a
S. N 0 X+1                  | r  r    r      ->LI   a     a       a     a     a       a     a
S. =0 0 =0                  | r  r    r      a|s    a     a       a     a     a       a     a
S. N+900000000 0 X          | r  r    A>ES   a      a     a       a     a     a       a     a
R  N 0                      | -  -    -      ->LI   ->CL  ->CL    ->CL  ->CL  ->CL    ->CL  -
R. N 0 X                    | -  -    ->CL   ->LI   ->CL  ->CL    ->CL  ->CL  ->CL    ->CL  -
R  N+1 0                    | -  -    -      a      a     a       a     a     a       a     -|a
R. N+1 0 X                  | -  -    ->CL   a      a     a       a     a     a       a     -|a
R  W-1 0                    | -  -    -      a      a     a       a     a     a       a     -|a
R  W 0                      | -  -    -      -      -     -       -     -     -       -     -
R  N-1 0                    | -  -    -      -      -     -       -     -     -       -     -
R  N+900000000 0            | -  -    -      -      -     -       -     -     -       -     -
R. N 0 X+1                  | -  -    -      ->LI   ->CL  ->CL    ->CL  ->CL  ->CL    ->CL  -
R. N 0 =0                   | -  -    -      ->LI   ->CL  ->CL    ->CL  ->CL  ->CL    ->CL  -
R  N 9                      | -  -    -      ->LI   ->CL  ->CL    ->CL  ->CL  ->CL    ->CL  -
-  N 0                      | R  -    -      -      -     -       -     -     -       -     -
-  N 9                      | R  -    -      -      -     -       -     -     -       -     -|a
F  N 0                      | R  -    -      -      -     -       -     -     -       -     -|a
FPU N 9                     | R  -    -      -      -     -       -     -     -       -     -|a
P  N+5 9                    | R  -    -      -      -     -       -     -     -       -     -|a
.  N 0 U                    | r  r    r      r      -     -       -     -     -       -     -|a
.  N 0 X                    | r  r    -      ->ES   -     ->F2    -     -     ->TW    ->CL  -|a
.  N 0 X+1                  | r  r    r      r      a     a       a     a     a       a     a
.  N 0 U-1                  | r  r    r      r      -     -       -     -     -       -     -|a
.  N 0 U-1000000000         | r  r    r      r      a     a       a     a     a       a     -|a
.  N-1 0 X                  | r  r    -      a      a     a|a>F2  a     a     a|a>TW  a|a>CL a
.  N+5 0 X                  | r  r    -      ->ES   -     ->F2    -     -     ->TW    ->CL  -|a
.  W 0 X                    | r  r    -      a      -     ->F2    -     -     ->TW    ->CL  a
.  W-1 0 X                  | r  r    -      ->ES   -     ->F2    -     -     ->TW    ->CL  -|a
.  N+900000000 0 X          | r  r    -      a      a     a       a     a     a       a     a
P. N 10 X                   | r  r    -      A>ES   A     A>F2    A     -|a   ->TW|a>TW ->CL a
P. N 10 U                   | r  r    r      r      A     A       A     -|a   -|a     -|a   a
P. N+10 10 X                | r  r    -      a>ES   a     a>F2    a     -|a   ->TW|a>TW ->CL a
P. N+10 10 U                | r  r    r      r      a     a       a     -|a   -|a     -|a   a
P. W-5 10 X                 | r  r    -      a>ES   a     a>F2    a     -|a   ->TW|a>TW ->CL a
P. W 10 X                   | r  r    -      a      a     a>F2    a     a     ->TW    ->CL  a
P. N-5 5 X                  | r  r    -      a      a     a|a>F2  a     a     a|a>TW  a|a>CL a
P. N-5 10 X                 | r  r    -      a|A>ES   A     A>F2    A     -|a   ->TW|a>TW ->CL a
P. N 10 X+1                 | r  r    r      r      a     a       a     a     a       a     a
P. N 10 U-1000000000        | r  r    r      r      a     a       a     a     a       a     a
F. N 0 X                    | r  r    -      A>CW   A>CW  A>TW    A>TW  -|a   ->TW|a>TW ->CL a
F. N 0 U                    | r  r    r      r      A>CW  A>CG    A>TW  -|a   -|a     -|a   a
F. N 0 X+1                  | r  r    r      r      a     a       a     a     a       a     a
FP. N 10 X                  | r  r    -      A>CW   A>CW  A>TW    A>TW  -|a   ->TW|a>TW ->CL a
F. N+5 0 X                  | r  r    -      a>ES   a     a>F2    a     -|a   ->TW|a>TW ->CL a
F. N-1 0 X                  | r  r    -      a      a     a|a>F2  a     a     a|a>TW  a|a>CL a
F. N-1 0 U                  | r  r    r      a      a     a       a     a     a       a     a
F. W 0 X                    | r  r    -      a      a     a>F2    a     a     ->TW    ->CL  a
PU. N 10 X                  | r  r    -      A>ES   A     A>F2    A     -|a   ->TW|a>TW ->CL a
SF N 0                      | R  s>SR|- s>SR|- ->LI a|-   a|-     a|-   a|-   a|-     a|-   a|-|s>SR
SR N 0                      | -  -    -      ->LI   ->CL  ->CL    ->CL  ->CL  ->CL    ->CL  -
FR N 0                      | -  -    -      ->LI   ->CL  ->CL    ->CL  ->CL  ->CL    ->CL  -
EWP. N 10 X                 | r  r    -      A>ES   A     A>F2    A     -|a   ->TW|a>TW ->CL a
";

/// What one cell says may happen: the answer and the state after it.
fn outcomes<'a>(cell: &'a str, state: &'a str) -> Vec<(&'a str, &'a str)> {
    cell.split('|').map(|outcome| outcome.split_once('>').unwrap_or((outcome, state))).collect()
}

/// A number of the table, as the dialogue writes it.
fn number(text: &str, place: &Place) -> i64 {
    if let Some(absolute) = text.strip_prefix('=') {
        return absolute.parse().expect("a number"); // relative to the ISN: =0 is the SYN itself
    }
    let (name, offset) = text.split_at(1);
    let base = match name {
        "N" => place.rcv_nxt,
        "W" => place.edge,
        "U" => place.snd_una,
        "X" => place.snd_nxt,
        _ => panic!("unknown number {text}"),
    };
    base + if offset.is_empty() { 0 } else { offset.parse::<i64>().expect("an offset") }
}

/// The segment of a row as the dialogue writes it, and its sequence number, length and ACK.
fn segment(kind: &str, place: &Place) -> (String, i64, i64) {
    let words: Vec<&str> = kind.split_whitespace().collect();
    let (flags, seq, len) = (words[0], number(words[1], place), words[2].parse::<i64>().expect("a length"));
    let mut text = format!("{flags} {seq}:{}({len})", seq + len);
    if let Some(ack) = words.get(3) {
        text += &format!(" ack {}", number(ack, place));
    }
    if flags.contains('U') {
        text += " urg 3";
    }
    let controls = flags.chars().filter(|flag| matches!(flag, 'S' | 'F')).count() as i64;
    (text, seq, seq + len + controls)
}

/// Names an answer in the letters of the table.
fn classify(x: &Exchange, packets: &[Packet], sent: &Packet, place: &Place, end: i64) -> String {
    let came = sent.tcp().expect("TCP");
    let (iss, irs) = x.isns_of_flow();
    packets
        .iter()
        .map(|packet| {
            let Some(tcp) = packet.tcp() else { return "no TCP".to_owned() };
            let rel = |n: i64, isn: u32| isn.wrapping_add(n as u32);
            let fits = |flags: u8, seq: u32, ack: u32| tcp.flags == flags && tcp.seq == seq && tcp.ack == ack;
            let empty = tcp.payload.is_empty();
            let syn_ack = tcp.flags == SYN | ACK && tcp.ack == came.seq.wrapping_add(1);
            match () {
                () if !empty => "data".into(),
                () if fits(RST, came.ack, 0) => "r".into(),
                () if fits(RST | ACK, 0, came.seq.wrapping_add(came.seq_len())) => "R".into(),
                () if syn_ack => "s".into(),
                // In SYN-SENT there is nothing yet that an ACK could repeat.
                () if fits(ACK, rel(1, iss), came.seq.wrapping_add(1))
                    && came.has(SYN)
                    && x.state() != "SYN-RECEIVED" =>
                {
                    "A".into()
                }
                () if fits(ACK, rel(place.snd_nxt, iss), rel(place.rcv_nxt, irs)) => "a".into(),
                () if fits(ACK, rel(place.snd_nxt, iss), rel(end, irs)) => "A".into(),
                () => format!("?{tcp:?}"),
            }
        })
        .collect::<Vec<_>>()
        .join("+")
}

/// Plays one cell; gives what happened.
fn play(setup: &Setup, state: TcpState, kind: &str) -> (String, String) {
    let (mut x, place) = setup.in_state(state);
    let (text, _, end) = segment(kind, &place);
    let sent = Packet::parse(&x.peer_bytes(&text)).expect("a segment");
    x.inject(&sent.bytes);
    x.pass(ms(60)); // a delayed ACK counts as the answer
    let packets: Vec<Packet> = std::iter::from_fn(|| x.try_next()).collect();
    let answer = match packets.as_slice() {
        [] => "-".to_owned(),
        packets => classify(&x, packets, &sent, &place, end),
    };
    let name = match (x.state(), x.listener) {
        ("CLOSED", Some(_)) if matches!(state, TcpState::Listen | TcpState::SynReceived) => "LI",
        (name, _) => COLUMNS.iter().find(|(_, s)| s.name() == name).map_or(name, |(short, _)| short),
    };
    (answer, name.to_owned())
}

/// One cell of the table, for a test to say whether it is concerned.
struct Cell<'a> {
    state: TcpState,
    flags: &'a str,
    seq: &'a str,
    ack: Option<&'a str>,
}

impl Cell<'_> {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// Neither SYN nor RST, and an acknowledgment.
    fn is_plain(&self) -> bool {
        self.has('.') && !self.has('S') && !self.has('R')
    }

    /// The states with a connection in them; SYN-SENT knows nothing of the peer yet.
    fn knows_the_peer(&self) -> bool {
        !matches!(self.state, TcpState::Closed | TcpState::Listen | TcpState::SynSent)
    }

    fn is_synchronized(&self) -> bool {
        self.knows_the_peer() && self.state != TcpState::SynReceived
    }

    /// Before or beyond the window, as far as the segments of the table go.
    fn is_outside(&self) -> bool {
        matches!(self.seq, "W" | "N-1" | "N-5" | "N+900000000")
    }
}

/// Plays the cells that `concerns` picks; gives how many there are.
fn check_cells(setup: &Setup, what: &str, concerns: impl Fn(&Cell<'_>) -> bool) -> usize {
    let mut wrong = Vec::new();
    let mut cells = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with("kind")) {
        let (kind, row) = line.split_once('|').expect("a kind and its cells");
        let row: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(row.len(), COLUMNS.len(), "{line}");
        let words: Vec<&str> = kind.split_whitespace().collect();
        for ((short, state), cell) in COLUMNS.iter().zip(row) {
            let picked = Cell { state: *state, flags: words[0], seq: words[1], ack: words.get(3).copied() };
            if !concerns(&picked) {
                continue;
            }
            cells += 1;
            let allowed = outcomes(cell, short);
            let played = std::panic::catch_unwind(|| play(setup, *state, kind));
            let (answer, after) = played.unwrap_or_else(|_| ("panic".into(), "?".into()));
            if !allowed.contains(&(answer.as_str(), after.as_str())) {
                wrong.push(format!("{:<28} in {short}: {answer}>{after}, expected {cell}", kind.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{what}: {} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    cells
}

#[test]
fn every_state_answers_every_segment() {
    let cells = check_cells(&Setup::new(), "without options", |_| true);
    assert!(cells >= 500, "{cells} combinations");
}

/// The same with timestamps and SACK agreed.
#[test]
fn every_state_answers_every_segment_with_options() {
    // Our windows unscaled, so that their edge is known to the octet.
    let options = "mss 1460,sackOK,TS val * ecr *";
    check_cells(&Setup::new().syn_options(options), "with options", |_| true);
}

/// The same over IPv6.
#[test]
fn every_state_answers_every_segment_over_ipv6() {
    check_cells(&Setup::new().v6(), "IPv6", |_| true);
}

/// Makes a test of the cells that show one rule.
macro_rules! rules {
    ($($(#[$cites:meta])* $name:ident: |$cell:ident| $concerns:expr;)*) => {
        $($(#[$cites])*
        #[test]
        fn $name() {
            let cells = check_cells(&Setup::new(), stringify!($name), |$cell| $concerns);
            assert!(cells > 0, "the table has no such cell");
        })*
    };
}

rules! {
    /// conformance: 9293-3.10.7.1-rst-dropped
    closed_drops_resets: |cell| cell.state == TcpState::Closed && cell.has('R');
    /// conformance: 9293-3.10.7.1-noack
    closed_counts_what_it_resets: |cell| cell.state == TcpState::Closed && !cell.has('R') && !cell.has('.');
    /// conformance: 9293-3.10.7.1-ack
    closed_resets_at_the_ack: |cell| cell.state == TcpState::Closed && !cell.has('R') && cell.has('.');
    /// conformance: 9293-3.10.7.2-rst
    listen_drops_resets: |cell| cell.state == TcpState::Listen && cell.has('R');
    /// conformance: 9293-3.10.7.2-ack
    listen_resets_at_the_ack: |cell| cell.state == TcpState::Listen && !cell.has('R') && cell.has('.');
    /// conformance: 9293-3.10.7.2-syn
    listen_answers_a_syn: |cell| {
        cell.state == TcpState::Listen && cell.has('S') && !cell.has('R') && !cell.has('.')
    };
    /// conformance: 9293-3.10.7.2-other
    listen_drops_the_rest: |cell| {
        cell.state == TcpState::Listen && !cell.has('S') && !cell.has('R') && !cell.has('.')
    };
    /// conformance: 9293-3.10.7.3-bad-ack
    syn_sent_resets_a_bad_ack: |cell| {
        cell.state == TcpState::SynSent && !cell.has('R') && cell.ack.is_some_and(|ack| ack != "X")
    };
    /// conformance: 9293-3.10.7.3-rst-acceptable
    syn_sent_ends_with_a_reset_of_its_syn: |cell| cell.state == TcpState::SynSent && cell.has('R');
    /// conformance: 9293-3.10.7.3-synack
    syn_sent_is_established: |cell| {
        cell.state == TcpState::SynSent && cell.has('S') && !cell.has('R') && cell.ack == Some("X")
    };
    /// conformance: 9293-3.10.7.3-simopen
    syn_sent_meets_a_syn: |cell| {
        cell.state == TcpState::SynSent && cell.has('S') && !cell.has('R') && !cell.has('.')
    };
    /// conformance: 9293-3.10.7.3-neither
    syn_sent_drops_the_rest: |cell| {
        let good = cell.ack.is_none_or(|ack| ack == "X");
        cell.state == TcpState::SynSent && !cell.has('S') && !cell.has('R') && good
    };
    /// conformance: 9293-3.10.7.4-rst-outside
    a_reset_outside_the_window_is_dropped: |cell| cell.knows_the_peer() && cell.has('R') && cell.is_outside();
    /// conformance: 9293-3.10.7.4-rst-exact
    a_reset_at_rcv_nxt_ends: |cell| cell.knows_the_peer() && cell.has('R') && cell.seq == "N";
    /// conformance: 9293-3.10.7.4-rst-inwindow
    a_reset_in_the_window_is_challenged: |cell| {
        cell.knows_the_peer() && cell.has('R') && matches!(cell.seq, "N+1" | "W-1")
    };
    /// conformance: 9293-3.10.7.4-syn-sync
    a_syn_is_challenged: |cell| cell.is_synchronized() && cell.has('S') && !cell.has('R');
    /// conformance: 9293-3.10.7.4-noack
    without_ack_it_is_dropped: |cell| {
        cell.knows_the_peer() && !cell.has('S') && !cell.has('R') && !cell.has('.')
    };
    /// conformance: 9293-3.10.7.4-ack-synrcvd-bad
    syn_received_resets_a_bad_ack: |cell| {
        cell.state == TcpState::SynReceived && cell.is_plain() && !cell.is_outside() && cell.ack != Some("X")
    };
    /// conformance: 9293-3.10.7.4-ack-future
    an_ack_of_the_future_is_answered: |cell| {
        cell.is_synchronized() && cell.is_plain() && cell.ack == Some("X+1")
    };
    /// conformance: 9293-3.10.7.4-unacceptable-ack, 9293-3.5.2-group3-ack
    outside_the_window_is_answered: |cell| cell.knows_the_peer() && cell.is_plain() && cell.is_outside();
}
