//! A host, and clients that are nothing but the segments of their handshakes.

use etherparse::{PacketBuilder, TcpOptionElement};
use tunstack::base::{Config, Duration, Instant};
use tunstack::host::{Domain, Host, MsgFlags, RxMeta, SocketId, Type};

/// Connections that share a client address.
const PER_ADDRESS: u32 = 50_000;
const SERVER: [u8; 4] = [10, 0, 0, 1];

pub struct Idle {
    host: Host,
    listener: SocketId,
    now: Instant,
    sockets: Vec<SocketId>,
}

impl Idle {
    pub fn new() -> Idle {
        let now = Instant::ZERO;
        let mut host = Host::new(Config::default(), [1; 16]);
        host.add_address("10.0.0.1/8".parse().expect("valid")).expect("legal");
        let listener = host.socket(Domain::Inet, Type::Stream).expect("a socket");
        host.bind(listener, "0.0.0.0:7".parse().expect("valid")).expect("free");
        host.listen(now, listener, 4096).expect("bound");
        Idle { host, listener, now, sockets: Vec::new() }
    }

    /// Connects so many, each with all options of a handshake, and an octet that is read.
    pub fn connect(&mut self, count: u32) {
        for number in 0..count {
            self.now += Duration::from_micros(10);
            self.receive(number, 0, None);
            let answer = self.host.transmit(self.now).expect("a SYN-ACK").to_vec();
            let seq = u32::from_be_bytes(answer[24..28].try_into().expect("four octets"));
            self.receive(number, 1, Some(seq.wrapping_add(1)));
            let (socket, _) = self.host.accept(self.now, self.listener).expect("connected");
            assert_eq!(
                self.host.recv(self.now, socket, &mut [0], MsgFlags::empty()).map(|read| read.len),
                Ok(1)
            );
            self.sockets.push(socket);
            if self.host.next_timeout().is_some_and(|due| due <= self.now) {
                self.host.advance(self.now);
            }
            while self.host.transmit(self.now).is_some() {}
            while self.host.poll_event().is_some() {}
        }
        self.now += Duration::from_secs(1);
        self.host.advance(self.now);
        while self.host.transmit(self.now).is_some() {}
    }

    fn receive(&mut self, client: u32, seq: u32, ack: Option<u32>) {
        let address = (0x0a01_0000 + client / PER_ADDRESS).to_be_bytes();
        let port = 1024 + (client % PER_ADDRESS) as u16;
        let headers = PacketBuilder::ipv4(address, SERVER, 64).tcp(port, 7, seq, 64_000);
        let stamp = TcpOptionElement::Timestamp(1 + seq, ack.map_or(0, |_| 1));
        let (headers, text): (_, &[u8]) = match ack {
            Some(number) => (headers.ack(number).options(&[stamp]).expect("room"), b"x"),
            None => {
                let mss = TcpOptionElement::MaximumSegmentSize(1460);
                let scale = TcpOptionElement::WindowScale(10);
                let options = [mss, TcpOptionElement::SelectiveAcknowledgementPermitted, stamp, scale];
                (headers.syn().options(&options).expect("room"), b"")
            }
        };
        let mut packet = Vec::with_capacity(64);
        headers.write(&mut packet, text).expect("room");
        self.host.receive(self.now, &packet, RxMeta::default());
    }
}
