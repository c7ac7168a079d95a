//! The text form of an impairment, as `--link` takes it: `loss=10%,delay=20ms,down:rate=10mbit,drop=syn-ack:1`.
//!
//! Items are separated by commas; one without `up:` or `down:` before it concerns both directions. A later item
//! replaces an earlier one of the same name, except blackouts and scripted faults, which add up.

use super::{
    Action, Blackout, Burst, Conditions, Fault, Hold, Impairment, Kind, PathMtu, QueueLimit, Reorder, Share,
};
use crate::base::Duration;
use core::fmt;
use core::str::FromStr;

/// Every item, as the message about an unknown one lists them.
const ITEMS: &str = "loss=1%, burst=1%/25%, dup=1%, reorder=2%/3, corrupt=0.1%, delay=20ms, jitter=2ms, rate=10mbit, \
                     queue=100, mark=20, mtu=1400, blackout=5s+2s, drop=syn-ack:1, dup=ack:2, delay=fin:1:200ms, corrupt=data:3";

/// A text that is no impairment, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpairError {
    /// The item that cannot be understood.
    item: String,
    problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    Unknown,
    Share,
    Time,
    Rate,
    Burst,
    Reorder,
    Queue,
    Mtu,
    Blackout,
    Fault,
    Kind,
    Which,
}

impl fmt::Display for ImpairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is nothing a link can do: ", self.item)?;
        match self.problem {
            Problem::Unknown => write!(f, "expected some of {ITEMS}"),
            Problem::Share => f.write_str("expected a percentage from 0% to 100%, like 0.5%"),
            Problem::Time => f.write_str("expected a time with its unit, like 1.5s, 20ms, 100us or 500ns"),
            Problem::Rate => f.write_str("expected bits per second, like 10mbit, 1.5gbit, 64kbit or 9600bit"),
            Problem::Burst => f.write_str("expected the chances to begin and to end a burst, like 1%/25%"),
            Problem::Reorder => f.write_str("expected a share, and by how many packets or how long, like 2%/3 or 2%/5ms"),
            Problem::Queue => f.write_str("expected packets or octets, like 100, 64kib or 2mib"),
            Problem::Mtu => f.write_str("expected 68 to 65535, like 1400, or 1400/silent for a black hole"),
            Problem::Blackout => f.write_str("expected its begin and its length, like 5s+2s"),
            Problem::Fault => f.write_str(
                "expected what is done to which packet, like drop=syn-ack:1, dup=ack:2-4, delay=fin:1:200ms or \
                 corrupt=data:3-",
            ),
            Problem::Kind => {
                f.write_str("packets are called")?;
                Kind::ALL.iter().try_for_each(|kind| write!(f, " {}", kind.name()))
            }
            Problem::Which => f.write_str("expected which of these packets, counted from 1, like 1, 2-4 or 3-"),
        }
    }
}

impl core::error::Error for ImpairError {}

impl FromStr for Impairment {
    type Err = ImpairError;

    fn from_str(text: &str) -> Result<Impairment, ImpairError> {
        let mut impairment = Impairment::default();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let wrong = |problem| ImpairError { item: item.to_owned(), problem };
            let (up, down, setting) = match item.split_once(':') {
                Some(("up", setting)) => (true, false, setting),
                Some(("down", setting)) => (false, true, setting),
                _ => (true, true, item),
            };
            if up {
                impairment.up.apply(setting).map_err(wrong)?;
            }
            if down {
                impairment.down.apply(setting).map_err(wrong)?;
            }
        }
        Ok(impairment)
    }
}

impl Conditions {
    /// Changes one thing, given as `name=value`.
    fn apply(&mut self, setting: &str) -> Result<(), Problem> {
        let (name, value) = setting.split_once('=').ok_or(Problem::Unknown)?;
        let (name, value) = (name.trim(), value.trim());
        if matches!(name, "drop" | "dup" | "delay" | "corrupt") && (name == "drop" || value.contains(':')) {
            self.faults.push(fault(&mut core::iter::once(name).chain(value.split(':')))?);
            return Ok(());
        }
        match name {
            "loss" => self.loss = share(value)?,
            "burst" => {
                let (enter, leave) = value.split_once('/').ok_or(Problem::Burst)?;
                let burst = Burst { enter: share(enter)?, leave: share(leave)? };
                // A burst that never ends is a blackout.
                self.burst = Some(burst).filter(|burst| burst.leave != Share::NONE);
                self.burst.ok_or(Problem::Burst)?;
            }
            "dup" => self.duplicate = share(value)?,
            "reorder" => self.reorder = Some(reorder(value)?),
            "corrupt" => self.corrupt = share(value)?,
            "delay" => self.delay = time(value)?,
            "jitter" => self.jitter = time(value)?,
            "rate" => self.rate = Some(rate(value)?),
            "queue" => self.queue = Some(queue(value)?),
            "mark" => self.mark = Some(queue(value)?),
            "mtu" => self.mtu = Some(path_mtu(value)?),
            "blackout" => {
                let (from, length) = value.split_once('+').ok_or(Problem::Blackout)?;
                self.blackouts.push(Blackout { from: time(from)?, length: time(length)? });
            }
            _ => return Err(Problem::Unknown),
        }
        Ok(())
    }

