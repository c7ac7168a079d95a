//! `tunstack ping`: echo requests over a ping socket, with the statistics that ping prints.

use super::cli;
use super::client::{Client, addresses};
use super::failure::{Doing as _, Failure, Outcome, plain};
use crate::host::Readiness;
use crate::runtime::Trigger;
use crate::socket::consts::{
    AF_INET, AF_INET6, IP_RECVERR, IP_RECVTTL, IP_TTL, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_IP,
    IPPROTO_IPV6, IPV6_RECVERR, IPV6_RECVHOPLIMIT, IPV6_UNICAST_HOPS, MSG_ERRQUEUE, SO_BROADCAST, SOCK_DGRAM,
    SOL_SOCKET,
};
use crate::socket::{Poller, Socket};
use std::io::{ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the last answer is waited for.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// Requests whose time of sending is remembered.
const REMEMBERED: usize = 1024;

/// Runs `tunstack ping`.
pub fn run(options: &cli::Ping) -> Outcome {
    let stop = Arc::new(AtomicBool::new(false));
    let poller: Arc<std::sync::OnceLock<Arc<Poller>>> = Arc::default();
    let (asked, waiting) = (Arc::clone(&stop), Arc::clone(&poller));
    let client = Client::start_until(&options.device, true, move || {
        asked.store(true, Ordering::Release);
        if let Some(poller) = waiting.get() {
            let _ = poller.notify();
        }
    })?;
    let watch = Arc::new(Poller::new(client.stack()).doing("cannot wait")?);
    let _ = poller.set(Arc::clone(&watch));
    let to = addresses(client.stack(), &options.host, 0)?[0];
    // 65535 octets less the headers of IP, where it is part of the length, and ICMP.
    if to.is_ipv4() && options.size > 65_507 {
        return Err(Failure::input(format!(
            "{} octets are too many for IPv4: choose 0 to 65507",
            options.size
        )));
    }
    let result = Pinger::new(&client, to, options, &watch).and_then(|mut pinger| pinger.run(&stop));
    let finished = client.finish();
    let answered = result?;
    finished?;
    match answered {
        true => Ok(()),
        false => Err(Failure::run(format!(
            "{} does not answer: `tunstack doctor` shows what may be in the way",
            to.ip()
        ))),
    }
}

struct Pinger<'a> {
    socket: Socket,
    poller: &'a Poller,
    to: SocketAddr,
    options: &'a cli::Ping,
    sent_at: Vec<Option<Instant>>,
    sent: u32,
    statistics: Statistics,
}

