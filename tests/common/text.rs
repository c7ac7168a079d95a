//! Segments as text, packetdrill's way: `P. 1:5(4) ack 1 win 500 <nop,nop,TS val 1 ecr 0> "data"`.
//!
//! Flags are `S F P R U E W` and `.` for ACK, `-` for none. Numbers are relative to the ISN of the side that owns
//! them; `=N` is a number as on the wire. `SEQ:END(LEN)`: LEN counts octets of data, not SYN and FIN. The window is the
//! field, not scaled. In options `*` is any number when expected and the natural one when sent; `...` is anything.

use super::packet::{ACK, CWR, ECE, FIN, PSH, RST, SYN, Tcp, TcpOption, URG, write_options};

const LETTERS: [(u8, char); 8] =
    [(SYN, 'S'), (FIN, 'F'), (PSH, 'P'), (RST, 'R'), (URG, 'U'), (ECE, 'E'), (CWR, 'W'), (ACK, '.')];

/// Option kind of Fast Open (RFC 7413).
pub const FAST_OPEN: u8 = 34;

/// A sequence number in a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Num {
    /// Relative to the ISN of its owner.
    Relative(i64),
    /// As on the wire.
    Absolute(u32),
}

impl Num {
    pub fn on_wire(self, isn: u32) -> u32 {
        match self {
            Num::Relative(n) => isn.wrapping_add(n as u32),
            Num::Absolute(n) => n,
        }
    }

    fn value(self) -> i64 {
        match self {
            Num::Relative(n) => n,
            Num::Absolute(n) => i64::from(n),
        }
    }
}

/// An option in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionText {
    /// An option with all its values.
    Plain(TcpOption),
    /// Timestamps, `None` where the script says `*`.
    Timestamps(Option<u32>, Option<u32>),
    /// A Fast Open cookie, whatever it is.
    AnyCookie,
    /// SACK blocks.
    Sack(Vec<(Num, Num)>),
    /// Octets as they are, for what no writer would write.
    Raw(Vec<u8>),
    /// Whatever follows.
    Rest,
}

/// A segment in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentText {
    pub flags: u8,
    pub seq: Num,
    pub len: u32,
    pub ack: Option<Num>,
    pub win: Option<u16>,
    pub urg: Option<u16>,
    pub options: Option<Vec<OptionText>>,
    pub data: Option<Vec<u8>>,
}

impl SegmentText {
    /// Reads a segment; says what is wrong with the text.
    pub fn parse(text: &str) -> Result<SegmentText, String> {
        parse(text).map_err(|why| format!("cannot read segment \"{text}\": {why}"))
    }
}

fn parse(text: &str) -> Result<SegmentText, String> {
    let (text, data) = match text.split_once('"') {
        Some((head, tail)) => {
            (head, Some(tail.strip_suffix('"').ok_or("data without closing quote")?.as_bytes().to_vec()))
        }
        None => (text, None),
    };
    let (head, options) = match text.split_once('<') {
        Some((head, tail)) => {
            (head, Some(parse_options(tail.trim().strip_suffix('>').ok_or("options without '>'")?)?))
        }
        None => (text, None),
    };
    let mut words = head.split_whitespace();
    let flags = parse_flags(words.next().ok_or("no flags")?)?;
    let (seq, len) = parse_range(words.next().ok_or("no sequence numbers")?)?;
    let mut spec = SegmentText { flags, seq, len, ack: None, win: None, urg: None, options, data };
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("nothing after '{word}'"))?;
        match word {
            "ack" => spec.ack = Some(parse_num(value)?),
            "win" => spec.win = Some(value.parse().map_err(|_| format!("bad window '{value}'"))?),
            "urg" => spec.urg = Some(value.parse().map_err(|_| format!("bad urgent pointer '{value}'"))?),
            _ => return Err(format!("unknown word '{word}'")),
        }
    }
    if spec.ack.is_some() != (flags & ACK != 0) {
        return Err("'.' and 'ack N' go together".into());
    }
    if spec.data.as_ref().is_some_and(|data| data.len() as u32 != spec.len) {
        return Err("data is not as long as (LEN)".into());
    }
    Ok(spec)
}

