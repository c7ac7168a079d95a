//! Other ends of a dialogue: listeners elsewhere, other addresses and ports, connects from a chosen port.

use super::super::packet::Tcp;
use super::{Exchange, Flow};
use std::net::{IpAddr, SocketAddr};
use tunstack::host::{Domain, Errno, MsgFlags, Opt, SocketId, Type};

impl Exchange {
    fn domain_of(address: SocketAddr) -> Domain {
        if address.is_ipv4() { Domain::Inet } else { Domain::Inet6 }
    }

    /// A fresh stream socket of the family of the dialogue; calls act on it from now on.
    #[track_caller]
    pub fn fresh(&mut self) -> SocketId {
        let domain = Exchange::domain_of(self.flow().local);
        let id = self.user("socket", |host, _| host.socket(domain, Type::Stream)).expect("a socket");
        self.sock = Some(id);
        id
    }

    /// Listens on this address; accepts come from there.
    #[track_caller]
    pub fn listen_on(&mut self, address: &str) -> &mut Exchange {
        let local: SocketAddr = address.parse().expect("an address and port");
        let listening = self.user(&format!("listen on {local}"), |host, now| {
            let id = host.socket(Exchange::domain_of(local), Type::Stream)?;
            host.set_option(now, id, Opt::ReuseAddr(true))?;
            host.bind(id, local)?;
            host.listen(now, id, 16)?;
            Ok::<_, Errno>(id)
        });
        match listening {
            Ok(id) => self.listener = Some(id),
            Err(e) => self.fail(&format!("listen on {local} gave {e}")),
        }
        self
    }

    /// Connects a fresh socket to port 80 of the peer and expects this SYN.
    #[track_caller]
    pub fn connect_and_see(&mut self, syn: &str) -> Tcp {
        self.connect_fresh();
        self.stack(syn)
    }

    /// Connects a fresh socket to port 80 of the peer, from an ephemeral port.
    #[track_caller]
    pub fn connect_fresh(&mut self) -> &mut Exchange {
        self.fresh();
        let flow = self.flow_mut();
        flow.local.set_port(0);
        flow.remote.set_port(80);
        flow.stack_isn = None;
        self.connects()
    }

    /// Binds a fresh socket to this port and connects it to port 80 of the peer.
    #[track_caller]
    pub fn bind_and_connect(&mut self, port: u16, reuse: bool) -> &mut Exchange {
        let id = self.fresh();
        let flow = self.flow_mut();
        flow.local.set_port(port);
        flow.remote.set_port(80);
        flow.stack_isn = None;
        let local = flow.local;
        let bound = self.user(&format!("bind {local}"), |host, now| {
            host.set_option(now, id, Opt::ReuseAddr(reuse))?;
            host.bind(id, local)
        });
        if let Err(e) = bound {
            self.fail(&format!("bind gave {e}"));
        }
        self.connects()
    }

    /// Binds the socket to this port and connects it to port 80 of the peer; tells how that went.
    #[track_caller]
    pub fn try_connect_from(&mut self, port: u16) -> Result<(), Errno> {
        let (id, mut local, remote) = (self.id(), self.flow().local, self.flow().remote);
        local.set_port(port);
        self.user(&format!("bind {local}, connect {remote}"), |host, now| {
            host.set_option(now, id, Opt::ReuseAddr(true))?;
            host.bind(id, local)?;
            host.connect(now, id, Some(remote))
        })
    }

    /// A fresh socket connects to port 80 of the peer with this text, from an ephemeral port (`MSG_FASTOPEN`).
    #[track_caller]
    pub fn connect_with(&mut self, data: &[u8]) -> Result<usize, Errno> {
        let id = self.fresh();
        self.newly(5_000_000);
        let remote = self.flow().remote;
        let what = format!("connect {remote} with {} octets", data.len());
        let flags = MsgFlags::empty();
        let result = self.user(&what, |host, now| host.connect_with(now, id, remote, data, flags));
        if let Ok(n) = result {
            self.flow_mut().written.extend(&data[..n]);
        }
        result
    }

    /// A new connection to port 80 of the peer begins, from a port that is not known yet.
    pub fn newly(&mut self, peer_isn: u32) -> &mut Exchange {
        let flow = self.flow_mut();
        flow.local.set_port(0);
        flow.remote.set_port(80);
        self.again(peer_isn)
    }

    #[track_caller]
    fn connects(&mut self) -> &mut Exchange {
        let (id, remote) = (self.id(), self.flow().remote);
        let result = self.user(&format!("connect {remote}"), |host, now| host.connect(now, id, Some(remote)));
        if result != Err(Errno::EINPROGRESS) {
            self.fail(&format!("connect gave {result:?}"));
        }
        self
    }

    fn elsewhere(&mut self, change: impl FnOnce(&mut Flow)) -> &mut Exchange {
        let mut flow = self.flows[0].clone();
        change(&mut flow);
        (flow.stack_isn, flow.last_ts, flow.read) = (None, 0, 1);
        (flow.stack_nxt, flow.peer_nxt) = (0, 0);
        (flow.stack_offered_ts, flow.peer_offered_ts) = (false, false);
        flow.written.clear();
        self.flows.push(flow);
        self.current = self.flows.len() - 1;
        self
    }

    /// Another connection of the dialogue: to this address of the stack, from this port.
    pub fn at_stack_address(&mut self, address: IpAddr, peer_port: u16) -> &mut Exchange {
        self.elsewhere(|flow| {
            flow.local.set_ip(address);
            flow.remote.set_port(peer_port);
        })
    }

    /// Another connection of the dialogue: from this address.
    pub fn at_peer_address(&mut self, address: IpAddr) -> &mut Exchange {
        self.elsewhere(|flow| flow.remote.set_ip(address))
    }

    /// The current connection is to this port of the stack.
    pub fn at_stack_port(&mut self, port: u16) -> &mut Exchange {
        self.flow_mut().local.set_port(port);
        self
    }
}
