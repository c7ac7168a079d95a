//! Rules of TCP: the shape of a segment, and what the peer allowed.

use super::super::packet::{ACK, CWR, ECE, FIN, Packet, RST, SYN, Tcp, TcpOption, URG};
use super::super::ranges::Ranges;
use super::{Check, Fault, Rule, ensure};
use std::collections::{HashSet, VecDeque};

/// Numbers this far behind are old, not ahead.
const HALF: u32 = 1 << 31;

/// What one side said in its SYN.
#[derive(Clone, Debug)]
struct SynInfo {
    seq: u32,
    ack: Option<(u32, u16)>,
    window: u16,
    mss: Option<u16>,
    scale: Option<u8>,
    sack_ok: bool,
    timestamps: bool,
    /// An ECN-setup SYN or SYN-ACK (RFC 3168 §6.1.1).
    ecn: bool,
    text: u32,
    fin: bool,
}

impl SynInfo {
    fn read(tcp: &Tcp) -> SynInfo {
        let mut info = SynInfo {
            seq: tcp.seq,
            ack: tcp.has(ACK).then_some((tcp.ack, tcp.window)),
            window: tcp.window,
            mss: None,
            scale: None,
            sack_ok: false,
            timestamps: false,
            ecn: tcp.flags & (ECE | CWR) == if tcp.has(ACK) { ECE } else { ECE | CWR },
            text: tcp.payload.len() as u32,
            fin: tcp.has(FIN),
        };
        for option in tolerant_walk(&tcp.options) {
            match option {
                TcpOption::Mss(mss) => info.mss = Some(mss),
                TcpOption::Scale(shift) => info.scale = Some(shift.min(14)),
                TcpOption::SackOk => info.sack_ok = true,
                TcpOption::Timestamps(..) => info.timestamps = true,
                TcpOption::Nop | TcpOption::Sack(_) | TcpOption::Other(..) => {}
            }
        }
        info
    }
}

/// The options of a segment that the peer sent, as far as they can be read.
fn tolerant_walk(raw: &[u8]) -> Vec<TcpOption> {
    (0..=raw.len()).rev().find_map(|end| super::super::packet::walk(&raw[..end]).ok()).unwrap_or_default()
}

fn timestamps_of(tcp: &Tcp) -> Option<(u32, u32)> {
    tolerant_walk(&tcp.options).into_iter().find_map(|option| match option {
        TcpOption::Timestamps(value, echo) => Some((value, echo)),
        _ => None,
    })
}

/// The books about one connection. Numbers are relative to the ISN of their owner.
#[derive(Debug)]
pub(super) struct Flow {
    v4: bool,
    ours: Option<SynInfo>,
    theirs: Option<SynInfo>,
    /// SYNs of the peer that the host has not answered yet.
    offered: Vec<SynInfo>,
    /// What came together with such a SYN, before the answer (Fast Open).
    early: Vec<Tcp>,
    /// The end of what we sent.
    snd_max: u32,
    fin_at: Option<u32>,
    /// Octets sent and not acknowledged; the first is `stream_start`.
    stream: VecDeque<u8>,
    stream_start: u32,
    /// Highest right edge that the peer ever granted.
    granted: u32,
    /// What the peer sent us.
    received: Ranges,
    their_fin: Option<u32>,
    ts_seen: HashSet<u32>,
    ts_last: Option<u32>,
    last_ack: Option<u32>,
    edge: Option<u32>,
}

impl Flow {
    pub(super) fn new(v4: bool) -> Flow {
        Flow {
            v4,
            ours: None,
            theirs: None,
            offered: Vec::new(),
            early: Vec::new(),
            snd_max: 0,
            fin_at: None,
            stream: VecDeque::new(),
            stream_start: 1,
            granted: 0,
            received: Ranges::default(),
            their_fin: None,
            ts_seen: HashSet::new(),
            ts_last: None,
            last_ack: None,
            edge: None,
        }
    }

