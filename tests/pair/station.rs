//! Hosts with a program on them, at the ends of a simulated wire: one sends a stream to each client, one receives it.

use crate::common::checker::Checker;
use std::net::{IpAddr, SocketAddr};
use tunstack::base::{Cidr, Config, Instant};
use tunstack::host::{Domain, Errno, Host, MsgFlags, SocketId, Type};
use tunstack::link::impair::Impairment;
use tunstack::sim::{Node, NodeId, Sim};

/// Addresses of the sender and of the receiver, and the port of the former.
pub const SENDER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 1));
pub const RECEIVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 0, 2));
pub const PORT: u16 = 19;
const MTU: usize = 1500;
/// Octets of one write and of one read.
const BLOCK: usize = 64 << 10;

/// A host with its program.
pub struct Station {
    host: Host,
    program: Program,
    /// Looks at every packet that is sent. It looks at every octet, which a bulk transfer has no time for.
    checker: Option<Checker>,
}

enum Program {
    Sender {
        listener: SocketId,
        stream: Option<SocketId>,
        /// Octets still to be sent.
        left: u64,
    },
    Receiver {
        stream: SocketId,
        received: u64,
        /// When the last octet came.
        last: Instant,
    },
}

impl Station {
    fn new(
        config: Config,
        seed: u64,
        address: IpAddr,
        program: impl FnOnce(&mut Host) -> Program,
    ) -> Station {
        let mut host = Host::new(config, [seed as u8 ^ matches!(address, SENDER) as u8; 16]);
        host.add_address(Cidr::new(address, 24).expect("legal")).expect("legal");
        let program = program(&mut host);
        Station { host, program, checker: None }
    }

    /// Sends so much to its client, and then its FIN.
    pub fn sender(config: Config, seed: u64, octets: u64) -> Station {
        Station::new(config, seed, SENDER, |host| {
            let listener = host.socket(Domain::Inet, Type::Stream).expect("a socket");
            host.bind(listener, SocketAddr::new(SENDER, PORT)).expect("free");
            host.listen(Instant::ZERO, listener, 8).expect("bound");
            Program::Sender { listener, stream: None, left: octets }
        })
    }

    /// Connects at time zero and reads what comes.
    pub fn receiver(config: Config, seed: u64) -> Station {
        Station::new(config, seed, RECEIVER, |host| {
            let stream = host.socket(Domain::Inet, Type::Stream).expect("a socket");
            let result = host.connect(Instant::ZERO, stream, Some(SocketAddr::new(SENDER, PORT)));
            assert_eq!(result, Err(Errno::EINPROGRESS));
            Program::Receiver { stream, received: 0, last: Instant::ZERO }
        })
    }

    /// The same with every packet that it sends checked.
    pub fn checked(mut self) -> Station {
        let address = if matches!(self.program, Program::Sender { .. }) { SENDER } else { RECEIVER };
        self.checker = Some(Checker::new(MTU, &[address]));
        self
    }

    /// Octets that came, and when the last one did.
    pub fn received(&self) -> (u64, Instant) {
        match self.program {
            Program::Sender { .. } => panic!("sends"),
            Program::Receiver { received, last, .. } => (received, last),
        }
    }

    /// Lets the program do all that it can without waiting.
    fn work(&mut self, now: Instant) {
        self.checker.iter_mut().for_each(Checker::acted);
        while self.host.poll_event().is_some() {}
        match &mut self.program {
            Program::Sender { listener, stream, left } => {
                if stream.is_none() {
                    *stream = self.host.accept(now, *listener).ok().map(|(stream, _)| stream);
                }
                let Some(id) = *stream else { return };
                while *left > 0 {
                    let block = BLOCK.min(usize::try_from(*left).unwrap_or(BLOCK));
                    match self.host.send(now, id, &[7; BLOCK][..block], MsgFlags::empty()) {
                        Ok(n) => *left -= n as u64,
                        Err(Errno::EAGAIN) => return,
                        Err(errno) => panic!("send: {errno}"),
                    }
                    if *left == 0 {
                        self.host.shutdown(now, id, tunstack::host::Shutdown::Write).expect("open");
                    }
                }
            }
            Program::Receiver { stream, received, last } => loop {
                match self.host.recv(now, *stream, &mut [0; BLOCK], MsgFlags::empty()) {
                    Ok(got) if got.len > 0 => (*received, *last) = (*received + got.len as u64, now),
                    Ok(_) | Err(Errno::EAGAIN) => return,
                    Err(errno) => panic!("recv: {errno}"),
                }
            },
        }
    }
}

impl Node for Station {
    fn receive(&mut self, now: Instant, packet: &[u8]) {
        self.checker.iter_mut().for_each(|checker| checker.arrived(packet));
        Node::receive(&mut self.host, now, packet);
    }

    fn transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut packet = Node::transmit(&mut self.host, now);
        if packet.is_none() {
            self.work(now);
            packet = Node::transmit(&mut self.host, now);
        }
        match (&mut self.checker, &packet) {
            (None, _) => {}
            (Some(checker), None) => checker.settle(),
            (Some(checker), Some(packet)) => {
                checker.sent(now, packet).unwrap_or_else(|fault| panic!("at {now:?}: {fault}"));
            }
        }
        packet
    }

    fn advance(&mut self, now: Instant) {
        self.checker.iter_mut().for_each(Checker::acted);
        Node::advance(&mut self.host, now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        Node::next_timeout(&self.host)
    }
}

/// A world of a sender, a receiver and the link between them: "up" is from the sender.
pub fn world(link: &str, seed: u64, sender: Box<dyn Node>, receiver: Station) -> (Sim, NodeId, NodeId) {
    let link: Impairment = link.parse().unwrap_or_else(|error| panic!("{error}"));
    let mut sim = Sim::new(seed);
    let sender = sim.add_node(sender);
    let receiver = sim.add_node(Box::new(receiver));
    sim.connect(sender, receiver, &link);
    (sim, sender, receiver)
}
