//! The application of a [`Pair`](super::Pair): sends a stream, checks the one it receives, and closes.
//!
//! It acts on readiness events and its own timers only, so an event that never comes ends in a deadlock that the test
//! sees.

use std::net::SocketAddr;
use tunstack::base::{Duration, Instant};
use tunstack::host::{
    Domain, Errno, Event, Host, MsgFlags, Opt, OptName, Readiness, Shutdown, SocketId, Type,
};

/// What an application does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Octets to send.
    pub send: usize,
    /// Octets it must receive.
    pub expect: usize,
    /// Octets of one write.
    pub write: usize,
    /// Octets of one read, and the pause after it.
    pub read: usize,
    pub pause: Duration,
    /// Close as soon as all is written and the peer has finished, instead of a half close before.
    pub close_late: bool,
    pub options: Vec<Opt>,
    /// Whoever connects does so with its first write (Fast Open).
    pub fast_open: bool,
}

/// An application and how far it has come.
#[derive(Debug)]
pub struct App {
    plan: Plan,
    domain: Domain,
    local: SocketAddr,
    remote: SocketAddr,
    listener: Option<SocketId>,
    socket: Option<SocketId>,
    connected: bool,
    sent: usize,
    received: usize,
    shut: bool,
    ended: bool,
    closed: bool,
    error: Option<Errno>,
    next_read: Option<Instant>,
}

/// The octet at a place of the stream that the end with this port sends.
fn octet(port: u16, place: usize) -> u8 {
    (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) as u8 ^ port as u8
}

impl App {
    pub fn new(domain: Domain, local: SocketAddr, remote: SocketAddr, plan: Plan) -> App {
        App {
            plan,
            domain,
            local,
            remote,
            listener: None,
            socket: None,
            connected: false,
            sent: 0,
            received: 0,
            shut: false,
            ended: false,
            closed: false,
            error: None,
            next_read: None,
        }
    }

    /// Listens, or connects.
    pub fn start(&mut self, host: &mut Host, now: Instant, listen: bool) {
        let id = host.socket(self.domain, Type::Stream).expect("a socket");
        for option in self.plan.options.clone() {
            host.set_option(now, id, option).expect("options of plans can be set");
        }
        if self.local.port() != 0 {
            host.bind(id, self.local).expect("a free port");
        }
        if listen {
            host.listen(now, id, 8).expect("listen");
            self.listener = Some(id);
        } else {
            self.socket = Some(id);
            let result = match self.plan.fast_open {
                false => host.connect(now, id, Some(self.remote)),
                true => {
                    let data = self.next_write();
                    let sent = host.connect_with(now, id, self.remote, &data, MsgFlags::empty());
                    self.sent = sent.expect("no cookie is needed");
                    Err(Errno::EINPROGRESS)
                }
            };
            assert_eq!(result, Err(Errno::EINPROGRESS), "connect");
        }
    }

    pub fn socket(&self) -> Option<SocketId> {
        self.socket.filter(|_| !self.closed)
    }

    pub fn is_done(&self) -> bool {
        self.closed
    }

    pub fn outcome(&self) -> Result<(), Errno> {
        self.error.map_or(Ok(()), Err)
    }

    pub fn received(&self) -> usize {
        self.received
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.next_read.filter(|_| !self.closed)
    }

    /// Gives up: the other end is gone for good and this one has nothing to wait for.
    pub fn abandon(&mut self, host: &mut Host, now: Instant) {
        if let (Some(id), false) = (self.socket, self.closed) {
            host.abort(now, id).expect("abort");
        }
        self.error.get_or_insert(Errno::ETIMEDOUT);
        self.closed = true;
    }

    pub fn on_event(&mut self, host: &mut Host, now: Instant, event: Event) {
        if self.listener == Some(event.socket) && self.socket.is_none() {
            match host.accept(now, event.socket) {
                Ok((id, _)) => (self.socket, self.connected) = (Some(id), true),
                Err(Errno::EAGAIN) => return,
                Err(e) => panic!("accept: {e}"),
            }
            self.work(host, now);
        } else if self.socket == Some(event.socket) {
            self.work(host, now);
        }
    }

