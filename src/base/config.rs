//! Settings of a host, under Linux's sysctl names where Linux has them.
//!
//! Every setting is readable and changeable by name at run time ([`Config::get`], [`Config::set`]) and is a plain
//! typed field for code. Times are [`Duration`]s; as text they have the unit of the Linux setting.

use super::Duration;
use core::fmt;

/// The text form of one setting: how it is read and shown, and in which unit.
trait Setting: Sized {
    fn parse(text: &str, unit: Unit) -> Option<Self>;
    fn show(&self, unit: Unit) -> String;
}

/// Unit of a setting's text form. `Plain` is a bare number.
#[derive(Clone, Copy)]
enum Unit {
    Plain,
    Secs,
    Millis,
    Micros,
}

impl Setting for u32 {
    fn parse(text: &str, _: Unit) -> Option<u32> {
        text.parse().ok()
    }
    fn show(&self, _: Unit) -> String {
        self.to_string()
    }
}

impl Setting for bool {
    fn parse(text: &str, _: Unit) -> Option<bool> {
        match text {
            "0" | "false" | "off" => Some(false),
            "1" | "true" | "on" => Some(true),
            _ => None,
        }
    }
    fn show(&self, _: Unit) -> String {
        u8::from(*self).to_string()
    }
}

impl Setting for Duration {
    fn parse(text: &str, unit: Unit) -> Option<Duration> {
        let value = text.parse().ok()?;
        Some(match unit {
            Unit::Plain => Duration::from_nanos(value),
            Unit::Secs => Duration::from_secs(value),
            Unit::Millis => Duration::from_millis(value),
            Unit::Micros => Duration::from_micros(value),
        })
    }
    fn show(&self, unit: Unit) -> String {
        match unit {
            Unit::Plain => self.as_nanos(),
            Unit::Secs => self.as_secs(),
            Unit::Millis => self.as_millis(),
            Unit::Micros => self.as_micros(),
        }
        .to_string()
    }
}

impl<const N: usize> Setting for [u32; N] {
    fn parse(text: &str, _: Unit) -> Option<[u32; N]> {
        let mut words = text.split_whitespace().map(|word| word.parse().ok());
        let mut values = [0; N];
        for value in &mut values {
            *value = words.next()??;
        }
        words.next().is_none().then_some(values)
    }
    fn show(&self, _: Unit) -> String {
        self.map(|value| value.to_string()).join(" ")
    }
}

impl Setting for Vec<u16> {
    fn parse(text: &str, _: Unit) -> Option<Vec<u16>> {
        text.split([',', ' ']).filter(|word| !word.is_empty()).map(|word| word.parse().ok()).collect()
    }
    fn show(&self, _: Unit) -> String {
        self.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
    }
}

/// The congestion controller of new connections (`tcp_congestion_control`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CongestionControl {
    /// RFC 9438, with HyStart++ (RFC 9406) in slow start.
    #[default]
    Cubic,
    /// RFC 5681.
    Reno,
    /// BBR version 3 (draft-ietf-ccwg-bbr-06).
    Bbr,
}

impl CongestionControl {
    /// All controllers, as Linux's `tcp_available_congestion_control` lists their names.
    pub const ALL: [CongestionControl; 3] =
        [CongestionControl::Cubic, CongestionControl::Reno, CongestionControl::Bbr];

    /// The controller of this name, as `TCP_CONGESTION` spells it.
    pub fn from_name(name: &str) -> Option<CongestionControl> {
        CongestionControl::ALL.into_iter().find(|control| control.name() == name)
    }

    /// The name `TCP_CONGESTION` knows it by.
    pub fn name(self) -> &'static str {
        match self {
            CongestionControl::Cubic => "cubic",
            CongestionControl::Reno => "reno",
            CongestionControl::Bbr => "bbr",
        }
    }
}