    /// A segment of the peer, about to arrive.
    pub(super) fn arrived(&mut self, tcp: &Tcp) {
        self.ts_seen.extend(timestamps_of(tcp).map(|(value, _)| value));
        if tcp.has(SYN) && !tcp.has(RST) {
            self.offered.push(SynInfo::read(tcp));
        } else if self.theirs.is_none() && self.early.len() < 1000 {
            self.early.push(tcp.clone());
        }
        let Some(theirs) = &self.theirs else { return };
        let rel = tcp.seq.wrapping_sub(theirs.seq);
        if rel < HALF {
            self.received.add(rel, rel + tcp.seq_len());
            if tcp.has(FIN) {
                self.their_fin = Some(rel + tcp.seq_len() - 1);
            }
        }
        if tcp.has(ACK) && !tcp.has(RST) {
            let scale = if tcp.has(SYN) { 0 } else { self.scale_of_peer() };
            self.granted_by(tcp.ack, u32::from(tcp.window) << scale);
        }
    }

    fn granted_by(&mut self, ack: u32, window: u32) {
        let Some(ours) = &self.ours else { return };
        let rel = ack.wrapping_sub(ours.seq);
        if rel > self.snd_max {
            return; // it acknowledges what we never sent
        }
        self.granted = self.granted.max(rel.saturating_add(window));
        while self.stream_start < rel && self.stream.pop_front().is_some() {
            self.stream_start += 1;
        }
    }

    fn scale_of_peer(&self) -> u8 {
        match (&self.ours, &self.theirs) {
            (Some(ours), Some(theirs)) if ours.scale.is_some() => theirs.scale.unwrap_or(0),
            _ => 0,
        }
    }

    fn scale_of_ours(&self) -> u8 {
        match (&self.ours, &self.theirs) {
            (Some(ours), Some(theirs)) if theirs.scale.is_some() => ours.scale.unwrap_or(0),
            _ => 0,
        }
    }

    fn agreed(&self, what: impl Fn(&SynInfo) -> bool) -> bool {
        self.ours.as_ref().is_some_and(&what) && self.theirs.as_ref().is_some_and(&what)
    }

    /// Did both SYNs agree on ECN?
    pub(super) fn agrees_on_ecn(&self) -> bool {
        self.agreed(|syn| syn.ecn)
    }

    /// Judges a segment of ours.
    pub(super) fn sent(&mut self, tcp: &Tcp) -> Check {
        // Whoever comes from port 0 gets an answer there; a connection is another thing.
        ensure(tcp.has(RST) || (tcp.src_port != 0 && tcp.dst_port != 0), Rule::Structure, || {
            "port 0".into()
        })?;
        if tcp.has(SYN) {
            self.on_our_syn(tcp)?;
        } else if tcp.has(ACK) && self.theirs.is_none() && !tcp.has(RST) {
            self.adopt_best(tcp.ack);
        }
        if self.ours.is_none() || tcp.has(RST) {
            return Ok(()); // resets have rules of their own; what answers nothing we know of is one
        }
        let options = tcp.walk().map_err(|detail| Fault { rule: Rule::Options, detail })?;
        self.check_options(tcp, &options)?;
        let marked = !tcp.has(SYN) && tcp.flags & (ECE | CWR) != 0;
        ensure(!marked || self.agrees_on_ecn(), Rule::Flags, || "ECN flags without ECN".into())?;
        self.check_sequence(tcp)?;
        if tcp.has(ACK) {
            self.check_ack(tcp)?;
        }
        Ok(())
    }

    /// A SYN of ours: a new connection, unless it repeats the one we know.
    fn on_our_syn(&mut self, tcp: &Tcp) -> Check {
        let info = SynInfo::read(tcp);
        if self.ours.as_ref().is_none_or(|ours| ours.seq != tcp.seq) {
            let fresh = Flow::new(self.v4);
            let old = std::mem::replace(self, fresh);
            (self.offered, self.ts_seen) = (old.offered, old.ts_seen);
            self.ours = Some(info.clone());
            self.snd_max = 1;
        }
        if tcp.has(ACK) && self.theirs.is_none() {
            self.adopt_best(tcp.ack);
            let Some(theirs) = &self.theirs else {
                return ensure(false, Rule::Ack, || "SYN-ACK without a SYN".into());
            };
            let unasked = [
                (info.scale.is_some() && theirs.scale.is_none(), "window scale"),
                (info.sack_ok && !theirs.sack_ok, "SACK-permitted"),
                (info.timestamps && !theirs.timestamps, "timestamps"),
            ];
            for (bad, what) in unasked {
                ensure(!bad, Rule::Negotiated, || format!("SYN-ACK has {what}, the SYN had not"))?;
            }
            // Fast Open (RFC 7413 §4.2.2): with its text acknowledged, the SYN's own window counts.
            if tcp.ack.wrapping_sub(theirs.seq) > 1 {
                self.granted = self.granted.max(1 + u32::from(theirs.window));
            }
            if let Some(ours) = &mut self.ours {
                (ours.scale, ours.sack_ok, ours.timestamps) = (info.scale, info.sack_ok, info.timestamps);
            }
        }
        Ok(())
    }

