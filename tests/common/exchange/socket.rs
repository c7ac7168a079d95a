//! The user's side of a dialogue: calls on the socket of the connection.

use super::{Exchange, pattern};
use std::net::SocketAddr;
use tunstack::base::Duration;
use tunstack::host::{Errno, MsgFlags, Opt, OptName, Readiness, Shutdown, SocketId, TcpInfo};

impl Exchange {
    /// The socket that the calls act on.
    #[track_caller]
    pub fn id(&self) -> SocketId {
        self.sock.unwrap_or_else(|| self.fail("the dialogue has no socket"))
    }

    /// Accepts the connection; its socket is the one that calls act on from now on.
    #[track_caller]
    pub fn accept(&mut self) -> &mut Exchange {
        match self.try_accept() {
            Ok((id, from)) => {
                if from != self.flow().remote {
                    self.fail(&format!("accepted a connection from {from}"));
                }
                self.sock = Some(id);
            }
            Err(e) => self.fail(&format!("accept gave {e}")),
        }
        self
    }

    #[track_caller]
    pub fn try_accept(&mut self) -> Result<(SocketId, SocketAddr), Errno> {
        let listener = self.listener.unwrap_or_else(|| self.fail("nobody listens"));
        self.user("accept", |host, now| host.accept(now, listener))
    }

    /// Writes all of `data`.
    #[track_caller]
    pub fn write(&mut self, data: &[u8]) -> &mut Exchange {
        self.write_with(data, MsgFlags::empty())
    }

    #[track_caller]
    pub fn write_with(&mut self, data: &[u8], flags: MsgFlags) -> &mut Exchange {
        match self.try_write(data, flags) {
            Ok(n) if n == data.len() => self,
            other => self.fail(&format!("write of {} octets gave {other:?}", data.len())),
        }
    }

    #[track_caller]
    pub fn try_write(&mut self, data: &[u8], flags: MsgFlags) -> Result<usize, Errno> {
        let id = self.id();
        let result = self.user(&format!("send {} octets {flags:?}", data.len()), |host, now| {
            host.send(now, id, data, flags)
        });
        if let Ok(n) = result {
            self.flow_mut().written.extend(&data[..n]);
        }
        result
    }

    /// Writes `len` octets of some text.
    #[track_caller]
    pub fn write_octets(&mut self, len: usize) -> &mut Exchange {
        let start = self.flow().written.len();
        let data: Vec<u8> = (start..start + len).map(|i| (i % 239) as u8).collect();
        self.write(&data)
    }

    /// Reads once, at most `len` octets.
    #[track_caller]
    pub fn try_read(&mut self, len: usize) -> Result<Vec<u8>, Errno> {
        self.try_recv(len, MsgFlags::empty())
    }

    #[track_caller]
    pub fn try_recv(&mut self, len: usize, flags: MsgFlags) -> Result<Vec<u8>, Errno> {
        let id = self.id();
        let mut buf = vec![0; len];
        let result = self.user(&format!("recv {len}"), |host, now| host.recv(now, id, &mut buf, flags));
        result.map(|received| {
            buf.truncate(received.len);
            buf
        })
    }

    /// Reads exactly `len` octets, which must be those that the peer sent at this place of the stream.
    #[track_caller]
    pub fn reads(&mut self, len: usize) -> &mut Exchange {
        let mut got = Vec::new();
        while got.len() < len {
            match self.try_read(len - got.len()) {
                Ok(part) if !part.is_empty() => got.extend(part),
                other => self.fail(&format!("recv gave {other:?} after {} of {len} octets", got.len())),
            }
        }
        let start = self.flow().read;
        let expected: Vec<u8> = (0..len as i64).map(|i| pattern(start + i)).collect();
        if got != expected {
            self.fail(&format!("octets {start}.. of the stream are wrong: {got:?}"));
        }
        self.flow_mut().read = start + len as i64;
        self
    }

    /// There is nothing to read yet.
    #[track_caller]
    pub fn reads_nothing(&mut self) -> &mut Exchange {
        self.read_fails(Errno::EAGAIN)
    }

    /// The peer's stream has ended.
    #[track_caller]
    pub fn reads_end(&mut self) -> &mut Exchange {
        match self.try_read(100) {
            Ok(data) if data.is_empty() => self,
            other => self.fail(&format!("recv gave {other:?}, expected the end of the stream")),
        }
    }

