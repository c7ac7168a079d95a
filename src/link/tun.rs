//! The TUN device. Plain, with complete checksums and packets of wire size, or behind
//! [offload](super::offload) headers, where a packet may be a super-segment of 64 KiB.

use super::interface::{Info, Kernel, LinkEvent, Monitor, Route};
use super::offload::{self, Refusal};
use super::outbox::Outbox;
use super::plan::{Offload, Plan, Setup, Step, check_name};
use super::{DeviceError, LinkError};
use crate::base::Cidr;
use crate::wire::packet::{Link, RxMeta, TxPacket};
use crate::wire::vnet;
use core::net::IpAddr;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use std::io::{self, IoSliceMut};

pub(super) const NODE: &str = "/dev/net/tun";

/// Largest packet that crosses at once with offload: the length field of IPv4 has 16 bits.
const MOST: u32 = 65_535;

/// A TUN interface with our end of it.
#[derive(Debug)]
pub struct Tun {
    end: End,
    name: String,
    made: bool,
    /// What we set up and the kernel may take away; nothing on an interface of somebody else's.
    ours: Vec<Step>,
    link: Link,
    /// Does an offload header stand before each packet?
    framed: bool,
    /// Why there is no offload although it was wished for.
    refused: Option<&'static str>,
    up: bool,
    monitor: Option<Monitor>,
    outbox: Outbox,
}

/// Our end of the interface.
#[derive(Debug)]
enum End {
    /// Opened plain.
    Plain(tun_tap::Iface),
    /// Opened with offload headers, or handed in.
    Fd(OwnedFd),
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            // SAFETY: the descriptor belongs to `iface`, which lives as long as the borrow of `self`.
            End::Plain(iface) => unsafe { BorrowedFd::borrow_raw(iface.as_raw_fd()) },
            End::Fd(fd) => fd.as_fd(),
        }
    }
}

impl Tun {
    /// Opens the interface that `setup` asks for, in the network namespace of the calling thread.
    ///
    /// Where no interface of that name exists it is made, set up, and removed by the kernel when this value is dropped
    /// or the process ends. Where a TUN of that name exists (`ip tuntap add`), it is attached to and nothing is
    /// configured or undone; it must be up and have a route to the stack's addresses.
    ///
    /// # Errors
    /// [`LinkError`] names what is in the way and how to mend it.
    pub fn open(setup: &Setup) -> Result<Tun, LinkError> {
        setup.check()?;
        let mut kernel = Kernel::open().map_err(LinkError::system("opening a netlink socket"))?;
        refuse_clashes(&mut kernel, setup)?;
        check_node()?;
        let wish = setup.name.as_deref().unwrap_or("tun%d");
        // Of several queues one more can always be had, also of an interface that another program made and uses.
        let was_there = setup.several_queues
            && kernel.by_name(wish).map_err(LinkError::system("looking for the interface"))?.is_some();
        let (end, refused) = open_end(wish, setup, &mut kernel)?;
        let (name, flags) =
            identity_of(&end).map_err(LinkError::system("asking the device for its flags"))?;
        // An interface that we made just now is not persistent; one that waited for us is.
        let made = flags & libc::IFF_PERSIST == 0;
        if made && was_there {
            return Err(LinkError::Busy { name });
        }
        let mut ours = Vec::new();
        if made {
            let plan = Plan { name: name.clone(), ..setup.plan() };
            carry_out(&plan, &mut kernel)?;
            await_addresses(&setup.kernel, &mut kernel)?;
            ours = plan.steps;
        }
        let tun = Tun { refused, ours, ..Tun::new(end, name, made)? };
        tun.refuse_unusable(&mut kernel, setup)?;
        Ok(tun)
    }

    /// Opens `count` queues of one interface. The kernel keeps the packets of one flow on one queue.
    ///
    /// # Errors
    /// As [`Tun::open`].
    pub fn open_queues(setup: &Setup, count: usize) -> Result<Vec<Tun>, LinkError> {
        let setup = Setup { several_queues: count > 1, ..setup.clone() };
        let mut queues = vec![Tun::open(&setup)?];
        let (name, framed) = (queues[0].name.clone(), queues[0].framed);
        while queues.len() < count {
            let end = open_queue(&name, framed)
                .map_err(|source| LinkError::System { what: "opening one more queue", source })?;
            queues.push(Tun::new(End::Fd(end), name.clone(), false)?);
        }
        Ok(queues)
    }