    /// The SYN of the peer that `ack` acknowledges is the one this connection is about.
    fn adopt_best(&mut self, ack: u32) {
        let Some(syn) =
            self.offered.iter().min_by_key(|syn| ack.wrapping_sub(syn.seq.wrapping_add(1))).cloned()
        else {
            return;
        };
        self.received.add(0, 1 + syn.text + u32::from(syn.fin));
        if syn.fin {
            self.their_fin = Some(1 + syn.text);
        }
        self.offered.clear();
        self.theirs = Some(syn.clone());
        if let Some((ack, window)) = syn.ack {
            self.granted_by(ack, u32::from(window));
        }
        for tcp in std::mem::take(&mut self.early) {
            self.arrived(&tcp);
        }
    }

    fn check_options(&mut self, tcp: &Tcp, options: &[TcpOption]) -> Check {
        let timestamps = options.iter().find_map(|o| match o {
            TcpOption::Timestamps(value, echo) => Some((*value, *echo)),
            _ => None,
        });
        if !tcp.has(SYN) {
            let agreed = self.agreed(|syn| syn.timestamps);
            ensure(timestamps.is_some() == agreed, Rule::Negotiated, || {
                format!("timestamps {}, agreed {agreed}", timestamps.is_some())
            })?;
        }
        if let Some((value, echo)) = timestamps {
            let back = self.ts_last.is_some_and(|last| value.wrapping_sub(last) >= HALF);
            ensure(!back, Rule::Timestamps, || {
                format!("TSval goes back to {value} from {:?}", self.ts_last)
            })?;
            self.ts_last = Some(value);
            let known = if tcp.has(ACK) { self.ts_seen.contains(&echo) } else { echo == 0 };
            ensure(known, Rule::Timestamps, || format!("TSecr {echo} was never sent by the peer"))?;
        }
        for option in options {
            if let TcpOption::Sack(blocks) = option {
                ensure(self.agreed(|syn| syn.sack_ok), Rule::Negotiated, || {
                    "SACK blocks without agreement".into()
                })?;
                self.check_sack(tcp, blocks)?;
            }
        }
        // What a peer can take at the beginning of a connection it may have told in another one (RFC 7413 §4.2.2).
        let first = tcp.has(SYN) && !tcp.has(ACK);
        let peer_mss =
            self.theirs.as_ref().and_then(|syn| syn.mss).unwrap_or(if self.v4 { 536 } else { 1220 });
        let allowed = usize::from(peer_mss).saturating_sub(tcp.options.len());
        ensure(first || tcp.payload.len() <= allowed.max(1), Rule::Mss, || {
            format!("{} octets of data, MSS {peer_mss}, options {}", tcp.payload.len(), tcp.options.len())
        })
    }

    fn check_sack(&self, tcp: &Tcp, blocks: &[(u32, u32)]) -> Check {
        let irs = self.theirs.as_ref().map_or(0, |syn| syn.seq);
        let ack = tcp.ack.wrapping_sub(irs);
        for (index, (left, right)) in blocks.iter().enumerate() {
            let (left, right) = (left.wrapping_sub(irs), right.wrapping_sub(irs));
            let bad = |why: &str| format!("SACK block {index} {left}:{right} {why} (ack {ack})");
            ensure(left < right && right < HALF, Rule::Sack, || bad("is empty or backwards"))?;
            ensure(self.received.covers(left, right), Rule::Sack, || bad("names what never came"))?;
            // Only the first may lie below the ACK: a D-SACK (RFC 2883).
            ensure(left > ack || index == 0, Rule::Sack, || bad("is not above the ACK"))?;
            ensure(left > ack || right <= ack, Rule::Sack, || bad("straddles the ACK"))?;
        }
        Ok(())
    }