    /// The items that make these conditions out of the default ones, under one name each.
    fn items(&self) -> Vec<(&'static str, Vec<String>)> {
        let one = |text: Option<String>| text.into_iter().collect::<Vec<_>>();
        let share = |share: Share| one((share != Share::NONE).then(|| share.to_string()));
        let time = |time: Duration| one((!time.is_zero()).then(|| Time(time).to_string()));
        vec![
            ("loss", share(self.loss)),
            ("burst", one(self.burst.map(|burst| format!("{}/{}", burst.enter, burst.leave)))),
            ("dup", share(self.duplicate)),
            ("reorder", one(self.reorder.map(|reorder| reorder.to_string()))),
            ("corrupt", share(self.corrupt)),
            ("delay", time(self.delay)),
            ("jitter", time(self.jitter)),
            ("rate", one(self.rate.map(show_rate))),
            ("queue", one(self.queue.map(show_queue))),
            ("mark", one(self.mark.map(show_queue))),
            (
                "mtu",
                one(self.mtu.map(|mtu| format!("{}{}", mtu.octets, if mtu.told { "" } else { "/silent" }))),
            ),
            ("blackout", self.blackouts.iter().map(Blackout::to_string).collect()),
            ("", self.faults.iter().map(Fault::to_string).collect()),
        ]
    }
}

/// The text that [`Impairment::from_str`] reads back to the same value; empty for a perfect link.
impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items = Vec::new();
        for ((name, up), (_, down)) in self.up.items().into_iter().zip(self.down.items()) {
            let mut add = |prefix: &str, values: &[String]| {
                let equals = if name.is_empty() { "" } else { "=" };
                items.extend(values.iter().map(|value| format!("{prefix}{name}{equals}{value}")));
            };
            if up == down {
                add("", &up);
            } else {
                add("up:", &up);
                add("down:", &down);
            }
        }
        f.write_str(&items.join(","))
    }
}

impl FromStr for Fault {
    type Err = ImpairError;

    /// `drop syn-ack 1`, `dup ack 2-4`, `delay fin 1 200ms`, `corrupt data 3-`.
    fn from_str(text: &str) -> Result<Fault, ImpairError> {
        fault(&mut text.split_whitespace()).map_err(|problem| ImpairError { item: text.to_owned(), problem })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Drop => "drop",
            Action::Duplicate => "dup",
            Action::Delay(_) => "delay",
            Action::Corrupt => "corrupt",
        };
        write!(f, "{action}={}:{}", self.kind.name(), self.first)?;
        match self.last {
            u32::MAX => f.write_str("-")?,
            last if last == self.first => {}
            last => write!(f, "-{last}")?,
        }
        match self.action {
            Action::Delay(by) => write!(f, ":{}", Time(by)),
            Action::Drop | Action::Duplicate | Action::Corrupt => Ok(()),
        }
    }
}

/// The words of a fault: action, kind, which ones, and for a delay how long.
fn fault<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Fault, Problem> {
    let mut next = || words.next().ok_or(Problem::Fault);
    let (action, kind, which) = (next()?, next()?, next()?);
    let action = match action {
        "drop" => Action::Drop,
        "dup" | "duplicate" => Action::Duplicate,
        "delay" => Action::Delay(time(next()?)?),
        "corrupt" => Action::Corrupt,
        _ => return Err(Problem::Fault),
    };
    let kind = *Kind::ALL.iter().find(|known| known.name() == kind).ok_or(Problem::Kind)?;
    let ordinal = |text: &str| text.parse().ok().filter(|number| *number > 0).ok_or(Problem::Which);
    let (first, last) = match which.split_once('-') {
        None => (ordinal(which)?, ordinal(which)?),
        Some((first, "")) => (ordinal(first)?, u32::MAX),
        Some((first, last)) => (ordinal(first)?, ordinal(last)?),
    };
    if first > last {
        return Err(Problem::Which);
    }
    match words.next() {
        None => Ok(Fault { action, kind, first, last }),
        Some(_) => Err(Problem::Fault),
    }
}

