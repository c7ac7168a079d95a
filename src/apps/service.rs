//! The services that `serve` offers, and what is simple about them.

use clap::ValueEnum;
use std::time::{SystemTime, UNIX_EPOCH};

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Service {
    /// Sends back what it gets (RFC 862)
    Echo,
    /// Takes everything and says nothing (RFC 863)
    Discard,
    /// Tells the time (RFC 867)
    Daytime,
    /// Sends characters without end (RFC 864)
    Chargen,
    /// Gives out pages and files (RFC 9112)
    Http,
    /// Rooms in which people talk
    Chat,
}

impl Service {
    /// All of them.
    pub const ALL: [Service; 6] =
        [Service::Echo, Service::Discard, Service::Daytime, Service::Chargen, Service::Http, Service::Chat];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Service::Echo => "echo",
            Service::Discard => "discard",
            Service::Daytime => "daytime",
            Service::Chargen => "chargen",
            Service::Http => "http",
            Service::Chat => "chat",
        }
    }

    /// The port when none is given.
    pub fn port(self) -> u16 {
        match self {
            Service::Echo => 7,
            Service::Discard => 9,
            Service::Daytime => 13,
            Service::Chargen => 19,
            Service::Http => 80,
            Service::Chat => super::chat::SERVER_PORT,
        }
    }

    /// Does it exist over UDP too?
    pub fn has_udp(self) -> bool {
        match self {
            Service::Echo | Service::Discard | Service::Daytime | Service::Chargen => true,
            Service::Http | Service::Chat => false,
        }
    }
}

/// Would an answer to this port be answered again, and so on for ever? (The ports of echo, daytime and chargen; CERT
/// advisory CA-1996-01.)
pub fn loops(port: u16) -> bool {
    matches!(port, 7 | 13 | 19)
}

/// Octets in one write of chargen.
pub const CHARGEN_BLOCK: usize = 64 << 10;
/// Characters of a line of chargen, and of the ring they come from (RFC 864).
const LINE: usize = 72;
const RING: usize = 95;
/// The pattern repeats after so many octets.
pub const CHARGEN_PERIOD: usize = RING * (LINE + 2);

/// The pattern of chargen, long enough to read a block from any place in its first period.
pub fn chargen_pattern() -> Vec<u8> {
    let lines = (CHARGEN_PERIOD + CHARGEN_BLOCK).div_ceil(LINE + 2);
    let mut pattern = Vec::with_capacity(lines * (LINE + 2));
    for line in 0..lines {
        pattern.extend((0..LINE).map(|column| b' ' + ((line + column) % RING) as u8));
        pattern.extend(b"\r\n");
    }
    pattern
}

/// The time as daytime tells it: "Monday, November 23, 2026 02:13:12-UTC" (RFC 867's first form).
pub fn daytime(now: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let moment = Moment::of(now);
    format!(
        "{}, {} {}, {} {:02}:{:02}:{:02}-UTC\r\n",
        DAYS[moment.weekday_from_thursday],
        MONTHS[moment.month - 1],
        moment.day,
        moment.year,
        moment.hour,
        moment.minute,
        moment.second
    )
}

/// The time as HTTP writes it: "Mon, 23 Nov 2026 02:13:12 GMT" (RFC 9110 §5.6.7).
pub fn http_date(now: SystemTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let moment = Moment::of(now);
    format!(
        "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
        DAYS[moment.weekday_from_thursday],
        moment.day,
        MONTHS[moment.month - 1],
        moment.year,
        moment.hour,
        moment.minute,
        moment.second
    )
}

/// A moment of the Gregorian calendar in UTC.
struct Moment {
    year: u64,
    /// 1 to 12.
    month: usize,
    day: u64,
    /// 0 is Thursday, as 1 January 1970 was.
    weekday_from_thursday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Moment {
    fn of(now: SystemTime) -> Moment {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
        let weekday_from_thursday = (days % 7) as usize;
        let leap =
            |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        let mut year = 1970;
        while days >= 365 + u64::from(leap(year)) {
            days -= 365 + u64::from(leap(year));
            year += 1;
        }
        let mut month = 1;
        for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        Moment {
            year,
            month,
            day: days + 1,
            weekday_from_thursday,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_is_told_in_both_forms() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(daytime(at(0)), "Thursday, January 1, 1970 00:00:00-UTC\r\n");
        assert_eq!(http_date(at(951_782_400)), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(http_date(at(1_735_689_599)), "Tue, 31 Dec 2024 23:59:59 GMT");
        assert_eq!(daytime(at(1_795_399_992)), "Monday, November 23, 2026 02:13:12-UTC\r\n");
    }

    #[test]
    fn chargen_turns_its_ring_by_one_each_line_and_repeats() {
        let pattern = chargen_pattern();
        let lines: Vec<&[u8]> = pattern.chunks(74).collect();
        assert!(lines[0].starts_with(b" !\"#$%&'()*+") && lines[0].ends_with(b"g\r\n"));
        assert!(lines[1].starts_with(b"!\"#") && lines[1].ends_with(b"h\r\n"));
        assert!(pattern.iter().all(|octet| (b' '..=b'~').contains(octet) || b"\r\n".contains(octet)));
        assert_eq!(pattern[..CHARGEN_BLOCK], pattern[CHARGEN_PERIOD..][..CHARGEN_BLOCK]);
    }

    #[test]
    fn ports_that_answer_by_themselves_are_known() {
        assert!([7, 13, 19].into_iter().all(loops));
        assert!(![0, 9, 53, 1024].into_iter().any(loops));
    }
}