impl Setting for CongestionControl {
    fn parse(text: &str, _: Unit) -> Option<CongestionControl> {
        CongestionControl::from_name(text)
    }
    fn show(&self, _: Unit) -> String {
        self.name().to_owned()
    }
}

/// How CUBIC leaves the first slow start before it overflows the path (`tcp_hystart`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hystart {
    /// HyStart++ (RFC 9406).
    #[default]
    PlusPlus,
    /// Linux's HyStart: trains of acknowledgments and their delay.
    Linux,
    /// Not before a loss.
    Off,
}

impl Setting for Hystart {
    fn parse(text: &str, _: Unit) -> Option<Hystart> {
        match text {
            "plusplus" => Some(Hystart::PlusPlus),
            "linux" => Some(Hystart::Linux),
            "off" => Some(Hystart::Off),
            _ => None,
        }
    }
    fn show(&self, _: Unit) -> String {
        match self {
            Hystart::PlusPlus => "plusplus",
            Hystart::Linux => "linux",
            Hystart::Off => "off",
        }
        .to_owned()
    }
}

/// Why a setting was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No setting has this name.
    UnknownName(String),
    /// The text is no value of this setting.
    BadValue {
        /// The setting.
        name: String,
        /// What was given.
        value: String,
        /// What it accepts.
        expected: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::UnknownName(name) => write!(f, "no setting is called '{name}'"),
            ConfigError::BadValue { name, value, expected } => {
                write!(f, "'{value}' is no value for {name}: expected {expected}")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $unit:ident, $ok:expr, $expected:literal;)*) => {
        /// All settings of a host. `Config::default()` is what Linux starts with.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config { $($(#[doc = $doc])+ pub $name: $type),* }

        impl Default for Config {
            fn default() -> Config {
                Config { $($name: $default),* }
            }
        }

        impl Config {
            /// The names of all settings, with a line about each.
            pub const NAMES: &'static [(&'static str, &'static str)] = &[$((stringify!($name), concat!($($doc),+))),*];

            /// The text of the setting called `name`.
            pub fn get(&self, name: &str) -> Option<String> {
                match name {
                    $(stringify!($name) => Some(self.$name.show(Unit::$unit)),)*
                    _ => None,
                }
            }

            /// Sets `name` from text; values out of range are refused and change nothing.
            ///
            /// # Errors
            /// [`ConfigError`] says which name or value was refused and what is accepted.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
                match name {
                    $(stringify!($name) => {
                        let check: fn(&$type) -> bool = $ok;
                        match <$type as Setting>::parse(value.trim(), Unit::$unit) {
                            Some(parsed) if check(&parsed) => self.$name = parsed,
                            _ => return Err(ConfigError::BadValue {
                                name: name.to_owned(), value: value.to_owned(), expected: $expected,
                            }),
                        }
                    })*
                    _ => return Err(ConfigError::UnknownName(name.to_owned())),
                }
                Ok(())
            }
        }
    };
}

/// Three buffer sizes in ascending order.
fn ascending(sizes: &[u32; 3]) -> bool {
    sizes[0] > 0 && sizes[0] <= sizes[1] && sizes[1] <= sizes[2]
}

