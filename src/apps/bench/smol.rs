//! smoltcp behind a plain TUN as a server: discard, source and echo.

use super::{DISCARD, ECHO, SOURCE};
use crate::apps::cli::BenchPeer;
use crate::apps::failure::{Failure, Outcome, plain};
use crate::base::Instant;
use crate::link::{BUFFER, Device as Tun, Offload, Setup};
use crate::wire::packet::{TxMeta, TxPacket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpCidr};

/// Octets of a bulk connection's buffer, and of an echo connection's.
const BULK: usize = 1 << 20;
const SMALL: usize = 2048;
/// Sockets that listen on the echo port; smoltcp has no backlog.
const SPARE: usize = 64;
/// Packets in, and calls out, before the sockets have their turn.
const ROUND: usize = 64;

/// The device as smoltcp wants it, with buffers that are used again.
struct Link {
    tun: Tun,
    mtu: usize,
    rx: Vec<u8>,
    tx: Vec<u8>,
}

struct Rx<'a>(&'a [u8]);
struct Tx<'a>(&'a mut Tun, &'a mut [u8]);

impl RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let result = f(&mut self.1[..len]);
        let packet = TxPacket { parts: [&self.1[..len], &[], &[], &[]], meta: TxMeta::default() };
        // Whatever the device does not take is lost, as on any wire.
        let _ = self.0.send(Instant::ZERO, &packet);
        result
    }
}

impl Device for Link {
    type RxToken<'a> = Rx<'a>;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Rx<'_>, Tx<'_>)> {
        let (len, _) = self.tun.recv(Instant::ZERO, &mut self.rx).ok()??;
        Some((Rx(&self.rx[..len]), Tx(&mut self.tun, &mut self.tx)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.tun, &mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// A socket and what it does.
struct Service {
    handle: SocketHandle,
    port: u16,
    /// Has a client, as far as was seen.
    taken: bool,
}

/// Serves until the process is ended.
pub fn serve(options: &BenchPeer) -> Outcome {
    let setup = Setup {
        kernel: vec![options.peer],
        mtu: options.mtu,
        offload: Offload::Off,
        ..Setup::new([options.addr])
    };
    let tun = Tun::tun(&setup.named("tun0"))?;
    let mtu = options.mtu as usize;
    let mut link = Link { tun, mtu, rx: vec![0; BUFFER], tx: vec![0; BUFFER] };
    let mut iface =
        Interface::new(Config::new(HardwareAddress::Ip), &mut link, smoltcp::time::Instant::now());
    let std::net::IpAddr::V4(address) = options.addr.address else {
        return Err(Failure::input("smoltcp is measured over IPv4: give --addr one of its addresses"));
    };
    let address = IpCidr::new(address.into(), options.addr.prefix);
    iface.update_ip_addrs(|addresses| {
        // There is room for the first one.
        let _ = addresses.push(address);
    });
    let mut sockets = SocketSet::new(Vec::new());
    let wanted = [(DISCARD, 4), (SOURCE, 4), (ECHO, SPARE)];
    let ports = wanted.into_iter().flat_map(|(port, count)| std::iter::repeat_n(port, count));
    let mut services: Vec<Service> = ports.map(|port| listening(&mut sockets, port)).collect();
    let block = vec![0x5a; BULK];
    errln!("serving");
    loop {
        let now = smoltcp::time::Instant::now();
        let mut busy = false;
        for _ in 0..ROUND {
            match iface.poll_ingress_single(now, &mut link, &mut sockets) {
                PollIngressSingleResult::None => break,
                PollIngressSingleResult::PacketProcessed | PollIngressSingleResult::SocketStateChanged => {
                    busy = true
                }
            }
        }
        let mut missing = 0;
        for service in &mut services {
            missing += turn(service, sockets.get_mut(service.handle), &block);
        }
        services.extend((0..missing).map(|_| listening(&mut sockets, ECHO)));
        // A call sends one packet of each socket at most.
        for _ in 0..ROUND {
            if iface.poll_egress(now, &mut link, &mut sockets) == PollResult::None {
                break;
            }
        }
        if !busy {
            let delay = iface.poll_delay(now, &sockets).map(|delay| delay.total_micros());
            wait(&link, delay)?;
        }
    }
}

fn listening(sockets: &mut SocketSet<'static>, port: u16) -> Service {
    let (rx, tx) = match port {
        DISCARD => (BULK, SMALL),
        SOURCE => (SMALL, BULK),
        _ => (SMALL, SMALL),
    };
    let buffer = |size| tcp::SocketBuffer::new(vec![0; size]);
    let mut socket = tcp::Socket::new(buffer(rx), buffer(tx));
    socket.set_congestion_control(tcp::CongestionControl::Cubic);
    socket.set_nagle_enabled(false);
    // It is new and the port is none of zero.
    let _ = socket.listen(port);
    Service { handle: sockets.add(socket), port, taken: false }
}

/// Lets one socket do what it can. How many listeners are missing for it?
fn turn(service: &mut Service, socket: &mut tcp::Socket<'_>, block: &[u8]) -> usize {
    if socket.is_listening() {
        return 0;
    }
    if !socket.is_open() {
        let _ = socket.listen(service.port);
        return 0;
    }
    match service.port {
        DISCARD => while socket.recv(|data| (data.len(), data.len())).is_ok_and(|len| len > 0) {},
        SOURCE => while socket.send_slice(block).is_ok_and(|len| len > 0) {},
        _ => {
            let mut request = [0; 512];
            if socket.can_recv()
                && socket.can_send()
                && let Ok(len) = socket.recv_slice(&mut request)
            {
                let _ = socket.send_slice(&request[..len]);
            }
        }
    }
    if socket.state() == tcp::State::CloseWait && !socket.can_recv() {
        socket.close();
    }
    // One that is used again listens again by itself when it has ended.
    let new = !service.taken && service.port == ECHO;
    service.taken = true;
    usize::from(new)
}

fn wait(link: &Link, micros: Option<u64>) -> Outcome {
    let Some(fd) = link.tun.poll_fd() else { return Ok(()) };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let timeout = micros.map(|micros| Timespec {
        tv_sec: (micros / 1_000_000).cast_signed(),
        tv_nsec: (micros % 1_000_000 * 1000).cast_signed(),
    });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(Failure::run(plain(&errno))),
    }
}