    /// Takes an already open TUN descriptor, attached to its interface with `IFF_TUN | IFF_NO_PI`; with `IFF_VNET_HDR`
    /// besides, there is offload. Nothing is configured or undone. `mtu` is needed only where the interface is in another network namespace, where neither
    /// its MTU nor its changes can be seen.
    ///
    /// # Errors
    /// [`LinkError::BadFd`] when it is something else, [`LinkError::Missing`] when the MTU is needed.
    pub fn from_fd(fd: OwnedFd, mtu: Option<u32>) -> Result<Tun, LinkError> {
        let end = End::Fd(fd);
        let (name, flags) =
            identity_of(&end).map_err(|_| LinkError::BadFd { why: "not attached to an interface" })?;
        // IFF_NO_PI cannot be checked: in this answer its bit is always set and means "no filter" (IFF_NOFILTER).
        match mtu {
            _ if flags & libc::IFF_TUN == 0 => Err(LinkError::BadFd { why: "it is a TAP" }),
            None if !is_here(&end) => Err(LinkError::Missing { name }),
            None => Tun::new(end, name, false),
            Some(mtu) => {
                let framing = prepare(&end, false)?;
                let link = link(mtu, framing);
                Ok(Tun {
                    end,
                    name,
                    made: false,
                    ours: Vec::new(),
                    link,
                    framed: framing.is_some(),
                    refused: None,
                    up: true,
                    monitor: None,
                    outbox: Outbox::default(),
                })
            }
        }
    }

    fn new(end: End, name: String, made: bool) -> Result<Tun, LinkError> {
        let framing = prepare(&end, made)?;
        let system = LinkError::system("watching the interface");
        let info = Kernel::open().and_then(|mut kernel| kernel.by_name(&name)).map_err(&system)?;
        let Some(Info { index, .. }) = info else {
            return Err(LinkError::Missing { name });
        };
        let Some(monitor) = Monitor::open(index).map_err(&system)? else {
            return Err(LinkError::Missing { name });
        };
        let Info { mtu, up, .. } = monitor.info();
        let link = link(mtu, framing);
        let ours = Vec::new();
        let framed = framing.is_some();
        let (monitor, outbox) = (Some(monitor), Outbox::default());
        Ok(Tun { end, name, made, ours, link, framed, refused: None, up, monitor, outbox })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Did we make the interface, or was it there?
    pub fn was_made(&self) -> bool {
        self.made
    }

    /// Is the interface up, as far as was heard?
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Why there is no offload although it was wished for; `None` when there is, or when it was not.
    pub fn offload_refused(&self) -> Option<&'static str> {
        self.refused
    }

    /// From now on packets of wire size with complete checksums come and go. What waits in the kernel already may
    /// still be other.
    pub(super) fn switch_offload_off(&mut self) {
        if self.framed {
            let done = offload::switch_off(&self.end);
            debug_assert!(done.is_ok(), "TUNSETOFFLOAD: {done:?}");
            self.link = Link::plain(self.link.mtu);
        }
    }

    pub(super) fn link(&self) -> Link {
        self.link
    }

    pub(super) fn recv(&mut self, buffer: &mut [u8]) -> Result<Option<(usize, RxMeta)>, DeviceError> {
        let mut header = [0; vnet::LEN];
        let before = if self.framed { &mut header[..] } else { &mut [] };
        let len = match self.read(before, buffer) {
            Ok(len) => len,
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(DeviceError::from_tun(errno)),
        };
        if !self.framed {
            return Ok(Some((len, RxMeta::default())));
        }
        match vnet::receive(&header, &mut buffer[..len]) {
            Ok(meta) => Ok(Some((len, meta))),
            Err(_) => Err(DeviceError::Refused(io::ErrorKind::InvalidData.into())),
        }
    }