fn parse_flags(word: &str) -> Result<u8, String> {
    if word == "-" {
        return Ok(0);
    }
    word.chars().try_fold(0, |flags, letter| {
        let (flag, _) =
            LETTERS.iter().find(|(_, l)| *l == letter).ok_or(format!("unknown flag '{letter}'"))?;
        Ok(flags | flag)
    })
}

fn parse_num(word: &str) -> Result<Num, String> {
    let bad = |_| format!("bad number '{word}'");
    match word.strip_prefix('=') {
        Some(absolute) => Ok(Num::Absolute(absolute.parse().map_err(bad)?)),
        None => Ok(Num::Relative(word.parse().map_err(bad)?)),
    }
}

fn parse_pair(word: &str) -> Result<(Num, Num), String> {
    let (left, right) = word.split_once(':').ok_or_else(|| format!("'{word}' is not A:B"))?;
    Ok((parse_num(left)?, parse_num(right)?))
}

fn parse_range(word: &str) -> Result<(Num, u32), String> {
    let (range, len) = word
        .strip_suffix(')')
        .and_then(|w| w.split_once('('))
        .ok_or_else(|| format!("'{word}' is not SEQ:END(LEN)"))?;
    let (seq, end) = parse_pair(range)?;
    let len: u32 = len.parse().map_err(|_| format!("bad length '{len}'"))?;
    if end.value() - seq.value() != i64::from(len) {
        return Err(format!("{range} is not {len} octets"));
    }
    Ok((seq, len))
}

fn parse_options(text: &str) -> Result<Vec<OptionText>, String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(parse_option).collect()
}

fn parse_option(item: &str) -> Result<OptionText, String> {
    let words: Vec<&str> = item.split_whitespace().collect();
    let number = |word: &str| word.parse::<u32>().map_err(|_| format!("bad number in '{item}'"));
    let star = |word: &str| if word == "*" { Ok(None) } else { number(word).map(Some) };
    Ok(match words.as_slice() {
        ["..."] => OptionText::Rest,
        ["nop"] => OptionText::Plain(TcpOption::Nop),
        ["sackOK"] => OptionText::Plain(TcpOption::SackOk),
        ["mss", value] => OptionText::Plain(TcpOption::Mss(number(value)? as u16)),
        ["wscale", value] => OptionText::Plain(TcpOption::Scale(number(value)? as u8)),
        ["TS", "val", value, "ecr", echo] => OptionText::Timestamps(star(value)?, star(echo)?),
        ["sack", blocks @ ..] => {
            OptionText::Sack(blocks.iter().map(|block| parse_pair(block)).collect::<Result<_, _>>()?)
        }
        ["FO"] => OptionText::Plain(TcpOption::Other(FAST_OPEN, Vec::new())),
        ["FO", "*"] => OptionText::AnyCookie,
        ["FO", octets] => OptionText::Plain(TcpOption::Other(FAST_OPEN, parse_hex(octets)?)),
        ["raw", octets] => OptionText::Raw(parse_hex(octets)?),
        _ => return Err(format!("unknown option '{item}'")),
    })
}

fn parse_hex(octets: &str) -> Result<Vec<u8>, String> {
    (0..octets.len() / 2)
        .map(|i| u8::from_str_radix(&octets[2 * i..2 * i + 2], 16).map_err(|_| format!("bad hex '{octets}'")))
        .collect()
}

/// What a script needs to write and read numbers: the ISN of the sender and of the other side.
#[derive(Clone, Copy, Debug)]
pub struct Isns {
    pub sender: u32,
    pub other: u32,
}

/// Is there a timestamps option among these?
pub fn has_timestamps(options: &[OptionText]) -> bool {
    options.iter().any(|option| match option {
        OptionText::Timestamps(..) | OptionText::Plain(TcpOption::Timestamps(..)) => true,
        OptionText::Plain(_)
        | OptionText::AnyCookie
        | OptionText::Sack(_)
        | OptionText::Raw(_)
        | OptionText::Rest => false,
    })
}