    fn check_sequence(&mut self, tcp: &Tcp) -> Check {
        let iss = self.ours.as_ref().map_or(0, |syn| syn.seq);
        let seq = tcp.seq.wrapping_sub(iss);
        let end = seq.wrapping_add(tcp.seq_len());
        // A keepalive probe has SND.NXT - 1, which is before our ISN + 1 when nothing was sent.
        let old = seq >= HALF;
        ensure(!old && seq <= self.snd_max, Rule::Sequence, || {
            format!("sequence {seq}, sent so far {}", self.snd_max)
        })?;
        if tcp.seq_len() == 0 {
            return Ok(());
        }
        if let Some(fin_at) = self.fin_at {
            let same_fin = !tcp.has(FIN) || end == fin_at + 1;
            let text_end = seq + u32::from(tcp.has(SYN)) + tcp.payload.len() as u32;
            ensure(same_fin && text_end <= fin_at, Rule::AfterFin, || {
                format!("{seq}:{end} after FIN at {fin_at}")
            })?;
        }
        self.check_octets(seq, tcp)?;
        if end > self.snd_max {
            // Zero-window probes of one octet are the only thing RFC 9293 §3.8.6.1 allows beyond the edge.
            let allowed = self.granted.max(self.snd_max.min(1));
            ensure(end <= allowed || tcp.has(SYN), Rule::PeerWindow, || {
                format!("{seq}:{end} beyond the peer's window, which ended at {allowed}")
            })?;
            self.snd_max = end;
        }
        if tcp.has(FIN) {
            self.fin_at = Some(end - 1);
        }
        Ok(())
    }

    /// The same octets at the same place (RFC 9293 §3.8.1: what is sent again is what was sent).
    fn check_octets(&mut self, seq: u32, tcp: &Tcp) -> Check {
        let start = seq + u32::from(tcp.has(SYN));
        // One octet before SND.UNA is a keepalive probe's garbage (RFC 9293 MAY-6); it is below `stream_start`.
        for (index, octet) in tcp.payload.iter().enumerate() {
            let at = start + index as u32;
            let Some(slot) = at.checked_sub(self.stream_start) else { continue };
            match self.stream.get(slot as usize) {
                Some(before) => ensure(before == octet, Rule::SameOctets, || {
                    format!("octet {at} was {before}, now {octet}")
                })?,
                None => self.stream.push_back(*octet),
            }
        }
        Ok(())
    }

    fn check_ack(&mut self, tcp: &Tcp) -> Check {
        let Some(theirs) = &self.theirs else {
            return ensure(false, Rule::Ack, || "an ACK before the peer sent a SYN".into());
        };
        let ack = tcp.ack.wrapping_sub(theirs.seq);
        let most = self.received.contiguous_from(0);
        ensure(ack <= most && ack > 0, Rule::Ack, || format!("ack {ack}, the peer sent {most}"))?;
        let back = self.last_ack.is_some_and(|last| ack < last);
        ensure(!back, Rule::Ack, || format!("ack {ack} after {:?}", self.last_ack))?;
        self.last_ack = Some(ack);
        let scale = if tcp.has(SYN) { 0 } else { self.scale_of_ours() };
        let edge = ack.saturating_add(u32::from(tcp.window) << scale);
        let finished = self.their_fin.is_some_and(|fin| ack > fin);
        let moved_left = self.edge.is_some_and(|before| before.saturating_sub(edge) >= 1 << scale);
        // A SYN's window cannot tell of more, and after Fast Open one may go again when more was told.
        let full = tcp.has(SYN) && tcp.window == u16::MAX;
        ensure(finished || full || !moved_left, Rule::WindowEdge, || {
            format!("right edge {edge} after {:?} (scale {scale})", self.edge)
        })?;
        self.edge = Some(self.edge.map_or(edge, |before| before.max(edge)));
        Ok(())
    }
}