    #[track_caller]
    pub fn read_fails(&mut self, error: Errno) -> &mut Exchange {
        match self.try_read(100) {
            Err(e) if e == error => self,
            other => self.fail(&format!("recv gave {other:?}, expected {}", error.name())),
        }
    }

    #[track_caller]
    pub fn write_fails(&mut self, error: Errno) -> &mut Exchange {
        match self.try_write(b"x", MsgFlags::empty()) {
            Err(e) if e == error => self,
            other => self.fail(&format!("send gave {other:?}, expected {}", error.name())),
        }
    }

    #[track_caller]
    pub fn shutdown(&mut self, how: Shutdown) -> &mut Exchange {
        let id = self.id();
        let result = self.user(&format!("shutdown {how:?}"), |host, now| host.shutdown(now, id, how));
        self.succeeds("shutdown", result)
    }

    #[track_caller]
    pub fn close(&mut self) -> &mut Exchange {
        let id = self.id();
        let result = self.user("close", |host, now| host.close(now, id));
        self.succeeds("close", result)
    }

    #[track_caller]
    pub fn abort(&mut self) -> &mut Exchange {
        let id = self.id();
        let result = self.user("abort", |host, now| host.abort(now, id));
        self.succeeds("abort", result)
    }

    #[track_caller]
    pub fn close_listener(&mut self) -> &mut Exchange {
        let id = self.listener.take().unwrap_or_else(|| self.fail("nobody listens"));
        let result = self.user("close the listener", |host, now| host.close(now, id));
        self.succeeds("close", result)
    }

    #[track_caller]
    pub fn set(&mut self, option: Opt) -> &mut Exchange {
        let id = self.id();
        let result = self.user(&format!("set {option:?}"), |host, now| host.set_option(now, id, option));
        self.succeeds("set_option", result)
    }

    #[track_caller]
    pub fn get(&mut self, name: OptName) -> Opt {
        let id = self.id();
        let result = self.user(&format!("get {name:?}"), |host, _| host.option(id, name));
        result.unwrap_or_else(|e| self.fail(&format!("get {name:?} gave {e}")))
    }

    /// Acknowledgments are delayed from now on, until the delay timer shows that nobody answers.
    #[track_caller]
    pub fn patient(&mut self) -> &mut Exchange {
        // Only a change has an effect.
        self.set(Opt::QuickAck(true)).set(Opt::QuickAck(false))
    }

    /// The pending error of the socket (`SO_ERROR`), which reading clears; `None` when there is none.
    #[track_caller]
    pub fn error(&mut self) -> Option<Errno> {
        match self.get(OptName::Error) {
            Opt::Error(0) => None,
            Opt::Error(code) => Errno::ALL.iter().copied().find(|e| e.code() == code),
            other => self.fail(&format!("SO_ERROR gave {other:?}")),
        }
    }

    #[track_caller]
    pub fn info(&self) -> TcpInfo {
        self.host.tcp_info(self.now, self.id()).unwrap_or_else(|e| self.fail(&format!("tcp_info gave {e}")))
    }

    /// The retransmission timeout in force.
    #[track_caller]
    pub fn rto(&self) -> Duration {
        Duration::from_micros(self.info().rto)
    }

    #[track_caller]
    pub fn ready(&self) -> Readiness {
        self.host.readiness(self.id())
    }

    /// The state of the current connection as `ss` shows it, also when no socket holds it; CLOSED when it is gone.
    pub fn state(&self) -> &'static str {
        let flow = self.flow();
        let sockets = self.host.sockets();
        sockets
            .iter()
            .filter(|s| s.local.port() == flow.local.port() && s.remote == Some(flow.remote))
            .map(|s| s.state)
            .find(|state| *state != "CLOSED") // an old connection that its socket still holds
            .unwrap_or("CLOSED")
    }

    /// The current connection is in this state.
    #[track_caller]
    pub fn state_is(&mut self, state: &str) -> &mut Exchange {
        let found = self.state();
        if found != state {
            self.fail(&format!("the connection is in {found}, expected {state}"));
        }
        self
    }

    #[track_caller]
    fn succeeds(&mut self, what: &str, result: Result<(), Errno>) -> &mut Exchange {
        if let Err(e) = result {
            self.fail(&format!("{what} gave {e}"));
        }
        self
    }
}