/// Is there a window scale among these?
pub fn has_scale(options: &[OptionText]) -> bool {
    options.iter().any(|option| matches!(option, OptionText::Plain(TcpOption::Scale(_))))
}

/// Octets of the options of a segment that is sent; `clock` fills in `*`.
pub fn options_to_send(options: &[OptionText], isns: Isns, clock: (u32, u32)) -> Vec<u8> {
    let mut out = Vec::new();
    for option in options {
        match option {
            OptionText::Raw(octets) => out.extend(octets),
            OptionText::Rest | OptionText::AnyCookie => panic!("'...' and 'FO *' cannot be sent"),
            OptionText::Plain(option) => append(&mut out, option.clone()),
            OptionText::Timestamps(value, echo) => {
                append(&mut out, TcpOption::Timestamps(value.unwrap_or(clock.0), echo.unwrap_or(clock.1)));
            }
            OptionText::Sack(blocks) => {
                let wire = |(l, r): &(Num, Num)| (l.on_wire(isns.other), r.on_wire(isns.other));
                append(&mut out, TcpOption::Sack(blocks.iter().map(wire).collect()));
            }
        }
    }
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn append(out: &mut Vec<u8>, option: TcpOption) {
    let bare = match &option {
        TcpOption::Nop => 1,
        TcpOption::Mss(_) => 4,
        TcpOption::Scale(_) => 3,
        TcpOption::SackOk => 2,
        TcpOption::Sack(blocks) => 2 + 8 * blocks.len(),
        TcpOption::Timestamps(..) => 10,
        TcpOption::Other(_, body) => 2 + body.len(),
    };
    out.extend(&write_options(&[option])[..bare]);
}

/// Do the options that came match the script?
pub fn options_match(expected: &[OptionText], found: &[TcpOption], isns: Isns) -> bool {
    let mut found = found.iter();
    for option in expected {
        let matches = match option {
            OptionText::Rest => return true,
            OptionText::Raw(_) => panic!("raw options cannot be expected"),
            OptionText::Plain(expected) => found.next() == Some(expected),
            OptionText::Timestamps(value, echo) => match found.next() {
                Some(TcpOption::Timestamps(v, e)) => {
                    value.is_none_or(|x| x == *v) && echo.is_none_or(|x| x == *e)
                }
                _ => false,
            },
            OptionText::AnyCookie => match found.next() {
                Some(TcpOption::Other(FAST_OPEN, cookie)) => (4..=16).contains(&cookie.len()),
                _ => false,
            },
            OptionText::Sack(blocks) => match found.next() {
                Some(TcpOption::Sack(found)) => found
                    .iter()
                    .copied()
                    .eq(blocks.iter().map(|(l, r)| (l.on_wire(isns.other), r.on_wire(isns.other)))),
                _ => false,
            },
        };
        if !matches {
            return false;
        }
    }
    found.next().is_none()
}

/// A segment as a script would say it.
pub fn show(tcp: &Tcp, isns: Isns) -> String {
    let relative = |number: u32, isn: u32| i64::from(number.wrapping_sub(isn) as i32);
    let mut flags: String = LETTERS.iter().filter(|(f, _)| tcp.has(*f)).map(|(_, l)| *l).collect();
    if flags.is_empty() {
        flags.push('-');
    }
    let seq = relative(tcp.seq, isns.sender);
    let len = tcp.payload.len() as i64;
    let mut text = format!("{flags:<2} {seq}:{}({len})", seq + len);
    if tcp.has(ACK) {
        text += &format!(" ack {}", relative(tcp.ack, isns.other));
    }
    text += &format!(" win {}", tcp.window);
    if tcp.has(URG) {
        text += &format!(" urg {}", tcp.urgent);
    }
    match tcp.walk() {
        Ok(options) if options.is_empty() => {}
        Ok(options) => text += &format!(" <{}>", show_options(&options, isns)),
        Err(why) => text += &format!(" <bad options: {why}>"),
    }
    text
}

fn show_options(options: &[TcpOption], isns: Isns) -> String {
    let words: Vec<String> = options
        .iter()
        .map(|option| match option {
            TcpOption::Nop => "nop".into(),
            TcpOption::Mss(mss) => format!("mss {mss}"),
            TcpOption::Scale(shift) => format!("wscale {shift}"),
            TcpOption::SackOk => "sackOK".into(),
            TcpOption::Timestamps(value, echo) => format!("TS val {value} ecr {echo}"),
            TcpOption::Sack(blocks) => {
                let rel = |n: u32| n.wrapping_sub(isns.other) as i32;
                let blocks: Vec<String> =
                    blocks.iter().map(|(l, r)| format!(" {}:{}", rel(*l), rel(*r))).collect();
                format!("sack{}", blocks.concat())
            }
            TcpOption::Other(kind, body) => format!("kind {kind} {body:?}"),
        })
        .collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_segment_is_read() {
        let spec =
            SegmentText::parse("FP. 1:5(4) ack =7 win 0 <nop,nop,TS val * ecr 3,sack 1:2 -3:4> \"abcd\"")
                .expect("legal");
        assert_eq!(spec.flags, FIN | PSH | ACK);
        assert_eq!((spec.seq, spec.len, spec.ack), (Num::Relative(1), 4, Some(Num::Absolute(7))));
        assert_eq!((spec.win, spec.urg, spec.data.as_deref()), (Some(0), None, Some(&b"abcd"[..])));
        let options = spec.options.expect("given");
        assert_eq!(options[2], OptionText::Timestamps(None, Some(3)));
        assert_eq!(
            options[3],
            OptionText::Sack(vec![
                (Num::Relative(1), Num::Relative(2)),
                (Num::Relative(-3), Num::Relative(4)),
            ])
        );
        assert_eq!(SegmentText::parse("- 0:0(0)").expect("legal").flags, 0);
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "no flags"),
            ("X 0:0(0)", "unknown flag 'X'"),
            (". 1:5(3) ack 1", "1:5 is not 3 octets"),
            (". 1:1(0)", "'.' and 'ack N' go together"),
            ("S 1:1(0) ack 1", "'.' and 'ack N' go together"),
            ("S 0:0(0) win", "nothing after 'win'"),
            ("S 0:0(0) <mss>", "unknown option 'mss'"),
            ("P. 1:3(2) ack 1 \"abc\"", "data is not as long as (LEN)"),
        ] {
            let error = SegmentText::parse(text).expect_err(text);
            assert!(error.ends_with(why), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_and_is_the_same() {
        let isns = Isns { sender: 0xffff_fff0, other: 100 };
        let options = [
            TcpOption::Nop,
            TcpOption::Nop,
            TcpOption::Timestamps(1, 2),
            TcpOption::Mss(9),
            TcpOption::Scale(3),
        ];
        let tcp = Tcp {
            seq: 0xffff_fff1,
            ack: 105,
            flags: PSH | ACK,
            window: 77,
            options: write_options(&options),
            payload: vec![1; 20],
            ..Tcp::default()
        };
        let text = show(&tcp, isns);
        assert_eq!(text, "P. 1:21(20) ack 5 win 77 <nop,nop,TS val 1 ecr 2,mss 9,wscale 3>");
        let spec = SegmentText::parse(&text).expect("readable");
        assert_eq!(
            (spec.seq.on_wire(isns.sender), spec.ack.expect("ack").on_wire(isns.other)),
            (tcp.seq, tcp.ack)
        );
        let expected = spec.options.expect("given");
        assert!(options_match(&expected, &options, isns));
        assert!(!options_match(&expected[..3], &options, isns));
        assert!(options_match(&[OptionText::Plain(TcpOption::Nop), OptionText::Rest], &options, isns));
        assert_eq!(options_to_send(&expected, isns, (0, 0)), tcp.options);
    }
}