settings! {
    /// TTL and hop limit of packets whose socket sets none.
    ip_default_ttl: u32 = 64, Plain, |v| (1..=255).contains(v), "1 to 255";
    /// First and last ephemeral port (RFC 6056).
    ip_local_port_range: [u32; 2] = [32768, 60999], Plain, |v| v[0] >= 1 && v[0] <= v[1] && v[1] <= 65535, "two ports, low then high";
    /// Ports that are never chosen as ephemeral ports.
    ip_local_reserved_ports: Vec<u16> = Vec::new(), Plain, |_| true, "ports, separated by commas";
    /// Seconds an incomplete IPv4 datagram is kept.
    ipfrag_time: Duration = Duration::from_secs(60), Secs, |v| v.as_secs() >= 1, "seconds, at least 1";
    /// Octets of memory that reassembly may hold, IPv4 and IPv6 together.
    ipfrag_high_thresh: u32 = 4 << 20, Plain, |v| *v >= 65536, "octets, at least 65536";
    /// Incomplete datagrams held at once.
    ipfrag_max_datagrams: u32 = 256, Plain, |v| *v >= 1, "a number, at least 1";
    /// Largest datagram that is reassembled (EMTU_R, RFC 1122 §3.3.2).
    ip_emtu_r: u32 = 65535, Plain, |v| (576..=65535).contains(v), "576 to 65535";
    /// Seconds a learned path MTU is kept.
    mtu_expires: Duration = Duration::from_secs(600), Secs, |v| v.as_secs() >= 1, "seconds, at least 1";
    /// Smallest path MTU taken from an ICMP message over IPv4.
    min_pmtu: u32 = 552, Plain, |v| (68..=1500).contains(v), "68 to 1500";
    /// No path MTU discovery: DF is never set on new connections.
    ip_no_pmtu_disc: bool = false, Plain, |_| true, "0 or 1";
    /// Answer no echo request at all.
    icmp_echo_ignore_all: bool = false, Plain, |_| true, "0 or 1";
    /// Answer no echo request that was sent to a broadcast or multicast address.
    icmp_echo_ignore_broadcasts: bool = true, Plain, |_| true, "0 or 1";
    /// ICMP errors sent per second on average.
    icmp_msgs_per_sec: u32 = 10, Plain, |_| true, "a number";
    /// ICMP errors sent at once at most.
    icmp_msgs_burst: u32 = 10, Plain, |_| true, "a number";
    /// Receive buffer of a UDP socket in octets.
    rmem_default: u32 = 212_992, Plain, |v| *v >= 2048, "octets, at least 2048";
    /// Largest receive buffer that SO_RCVBUF grants.
    rmem_max: u32 = 4 << 20, Plain, |v| *v >= 2048, "octets, at least 2048";
    /// Send buffer of a UDP socket in octets.
    wmem_default: u32 = 212_992, Plain, |v| *v >= 2048, "octets, at least 2048";
    /// Largest send buffer that SO_SNDBUF grants.
    wmem_max: u32 = 4 << 20, Plain, |v| *v >= 2048, "octets, at least 2048";
    /// Largest backlog that listen() grants.
    somaxconn: u32 = 4096, Plain, |v| *v >= 1, "a number, at least 1";
    /// Receive buffer of a TCP socket: least, default, most (octets).
    tcp_rmem: [u32; 3] = [4096, 131_072, 32 << 20], Plain, ascending, "three sizes in ascending order";
    /// Send buffer of a TCP socket: least, default, most (octets).
    tcp_wmem: [u32; 3] = [4096, 16_384, 4 << 20], Plain, ascending, "three sizes in ascending order";
    /// Let the receive buffer of a TCP socket grow to what its user takes in a round trip.
    tcp_moderate_rcvbuf: bool = true, Plain, |_| true, "0 or 1";
    /// Congestion controller of new connections.
    tcp_congestion_control: CongestionControl = CongestionControl::Cubic, Plain, |_| true, "cubic, reno or bbr";
    /// How CUBIC's first slow start ends before a loss: RFC 9406, as Linux does it, or not.
    tcp_hystart: Hystart = Hystart::PlusPlus, Plain, |_| true, "plusplus, linux or off";
    /// Offer and use timestamps (RFC 7323).
    tcp_timestamps: bool = true, Plain, |_| true, "0 or 1";
    /// Offer and use selective acknowledgments (RFC 2018).
    tcp_sack: bool = true, Plain, |_| true, "0 or 1";
    /// Offer and use window scaling (RFC 7323).
    tcp_window_scaling: bool = true, Plain, |_| true, "0 or 1";
    /// Explicit congestion notification (RFC 3168): 0 never, 1 ask for it and agree when asked, 2 only agree when asked.
    tcp_ecn: u32 = 2, Plain, |v| *v <= 2, "0, 1 or 2";
    /// A SYN that is sent again asks for no ECN.
    tcp_ecn_fallback: bool = true, Plain, |_| true, "0 or 1";
    /// Search the path MTU by sending (RFC 4821): 0 never, 1 when full segments vanish, 2 always.
    tcp_mtu_probing: u32 = 0, Plain, |v| *v <= 2, "0, 1 or 2";
    /// Octets of text that a packet is thought to carry on any path.
    tcp_base_mss: u32 = 1024, Plain, |v| (48..=65_535).contains(v), "48 to 65535";
    /// Octets of text below which a path MTU search does not go.
    tcp_mtu_probe_floor: u32 = 48, Plain, |v| (48..=65_535).contains(v), "48 to 65535";
    /// Seconds after which a path MTU search begins anew.
    tcp_probe_interval: Duration = Duration::from_secs(600), Secs, |_| true, "seconds";
    /// Octets that are not worth another probe.
    tcp_probe_threshold: u32 = 8, Plain, |v| *v >= 1, "octets, at least 1";
    /// Segments of the initial congestion window (RFC 6928); 0 uses RFC 5681's.
    tcp_init_cwnd: u32 = 10, Plain, |v| *v <= 64, "0 to 64";
    /// Tell a spurious retransmission timeout from a real one (F-RTO, RFC 5682).
    tcp_frto: bool = true, Plain, |_| true, "0 or 1";
    /// Send a tail loss probe before the retransmission timeout (RFC 8985 §7).
    tcp_early_retrans: bool = true, Plain, |_| true, "0 or 1";
    /// Microseconds that the retransmission timeout is never below.
    tcp_rto_min_us: Duration = Duration::from_millis(200), Micros, |v| v.as_micros() >= 1000, "microseconds, at least 1000";
    /// Milliseconds that the retransmission timeout is never above.
    tcp_rto_max_ms: Duration = Duration::from_secs(120), Millis, |v| v.as_secs() >= 60, "milliseconds, at least 60000";
    /// Milliseconds of the retransmission timeout before any round trip was measured.
    tcp_initial_rto_ms: Duration = Duration::from_secs(1), Millis, |v| v.as_millis() >= 1, "milliseconds, at least 1";
    /// Milliseconds an acknowledgment of in-order data may wait.
    tcp_delack_ms: Duration = Duration::from_millis(40), Millis, |v| v.as_millis() < 500, "milliseconds, below 500";
    /// Retransmissions after which IP is told and a soft error is reported (R1).
    tcp_retries1: u32 = 3, Plain, |v| (1..=255).contains(v), "1 to 255";
    /// Retransmissions of data after which the connection is given up (R2).
    tcp_retries2: u32 = 15, Plain, |v| (1..=255).contains(v), "1 to 255";
    /// Retransmissions of a SYN.
    tcp_syn_retries: u32 = 8, Plain, |v| (1..=127).contains(v), "1 to 127";
    /// Retransmissions of a SYN-ACK.
    tcp_synack_retries: u32 = 5, Plain, |v| *v <= 127, "0 to 127";
    /// Retransmissions of data of a connection that no socket holds any more.
    tcp_orphan_retries: u32 = 8, Plain, |v| *v <= 255, "0 to 255";
    /// Connections without a socket that are kept at most; beyond it they are reset.
    tcp_max_orphans: u32 = 65536, Plain, |_| true, "a number";
    /// Seconds a connection without a socket stays in FIN-WAIT-2.
    tcp_fin_timeout: Duration = Duration::from_secs(60), Secs, |v| v.as_secs() >= 1, "seconds, at least 1";
    /// Seconds of TIME-WAIT (2 MSL).
    tcp_timewait_len: Duration = Duration::from_secs(60), Secs, |v| v.as_secs() >= 1, "seconds, at least 1";
    /// Connections that are opened may take the place of one in TIME-WAIT with timestamps: 0 none, 1 all, 2 over loopback.
    tcp_tw_reuse: u32 = 2, Plain, |v| *v <= 2, "0 to 2";
    /// TIME-WAIT records kept at most; beyond it the oldest goes.
    tcp_max_tw_buckets: u32 = 65536, Plain, |_| true, "a number";
    /// Connections that a listener may have half open; never more than its backlog and one.
    tcp_max_syn_backlog: u32 = 1024, Plain, |v| *v >= 1, "a number, at least 1";
    /// Fast Open (RFC 7413), bits as on Linux: 1 clients, 2 servers, 4 clients without a cookie, 0x200 servers without, 0x400 all listeners.
    tcp_fastopen: u32 = 1, Plain, |_| true, "a number";
    /// SYN cookies (RFC 4987): 0 never, 1 while a listener's SYN queue is full, 2 always.
    tcp_syncookies: u32 = 1, Plain, |v| *v <= 2, "0 to 2";
    /// Answer a connection that finds the accept queue full with a reset.
    tcp_abort_on_overflow: bool = false, Plain, |_| true, "0 or 1";
    /// Seconds of silence before the first keepalive probe.
    tcp_keepalive_time: Duration = Duration::from_secs(7200), Secs, |v| v.as_secs() >= 1, "seconds, at least 1";
    /// Seconds between keepalive probes.
    tcp_keepalive_intvl: Duration = Duration::from_secs(75), Secs, |v| v.as_secs() >= 1, "seconds, at least 1";
    /// Unanswered keepalive probes after which the connection is given up.
    tcp_keepalive_probes: u32 = 9, Plain, |v| (1..=127).contains(v), "1 to 127";
    /// Challenge acknowledgments per second, all connections together (RFC 5961 §7).
    tcp_challenge_ack_limit: u32 = 1000, Plain, |_| true, "a number";
    /// Milliseconds between answers to invalid segments of one connection.
    tcp_invalid_ratelimit: Duration = Duration::from_millis(500), Millis, |_| true, "milliseconds";
    /// Restart from the initial window after an idle time of one RTO (RFC 5681 §4.1).
    tcp_slow_start_after_idle: bool = true, Plain, |_| true, "0 or 1";
    /// Smallest segment that a peer or a path may impose.
    tcp_min_snd_mss: u32 = 48, Plain, |v| (1..=1460).contains(v), "1 to 1460";
    /// Connections of all states together; beyond it new ones are refused.
    tcp_max_connections: u32 = 1_048_576, Plain, |v| *v >= 1, "a number, at least 1";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_round_trips_through_its_text() {
        let mut config = Config::default();
        for (name, about) in Config::NAMES {
            let text = config.get(name).expect("listed settings can be read");
            config.set(name, &text).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(!about.trim().is_empty());
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn bad_values_change_nothing_and_say_what_is_accepted() {
        let mut config = Config::default();
        let error = config.set("ip_default_ttl", "0").unwrap_err();
        assert_eq!(error.to_string(), "'0' is no value for ip_default_ttl: expected 1 to 255");
        assert!(config.set("tcp_rmem", "4096 100 200").is_err());
        assert!(config.set("tcp_rmem", "4096 8192").is_err());
        assert_eq!(config.set("no_such", "1").unwrap_err().to_string(), "no setting is called 'no_such'");
        assert_eq!(config, Config::default());
    }

    #[test]
    fn times_have_the_unit_of_linux() {
        let mut config = Config::default();
        config.set("tcp_keepalive_time", "10").expect("seconds");
        assert_eq!(config.tcp_keepalive_time, Duration::from_secs(10));
        config.set("tcp_rto_min_us", "5000").expect("microseconds");
        assert_eq!(config.tcp_rto_min_us, Duration::from_millis(5));
    }
}
