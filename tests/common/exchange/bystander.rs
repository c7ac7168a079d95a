//! A connection beside the dialogue, from another address, that must not notice what happens there.

use super::super::packet::{self, ACK, PSH, SYN, Tcp};
use super::Exchange;
use std::net::{IpAddr, SocketAddr};
use tunstack::host::{Domain, Errno, MsgFlags, SocketId, Type};

/// Its port at the stack, and at its own end.
const PORTS: (u16, u16) = (8022, 52211);
const ISN: u32 = 0x0bad_cafe;

impl Exchange {
    fn bystander_address(&self) -> IpAddr {
        match self.flow().local.is_ipv4() {
            true => [10, 9, 0, 77].into(),
            false => [0xfd09, 0, 0, 0, 0, 0, 0, 0x77].into(),
        }
    }

    fn bystander_sends(&mut self, tcp: Tcp) {
        let (from, to) = (self.bystander_address(), self.flow().local.ip());
        let tcp = Tcp { src_port: PORTS.1, dst_port: PORTS.0, window: 65535, ..tcp };
        self.inject(&packet::tcp(from, to, &tcp));
    }

    /// The next packet to the bystander; what goes elsewhere is not looked at.
    #[track_caller]
    fn bystander_gets(&mut self) -> Tcp {
        while let Some(packet) = self.try_next() {
            if let Some(tcp) = packet.tcp().filter(|tcp| tcp.dst_port == PORTS.1) {
                return tcp.clone();
            }
        }
        self.fail("nothing was sent to the bystander")
    }

    /// A connection from another address is established; gives its socket and the stack's ISN.
    #[track_caller]
    pub fn bystander(&mut self) -> (SocketId, u32) {
        let local = SocketAddr::new(self.flow().local.ip(), PORTS.0);
        let domain = if local.is_ipv4() { Domain::Inet } else { Domain::Inet6 };
        let listener = self
            .user("bystander listens", |host, now| {
                let id = host.socket(domain, Type::Stream)?;
                host.bind(id, local)?;
                host.listen(now, id, 1)?;
                Ok::<_, Errno>(id)
            })
            .unwrap_or_else(|e| self.fail(&format!("bystander: {e}")));
        self.bystander_sends(Tcp { seq: ISN, flags: SYN, ..Tcp::default() });
        let iss = self.bystander_gets().seq;
        self.bystander_sends(Tcp { seq: ISN + 1, ack: iss.wrapping_add(1), flags: ACK, ..Tcp::default() });
        let accepted = self.user("bystander accepts", |host, now| host.accept(now, listener));
        let (id, _) = accepted.unwrap_or_else(|e| self.fail(&format!("bystander: {e}")));
        let closed = self.user("bystander's listener closes", |host, now| host.close(now, listener));
        closed.unwrap_or_else(|e| self.fail(&format!("bystander: {e}")));
        (id, iss)
    }

    /// Data goes from the bystander to its socket and back.
    #[track_caller]
    pub fn bystander_works(&mut self, id: SocketId) {
        self.ignore();
        let mut buf = [0; 64];
        let sent =
            self.user("bystander sends", |host, now| host.send(now, id, b"still here", MsgFlags::empty()));
        if sent != Ok(10) {
            self.fail(&format!("the bystander's send gave {sent:?}"));
        }
        let got = self.bystander_gets();
        if got.payload != b"still here" {
            self.fail(&format!("the bystander got {:?}", got.payload));
        }
        let ack = got.seq.wrapping_add(10);
        let payload = b"and here".to_vec();
        self.bystander_sends(Tcp { seq: ISN + 1, ack, flags: ACK | PSH, payload, ..Tcp::default() });
        let read = self.user_quietly(|host, now| host.recv(now, id, &mut buf, MsgFlags::empty()));
        match read {
            Ok(received) if &buf[..received.len] == b"and here" => {}
            other => self.fail(&format!("the bystander's recv gave {other:?}")),
        }
        self.ignore();
    }
}