    pub fn on_time(&mut self, host: &mut Host, now: Instant) {
        if self.next_read.is_some_and(|at| at <= now) {
            self.next_read = None;
            self.work(host, now);
        }
    }

    /// Does all that can be done without waiting.
    fn work(&mut self, host: &mut Host, now: Instant) {
        let Some(id) = self.socket() else { return };
        if !self.connected {
            if !host.readiness(id).intersects(Readiness::WRITABLE | Readiness::ERROR) {
                return;
            }
            match host.option(id, OptName::Error).expect("SO_ERROR") {
                Opt::Error(0) => match host.peer_addr(id) {
                    Ok(_) => self.connected = true,
                    Err(_) => return,
                },
                Opt::Error(code) => return self.fail(host, now, error(code)),
                other => panic!("SO_ERROR gave {other:?}"),
            }
        }
        let result = self.write(host, now, id).and_then(|()| self.read(host, now, id));
        if let Err(e) = result {
            return self.fail(host, now, e);
        }
        let written = self.sent == self.plan.send;
        if written && !self.shut && (self.ended || !self.plan.close_late) {
            self.shut = true;
            if !self.ended {
                match host.shutdown(now, id, Shutdown::Write) {
                    Ok(()) => {}
                    Err(e) => return self.fail(host, now, e),
                }
            }
        }
        if self.ended && self.shut {
            host.close(now, id).expect("close");
            self.closed = true;
        }
    }

    fn next_write(&self) -> Vec<u8> {
        let len = self.plan.write.min(self.plan.send - self.sent);
        (self.sent..self.sent + len).map(|i| octet(self.local.port(), i)).collect()
    }

    fn write(&mut self, host: &mut Host, now: Instant, id: SocketId) -> Result<(), Errno> {
        while self.sent < self.plan.send {
            let data = self.next_write();
            let len = data.len();
            match host.send(now, id, &data, MsgFlags::empty()) {
                Ok(n) => {
                    assert!(n > 0 && n <= len, "send of {len} octets gave {n}");
                    self.sent += n;
                }
                Err(Errno::EAGAIN) => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn read(&mut self, host: &mut Host, now: Instant, id: SocketId) -> Result<(), Errno> {
        let mut buf = vec![0; self.plan.read];
        while !self.ended && self.next_read.is_none() {
            let n = match host.recv(now, id, &mut buf, MsgFlags::empty()) {
                Ok(received) => received.len,
                Err(Errno::EAGAIN) => break,
                Err(e) => return Err(e),
            };
            if n == 0 {
                self.ended = true;
                assert_eq!(self.received, self.plan.expect, "the stream ended early or late");
                break;
            }
            for (index, got) in buf[..n].iter().enumerate() {
                let place = self.received + index;
                assert_eq!(*got, octet(self.remote.port(), place), "octet {place} of the stream");
            }
            self.received += n;
            if !self.plan.pause.is_zero() {
                self.next_read = Some(now + self.plan.pause);
            }
        }
        Ok(())
    }

    fn fail(&mut self, host: &mut Host, now: Instant, error: Errno) {
        self.error = Some(error);
        self.closed = true;
        let id = self.socket.expect("a socket failed");
        host.close(now, id).expect("close after an error");
    }

    pub fn describe(&self) -> String {
        format!(
            "sent {} of {}, received {} of {}, connected {}, shut {}, ended {}, closed {}, error {:?}, {:?}",
            self.sent,
            self.plan.send,
            self.received,
            self.plan.expect,
            self.connected,
            self.shut,
            self.ended,
            self.closed,
            self.error,
            self.plan
        )
    }
}

fn error(code: i32) -> Errno {
    Errno::ALL.iter().copied().find(|e| e.code() == code).unwrap_or_else(|| panic!("error number {code}"))
}