impl<'a> Pinger<'a> {
    fn new(
        client: &Client,
        to: SocketAddr,
        options: &'a cli::Ping,
        poller: &'a Poller,
    ) -> Outcome<Pinger<'a>> {
        let (family, protocol) =
            if to.is_ipv4() { (AF_INET, IPPROTO_ICMP) } else { (AF_INET6, IPPROTO_ICMPV6) };
        let make = || {
            let socket = Socket::new(client.stack(), family, SOCK_DGRAM, protocol)?;
            let (level, recv_ttl, recv_err, ttl) = match to.is_ipv4() {
                true => (IPPROTO_IP, IP_RECVTTL, IP_RECVERR, IP_TTL),
                false => (IPPROTO_IPV6, IPV6_RECVHOPLIMIT, IPV6_RECVERR, IPV6_UNICAST_HOPS),
            };
            socket.setsockopt_int(level, recv_ttl, 1)?;
            // Soft errors too, and who reports them.
            socket.setsockopt_int(level, recv_err, 1)?;
            if let Some(value) = options.ttl {
                socket.setsockopt_int(level, ttl, value.into())?;
            }
            // Connected, it would hear the broadcast address alone, which answers nobody.
            match options.broadcast {
                true => socket.setsockopt_int(SOL_SOCKET, SO_BROADCAST, 1)?,
                false => socket.connect(to)?,
            }
            socket.setblocking(false);
            poller.add(&socket, 0, Readiness::READABLE, Trigger::Level)?;
            Ok(socket)
        };
        let socket = make().map_err(|error: std::io::Error| match error.kind() {
            // POSIX.1 connect: EACCES is a broadcast address without leave.
            ErrorKind::PermissionDenied => Failure::input(format!(
                "{} is a broadcast address: --broadcast pings everybody on that network",
                to.ip()
            )),
            _ => Failure::run(format!("cannot ping {}: {}", to.ip(), plain(&error))),
        })?;
        let (sent_at, statistics) = (vec![None; REMEMBERED], Statistics::default());
        Ok(Pinger { socket, poller, to, options, sent_at, sent: 0, statistics })
    }

    /// Pings, prints the statistics, and says whether there was an answer at all.
    fn run(&mut self, stop: &AtomicBool) -> Outcome<bool> {
        outln!("PING {} ({}) {} bytes of data", self.options.host, self.to.ip(), self.options.size);
        let interval = Duration::from_secs_f64(self.options.interval);
        let began = Instant::now();
        let mut next = began;
        while !stop.load(Ordering::Acquire) {
            let all_sent = self.options.count.is_some_and(|count| self.sent >= count);
            if all_sent && (self.statistics.times.len() as u32 >= self.sent || Instant::now() >= next) {
                break;
            }
            if !all_sent && Instant::now() >= next {
                self.request();
                next += interval;
                if self.options.count == Some(self.sent) {
                    next = Instant::now() + LAST_ANSWER.max(interval);
                }
            }
            let mut events = Vec::with_capacity(1);
            let wait = next.saturating_duration_since(Instant::now());
            self.poller.wait(&mut events, Some(wait)).doing("the stack ended")?;
            self.answers();
        }
        outln!("\n--- {} ping statistics ---", self.options.host);
        out!("{}", self.statistics.text(self.sent, began.elapsed()));
        Ok(!self.statistics.times.is_empty())
    }

    fn request(&mut self) {
        let number = self.sent + 1;
        let kind = if self.to.is_ipv4() { 8 } else { 128 };
        // The socket puts identifier and checksum in.
        let mut message = vec![kind, 0, 0, 0, 0, 0];
        message.extend((number as u16).to_be_bytes());
        message.extend((0..self.options.size).map(|index| index as u8));
        self.sent = number;
        self.sent_at[number as usize % REMEMBERED] = Some(Instant::now());
        let sent = match self.options.broadcast {
            true => self.socket.sendto(&message, 0, self.to),
            false => self.socket.send(&message, 0),
        };
        if let Err(error) = sent {
            outln!("icmp_seq={number} {}", plain(&error));
        }
    }

    fn answers(&mut self) {
        let mut buffer = vec![0; 65_536];
        loop {
            let message = match self.socket.recvmsg(&mut [IoSliceMut::new(&mut buffer)], 0) {
                Ok(message) => message,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.told(&error);
                    continue;
                }
            };
            let [_, _, _, _, _, _, high, low, ..] = buffer[..message.len.min(buffer.len())] else { continue };
            let number = u16::from_be_bytes([high, low]);
            let from = message.from.unwrap_or(self.to).ip();
            let Some(sent_at) = self.sent_at[usize::from(number) % REMEMBERED].take() else {
                outln!("{} bytes from {from}: icmp_seq={number} (DUP!)", message.len);
                continue;
            };
            let time = sent_at.elapsed();
            self.statistics.times.push(time.as_secs_f64() * 1e3);
            let ttl = message.info.ttl.map(|ttl| format!(" ttl={ttl}")).unwrap_or_default();
            outln!("{} bytes from {from}: icmp_seq={number}{ttl} time={} ms", message.len, digits(time));
        }
    }

    /// Prints what a router, or the host itself, reported.
    fn told(&self, error: &std::io::Error) {
        let mut quoted = [0; 8];
        let queued = self.socket.recvmsg(&mut [IoSliceMut::new(&mut quoted)], MSG_ERRQUEUE);
        match queued.ok().and_then(|message| message.error) {
            Some((errno, reporter, kind)) => {
                let errno = std::io::Error::from_raw_os_error(errno);
                let what = meaning(self.to.is_ipv4(), kind).map_or_else(|| plain(&errno), str::to_owned);
                outln!("From {reporter} icmp_seq={} {what}", self.sent);
            }
            None => outln!("icmp_seq={} {}", self.sent, plain(error)),
        }
    }
}