/// Rules that a segment obeys by itself.
pub(super) fn check_segment(packet: &Packet, tcp: &Tcp) -> Check {
    let octets = packet.payload();
    ensure(octets[12] & 0x0f == 0, Rule::Reserved, || "reserved bits of TCP are set".into())?;
    let options = tcp.walk().map_err(|detail| Fault { rule: Rule::Options, detail })?;
    let kinds: Vec<_> =
        options.iter().filter(|o| **o != TcpOption::Nop).map(std::mem::discriminant).collect();
    let twice = kinds.iter().enumerate().any(|(index, kind)| kinds[..index].contains(kind));
    ensure(!twice, Rule::Options, || format!("an option twice: {options:?}"))?;
    for option in &options {
        let syn_only = matches!(option, TcpOption::Mss(_) | TcpOption::Scale(_) | TcpOption::SackOk);
        ensure(!syn_only || tcp.has(SYN), Rule::SynOptions, || format!("{option:?} without SYN"))?;
        let blocks = matches!(option, TcpOption::Sack(_));
        ensure(!blocks || !tcp.has(SYN), Rule::SynOptions, || "SACK blocks on SYN".into())?;
        ensure(!matches!(option, TcpOption::Scale(15..)), Rule::SynOptions, || {
            "window scale above 14".into()
        })?;
        ensure(!matches!(option, TcpOption::Mss(0)), Rule::SynOptions, || "MSS of 0".into())?;
    }
    let one = [SYN, FIN, RST].iter().filter(|flag| tcp.has(**flag)).count() <= 1;
    let ack = tcp.has(ACK) || tcp.has(SYN) || tcp.has(RST);
    ensure(one && ack, Rule::Flags, || format!("flags {:#04x}", tcp.flags))?;
    ensure(!tcp.has(RST) || tcp.payload.is_empty(), Rule::Flags, || "RST with data".into())?;
    let ecn = tcp.flags & (ECE | CWR);
    let legal = match (tcp.has(SYN), tcp.has(ACK)) {
        _ if tcp.has(RST) => ecn == 0,
        (true, false) => ecn == 0 || ecn == ECE | CWR,
        (true, true) => ecn & CWR == 0,
        (false, _) => ecn & CWR == 0 || !tcp.payload.is_empty(),
    };
    ensure(legal, Rule::Flags, || format!("ECN flags on flags {:#04x}", tcp.flags))?;
    // RFC 3168 §6.1.1, §6.1.4: neither SYNs nor pure acknowledgments may be marked.
    let capable = packet.tos & 3 != 0;
    ensure(!capable || !tcp.has(SYN) && !tcp.payload.is_empty(), Rule::Flags, || "ECT without text".into())?;
    ensure(tcp.has(ACK) || tcp.ack == 0, Rule::Flags, || format!("ack {} without ACK", tcp.ack))?;
    ensure(tcp.has(URG) || tcp.urgent == 0, Rule::Urgent, || {
        format!("urgent pointer {} without URG", tcp.urgent)
    })
}

/// No RST in answer to RST (RFC 9293 §3.5.2): something else came, or the host acted by itself.
pub(super) fn check_rst_cause(answers: &[&Tcp], acted: bool) -> Check {
    let caused = acted || answers.iter().any(|tcp| !tcp.has(RST));
    ensure(caused, Rule::RstForRst, || "a RST that nothing but RST came before".into())
}

/// A RST is believable: it is the answer that RFC 9293 §3.10.7.1 gives to a segment that just came, or it lies within what
/// the connection sent.
pub(super) fn check_rst_sequence(tcp: &Tcp, answers: &[&Tcp], flow: Option<&Flow>) -> Check {
    let answers_one = answers.iter().filter(|came| !came.has(RST)).any(|came| {
        if came.has(ACK) {
            tcp.seq == came.ack
        } else {
            tcp.has(ACK) && tcp.seq == 0 && tcp.ack == came.seq.wrapping_add(came.seq_len())
        }
    });
    let ours = flow.and_then(|flow| flow.ours.as_ref().map(|syn| (flow, syn.seq)));
    let in_stream = ours.is_some_and(|(flow, iss)| tcp.seq.wrapping_sub(iss) <= flow.snd_max);
    ensure(answers_one || in_stream, Rule::RstSequence, || format!("RST with sequence {}", tcp.seq))
}