/// A number with up to `digits` decimals, times ten to the power of `digits`.
fn decimal(text: &str, digits: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > digits {
        return None;
    }
    format!("{whole}{fraction:0<digits$}").parse().ok()
}

fn share(text: &str) -> Result<Share, Problem> {
    let parts = text.strip_suffix('%').and_then(|number| decimal(number, 4)).ok_or(Problem::Share)?;
    if parts > u64::from(Share::ALL.0) { Err(Problem::Share) } else { Ok(Share(parts as u32)) }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!("{:04}", self.0 % 10_000);
        let fraction = fraction.trim_end_matches('0');
        write!(f, "{}{}{fraction}%", self.0 / 10_000, if fraction.is_empty() { "" } else { "." })
    }
}

/// Units of time with the decimals that make a nanosecond.
const TIMES: [(&str, usize); 4] = [("ns", 0), ("us", 3), ("ms", 6), ("s", 9)];
/// Units of a rate with the decimals that make a bit.
const RATES: [(&str, usize); 4] = [("gbit", 9), ("mbit", 6), ("kbit", 3), ("bit", 0)];
/// Units of memory with their octets.
const SIZES: [(&str, u64); 3] = [("kib", 1 << 10), ("mib", 1 << 20), ("b", 1)];

fn with_unit(text: &str, units: &[(&str, usize)]) -> Option<u64> {
    let (number, digits) =
        units.iter().find_map(|(unit, digits)| Some((text.strip_suffix(unit)?, *digits)))?;
    decimal(number, digits)
}

fn time(text: &str) -> Result<Duration, Problem> {
    with_unit(text.trim(), &TIMES).map(Duration::from_nanos).ok_or(Problem::Time)
}

/// A time in the largest unit that shows it exactly without decimals.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_in(self.0.as_nanos(), TIMES.iter().rev()))
    }
}

fn show_in<'a>(value: u64, units: impl Iterator<Item = &'a (&'a str, usize)>) -> String {
    units
        .map(|(unit, digits)| (unit, 10u64.pow(*digits as u32)))
        .find(|(_, size)| value.is_multiple_of(*size))
        .map_or_else(|| value.to_string(), |(unit, size)| format!("{}{unit}", value / size))
}

fn rate(text: &str) -> Result<u64, Problem> {
    with_unit(text, &RATES).filter(|rate| *rate > 0).ok_or(Problem::Rate)
}

fn show_rate(rate: u64) -> String {
    show_in(rate, RATES.iter())
}

fn queue(text: &str) -> Result<QueueLimit, Problem> {
    let sized = SIZES.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let limit = match sized {
        Some((number, size)) => {
            number.parse().ok().and_then(|n: u64| n.checked_mul(size)).map(QueueLimit::Octets)
        }
        None => text.parse().ok().map(QueueLimit::Packets),
    };
    limit
        .filter(|limit| !matches!(limit, QueueLimit::Packets(0) | QueueLimit::Octets(0)))
        .ok_or(Problem::Queue)
}

fn show_queue(limit: QueueLimit) -> String {
    match limit {
        QueueLimit::Packets(packets) => packets.to_string(),
        QueueLimit::Octets(octets) if octets % (1 << 20) == 0 => format!("{}mib", octets >> 20),
        QueueLimit::Octets(octets) if octets % (1 << 10) == 0 => format!("{}kib", octets >> 10),
        QueueLimit::Octets(octets) => format!("{octets}b"),
    }
}

fn path_mtu(text: &str) -> Result<PathMtu, Problem> {
    let (number, told) = match text.strip_suffix("/silent") {
        Some(number) => (number, false),
        None => (text, true),
    };
    let octets = number.parse().ok().filter(|octets| (68..=65535).contains(octets)).ok_or(Problem::Mtu)?;
    Ok(PathMtu { octets, told })
}

fn reorder(text: &str) -> Result<Reorder, Problem> {
    let (part, by) = text.split_once('/').unwrap_or((text, "3"));
    let by = match by.parse() {
        Ok(0) => return Err(Problem::Reorder),
        Ok(packets) => Hold::Packets(packets),
        Err(_) => Hold::Time(time(by).map_err(|_| Problem::Reorder)?),
    };
    Ok(Reorder { share: share(part)?, by })
}

impl fmt::Display for Reorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            Hold::Packets(packets) => write!(f, "{}/{packets}", self.share),
            Hold::Time(time) => write!(f, "{}/{}", self.share, Time(time)),
        }
    }
}

impl fmt::Display for Blackout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", Time(self.from), Time(self.length))
    }
}