/// What an ICMP error means, by family, type and code (RFC 792, RFC 4443).
fn meaning(v4: bool, kind: (u8, u8)) -> Option<&'static str> {
    match (v4, kind) {
        (true, (11, 0)) => Some("Time to live exceeded"),
        (false, (3, 0)) => Some("Hop limit exceeded"),
        (_, (11 | 3, 1)) if v4 == (kind.0 == 11) => Some("Fragments missing"),
        (true, (3, 0)) => Some("Destination network unreachable"),
        (true, (3, 1)) => Some("Destination host unreachable"),
        (true, (3, 2)) => Some("Destination protocol unreachable"),
        (true, (3, 4)) | (false, (2, _)) => Some("Packet too big"),
        (true, (3, 9 | 10 | 13)) | (false, (1, 1)) => Some("Administratively prohibited"),
        (false, (1, 0)) => Some("No route to destination"),
        (false, (1, 3)) => Some("Address unreachable"),
        _ => None,
    }
}

/// Three significant digits, as ping shows them.
fn digits(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        ms if ms < 10.0 => format!("{ms:.3}"),
        ms if ms < 100.0 => format!("{ms:.2}"),
        ms if ms < 1000.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

#[derive(Default)]
struct Statistics {
    /// Milliseconds of each answer.
    times: Vec<f64>,
}

impl Statistics {
    fn text(&self, sent: u32, took: Duration) -> String {
        let received = self.times.len();
        let lost = 100.0 * (1.0 - received as f64 / f64::from(sent.max(1)));
        let lost = if sent == 0 { 0.0 } else { lost.max(0.0) };
        let mut text = format!(
            "{sent} packets transmitted, {received} received, {}% packet loss, time {}ms\n",
            if lost == lost.trunc() { format!("{lost:.0}") } else { format!("{lost:.4}") },
            took.as_millis()
        );
        if received > 0 {
            let n = received as f64;
            let mean = self.times.iter().sum::<f64>() / n;
            let squares = self.times.iter().map(|time| time * time).sum::<f64>() / n;
            let deviation = (squares - mean * mean).max(0.0).sqrt();
            let (least, most) = self
                .times
                .iter()
                .fold((f64::MAX, 0f64), |(least, most), time| (least.min(*time), most.max(*time)));
            text += &format!("rtt min/avg/max/mdev = {least:.3}/{mean:.3}/{most:.3}/{deviation:.3} ms\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_pings() {
        let statistics = Statistics { times: vec![1.0, 2.0, 3.0] };
        assert_eq!(
            statistics.text(4, Duration::from_millis(3012)),
            "4 packets transmitted, 3 received, 25% packet loss, time 3012ms\n\
             rtt min/avg/max/mdev = 1.000/2.000/3.000/0.816 ms\n"
        );
        let none = Statistics::default();
        assert_eq!(
            none.text(3, Duration::ZERO),
            "3 packets transmitted, 0 received, 100% packet loss, time 0ms\n"
        );
        assert_eq!(
            none.text(0, Duration::ZERO),
            "0 packets transmitted, 0 received, 0% packet loss, time 0ms\n"
        );
        assert_eq!(
            Statistics { times: vec![1.0] }.text(3, Duration::ZERO).lines().next(),
            Some("3 packets transmitted, 1 received, 66.6667% packet loss, time 0ms")
        );
    }

    #[test]
    fn times_have_three_significant_digits() {
        for (micros, text) in [(123, "0.123"), (12_345, "12.35"), (123_456, "123.5"), (1_234_567, "1235")] {
            assert_eq!(digits(Duration::from_micros(micros)), text);
        }
    }
}