    /// Reads a packet, and what stands before it into `header`. Octets of the packet.
    fn read(&mut self, header: &mut [u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        let len = rustix::io::retry_on_intr(|| match header.is_empty() {
            true => rustix::io::read(&self.end, &mut *buffer),
            false => rustix::io::readv(&self.end, &mut [IoSliceMut::new(header), IoSliceMut::new(buffer)]),
        });
        len.map(|len| len.saturating_sub(header.len()))
    }

    /// Takes a packet, which leaves with the next flush at the latest.
    pub(super) fn push(&mut self, packet: &TxPacket<'_>) -> Result<(), DeviceError> {
        match self.framed {
            true => self.outbox.push(&self.end, &vnet::emit(packet), packet),
            false => self.outbox.push(&self.end, &[], packet),
        }
    }

    /// Sends what was taken.
    pub(super) fn flush(&mut self) -> Result<(), DeviceError> {
        self.outbox.flush(&self.end)
    }

    pub(super) fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.monitor.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn poll_link_event(&mut self) -> Option<LinkEvent> {
        let event = self.monitor.as_mut()?.poll()?;
        match event {
            LinkEvent::Up => self.up = true,
            LinkEvent::Down => self.up = false,
            LinkEvent::MtuChanged(mtu) => {
                let offload = self.link.checksum_offload.then_some(self.link.datagram_trains);
                self.link = link(mtu, offload);
            }
            // Moved to another namespace it looks deleted from here; our end still works then.
            LinkEvent::Deleted if identity_of(&self.end).is_ok() => {
                self.monitor = None;
                return None;
            }
            LinkEvent::Deleted => {}
        }
        if self.up
            && matches!(event, LinkEvent::Up | LinkEvent::MtuChanged(_))
            && let Some(monitor) = &mut self.monitor
        {
            monitor.restore(&self.ours);
        }
        Some(event)
    }

    /// What somebody else's settings can spoil: the interface is up, and packets for the stack come here.
    fn refuse_unusable(&self, kernel: &mut Kernel, setup: &Setup) -> Result<(), LinkError> {
        if !self.up {
            return Err(LinkError::Down { name: self.name.clone() });
        }
        let ours = self.monitor.as_ref().map(|monitor| monitor.info().index);
        for address in setup.stack.iter().map(|cidr| cidr.address) {
            let instead = match route(kernel, address)? {
                Route::Through(index) if Some(index) == ours => continue,
                Route::Through(index) => kernel.name_of(index),
                Route::Local | Route::None => None,
            };
            if let (true, Some(interface)) = (self.made, &instead) {
                return Err(LinkError::NetworkTaken { address, interface: interface.clone() });
            }
            return Err(LinkError::NoRoute { address, name: self.name.clone(), instead });
        }
        Ok(())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

/// Is there an interface called `name` in this namespace?
///
/// # Errors
/// [`LinkError::BadName`], or the system's answer.
pub fn exists(name: &str) -> Result<bool, LinkError> {
    check_name(name)?;
    let found = Kernel::open().and_then(|mut kernel| kernel.by_name(name));
    Ok(found.map_err(LinkError::system("looking for the interface"))?.is_some())
}

/// Are the addresses of `setup` possible in this namespace? This asks without making anything.
///
/// # Errors
/// As [`Setup::check`], or [`LinkError::AddressClash`] when the kernel owns an address of the stack's.
pub fn check_addresses(setup: &Setup) -> Result<(), LinkError> {
    setup.check()?;
    let mut kernel = Kernel::open().map_err(LinkError::system("opening a netlink socket"))?;
    refuse_clashes(&mut kernel, setup)
}

/// Has this process the right to make interfaces (CAP_NET_ADMIN)? This asks without making anything.
///
/// # Errors
/// [`LinkError::NoRight`].
pub fn check_right() -> Result<(), LinkError> {
    const NET_ADMIN: u32 = 12;
    let status = std::fs::read_to_string("/proc/self/status");
    let effective = status.ok().and_then(|status| {
        let word = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(word.trim(), 16).ok()
    });
    match effective {
        Some(set) if set >> NET_ADMIN & 1 == 1 => Ok(()),
        _ => Err(LinkError::NoRight),
    }
}

/// Refuses addresses that the kernel keeps for itself: packets for them would never come out of the interface.
fn refuse_clashes(kernel: &mut Kernel, setup: &Setup) -> Result<(), LinkError> {
    for address in setup.stack.iter().map(|cidr| cidr.address) {
        if route(kernel, address)? == Route::Local {
            return Err(LinkError::AddressClash { address, interface: kernel.holder_of(address) });
        }
    }
    Ok(())
}

fn route(kernel: &mut Kernel, address: IpAddr) -> Result<Route, LinkError> {
    kernel.route_to(address).map_err(LinkError::system("looking up a route"))
}

/// Can the device node be opened? This asks without making anything.
///
/// # Errors
/// [`LinkError::NoNode`] or [`LinkError::NodeDenied`].
pub fn check_node() -> Result<(), LinkError> {
    match std::fs::OpenOptions::new().read(true).write(true).open(NODE) {
        Ok(_) => Ok(()),
        Err(source) => match source.raw_os_error() {
            // The node may be there without the driver behind it.
            Some(libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ENXIO) => Err(LinkError::NoNode),
            _ => Err(LinkError::NodeDenied { source }),
        },
    }
}

/// What the refusal of `TUNSETIFF` means.
fn open_error(source: io::Error, name: &str, several: bool, kernel: &mut Kernel) -> LinkError {
    let name = name.to_owned();
    match source.raw_os_error() {
        // A persistent interface with an owner refuses others the same way; they lack the right too.
        Some(libc::EPERM) => LinkError::NoRight,
        Some(libc::EBUSY) => LinkError::Busy { name },
        Some(libc::EINVAL) if matches!(kernel.by_name(&name), Ok(Some(_))) => {
            match offload::is_tun(&name, !several) {
                true => LinkError::Queues { name, several: !several },
                false => LinkError::NotTun { name },
            }
        }
        _ => LinkError::System { what: "attaching to the interface", source },
    }
}

/// Carries out every step but the first, which opening the device has done.
fn carry_out(plan: &Plan, kernel: &mut Kernel) -> Result<(), LinkError> {
    let info = kernel.by_name(&plan.name).map_err(LinkError::system("looking for the interface"))?;
    let Some(Info { index, .. }) = info else {
        return Err(LinkError::Missing { name: plan.name.clone() });
    };
    for step in &plan.steps {
        let done = match *step {
            Step::Create | Step::CreateQueues => Ok(()),
            Step::Mtu(mtu) => kernel.set_mtu(index, mtu),
            Step::Queue(packets) => kernel.set_queue(index, packets),
            // Without IPv6 in the kernel there is nothing to keep quiet.
            Step::NoLinkLocal => kernel.set_no_link_local(index).or(Ok(())),
            Step::Address(cidr) => kernel.add_address(index, cidr),
            Step::Up => kernel.set_up(index, true),
            Step::Route(cidr) => kernel.add_route(index, cidr),
        };
        done.map_err(|errno| step_error(plan, step, errno))?;
    }
    Ok(())
}

/// Waits until the kernel takes packets for its own addresses: IPv6 ones come into force some milliseconds after they
/// were added, and a SYN-ACK that came before would be answered a second later.
fn await_addresses(addresses: &[Cidr], kernel: &mut Kernel) -> Result<(), LinkError> {
    const PATIENCE: u32 = 1000;
    for address in addresses.iter().map(|cidr| cidr.address) {
        for _ in 0..PATIENCE {
            if route(kernel, address)? == Route::Local {
                break;
            }
            std::thread::sleep(core::time::Duration::from_millis(1));
        }
    }
    Ok(())
}

fn step_error(plan: &Plan, step: &Step, errno: Errno) -> LinkError {
    match (step, errno) {
        (_, Errno::PERM) => LinkError::NoRight,
        (Step::Address(cidr), Errno::ACCESS | Errno::OPNOTSUPP | Errno::AFNOSUPPORT)
            if cidr.address.is_ipv6() =>
        {
            LinkError::Ipv6Off
        }
        _ => LinkError::Step { command: step.command(&plan.name), source: errno.into() },
    }
}

/// Makes our end non-blocking and sets what the kernel may hand us. With offload headers: does the kernel know trains of datagrams?
fn prepare(end: &End, made: bool) -> Result<Option<bool>, LinkError> {
    rustix::io::ioctl_fionbio(end, true).map_err(LinkError::system("making the device non-blocking"))?;
    let (_, flags) = identity_of(end).map_err(LinkError::system("asking the device for its flags"))?;
    if flags & libc::IFF_VNET_HDR != 0 {
        return offload::switch_on(end).map(Some).map_err(LinkError::system("switching offload on"));
    }
    // Also for a plain end: the mask would survive from whoever had the interface before. A sandbox may refuse what a new one need not
    // be told.
    match offload::switch_off(end) {
        Err(_) if made => Ok(None),
        done => done.map(|()| None).map_err(LinkError::system("switching offload off")),
    }
}

/// Opens our end as `setup` says. Gives the reason when it is to be without although it was wished for.
fn open_end(
    name: &str,
    setup: &Setup,
    kernel: &mut Kernel,
) -> Result<(End, Option<&'static str>), LinkError> {
    let (offload, several) = (setup.offload, setup.several_queues);
    let why = match offload {
        Offload::Off => None,
        Offload::Auto | Offload::On => match offload::open(name, several) {
            Ok(fd) => return Ok((End::Fd(fd), None)),
            Err(Refusal::Failed(error)) => return Err(open_error(error, name, several, kernel)),
            Err(Refusal::Unable(why)) if offload == Offload::On => return Err(LinkError::NoOffload { why }),
            Err(Refusal::Unable(why)) => Some(why),
        },
    };
    if several {
        let fd = offload::open_plain_queue(name).map_err(|error| open_error(error, name, several, kernel))?;
        return Ok((End::Fd(fd), why));
    }
    let iface = tun_tap::Iface::without_packet_info(name, tun_tap::Mode::Tun)
        .map_err(|error| open_error(error, name, several, kernel))?;
    Ok((End::Plain(iface), why))
}

/// One more queue of an interface, like those that it has.
fn open_queue(name: &str, framed: bool) -> io::Result<OwnedFd> {
    match framed {
        false => offload::open_plain_queue(name),
        true => offload::open(name, true).map_err(|refusal| match refusal {
            Refusal::Failed(error) => error,
            Refusal::Unable(why) => io::Error::other(why),
        }),
    }
}

/// What the interface can do; with offload, also with trains of datagrams or not.
fn link(mtu: u32, offload: Option<bool>) -> Link {
    match offload {
        Some(datagram_trains) => Link { mtu, max_packet: MOST, checksum_offload: true, datagram_trains },
        None => Link::plain(mtu),
    }
}

/// Is the interface in the network namespace of this thread? Thought so where that must not be asked (`EPERM`).
fn is_here(end: &End) -> bool {
    // SAFETY: TUNGETDEVNETNS takes no argument and returns a new descriptor or -1.
    let theirs = unsafe { libc::ioctl(end.as_fd().as_raw_fd(), libc::TUNGETDEVNETNS) };
    if theirs < 0 {
        return true;
    }
    // SAFETY: the descriptor was just made for us and nobody else knows it.
    let theirs = unsafe { OwnedFd::from_raw_fd(theirs) };
    match (rustix::fs::fstat(&theirs), rustix::fs::stat("/proc/thread-self/ns/net")) {
        (Ok(theirs), Ok(ours)) => (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino),
        _ => true,
    }
}

/// Name and flags of the interface that the descriptor is attached to. `EBADFD` when it is gone.
fn identity_of(end: &End) -> Result<(String, i32), Errno> {
    // SAFETY: TUNGETIFF writes one `struct ifreq`, which is what the getter provides.
    let request = unsafe {
        const OPERATION: rustix::ioctl::Opcode = libc::TUNGETIFF as rustix::ioctl::Opcode;
        rustix::ioctl::ioctl(end, rustix::ioctl::Getter::<OPERATION, libc::ifreq>::new())
    }?;
    let name: Vec<u8> = request.ifr_name.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    // SAFETY: TUNGETIFF fills the `flags` member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok((String::from_utf8_lossy(&name).into_owned(), i32::from(flags) & 0xffff))
}
