//! The kernel's side of an interface: what it is set to, setting it, and hearing when that changes.

use super::netlink::{Netlink, Reply, Request, attribute};
use super::plan::Step;
use crate::base::Cidr;
use core::net::IpAddr;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// Octets of `struct ifinfomsg`, `ifaddrmsg` and `rtmsg`.
const LINK_MESSAGE: usize = 16;
const ADDRESS_MESSAGE: usize = 8;
const ROUTE_MESSAGE: usize = 12;
/// `IFLA_INET6_ADDR_GEN_MODE` and its value "none" (linux/if_link.h).
const ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_NONE: u8 = 1;
/// The other end of a pair (linux/veth.h).
const VETH_INFO_PEER: u16 = 1;
/// Nested attribute flag (linux/netlink.h).
const NESTED: u16 = 0x8000;

/// An interface at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info {
    pub index: u32,
    pub up: bool,
    pub mtu: u32,
}

impl Info {
    fn read(reply: &Reply) -> Option<Info> {
        let mtu = reply.number(LINK_MESSAGE, libc::IFLA_MTU)?;
        Some(Info { index: reply.word(4), up: reply.word(8) & libc::IFF_UP as u32 != 0, mtu })
    }
}

/// Where the kernel sends packets for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Nowhere.
    None,
    /// To itself; the interface it names is where the address stands, if that can be told.
    Local,
    /// Out of the interface with this index.
    Through(u32),
}

/// Requests about interfaces in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Kernel(Netlink);

impl Kernel {
    pub fn open() -> Result<Kernel, Errno> {
        Netlink::open(0).map(Kernel)
    }

    /// The interface called `name`; `None` when there is none.
    pub fn by_name(&mut self, name: &str) -> Result<Option<Info>, Errno> {
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        self.find(
            Request::new(libc::RTM_GETLINK, libc::NLM_F_ACK, &link_message(0, 0, 0))
                .with(libc::IFLA_IFNAME, &text),
        )
    }

    /// The interface with this index; `None` when there is none.
    pub fn by_index(&mut self, index: u32) -> Result<Option<Info>, Errno> {
        self.find(Request::new(libc::RTM_GETLINK, libc::NLM_F_ACK, &link_message(index, 0, 0)))
    }

    fn find(&mut self, request: Request) -> Result<Option<Info>, Errno> {
        match self.0.ask(request) {
            Ok(replies) => Ok(replies.iter().find_map(Info::read)),
            Err(Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The name of the interface with this index.
    pub fn name_of(&mut self, index: u32) -> Option<String> {
        let request = Request::new(libc::RTM_GETLINK, libc::NLM_F_ACK, &link_message(index, 0, 0));
        let replies = self.0.ask(request).ok()?;
        let name = replies.first()?.attribute(LINK_MESSAGE, libc::IFLA_IFNAME)?;
        Some(String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned())
    }

    /// Brings the interface up or down.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<(), Errno> {
        let flag = libc::IFF_UP as u32;
        let message = link_message(index, if up { flag } else { 0 }, flag);
        self.command(Request::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &message))
    }

    pub fn set_mtu(&mut self, index: u32, mtu: u32) -> Result<(), Errno> {
        self.command(set(index, libc::IFLA_MTU, &mtu.to_ne_bytes()))
    }

    /// Sets how many packets wait for us in the kernel (`txqueuelen`).
    pub fn set_queue(&mut self, index: u32, packets: u32) -> Result<(), Errno> {
        self.command(set(index, libc::IFLA_TXQLEN, &packets.to_ne_bytes()))
    }

    /// Makes a pair of virtual Ethernet interfaces of one name: one here, the other in the namespace `there`.
    pub fn add_veth(&mut self, name: &str, mtu: u32, there: BorrowedFd<'_>) -> Result<(), Errno> {
        let text = [name.as_bytes(), &[0]].concat();
        let both =
            [attribute(libc::IFLA_IFNAME, &text), attribute(libc::IFLA_MTU, &mtu.to_ne_bytes())].concat();
        let there = attribute(libc::IFLA_NET_NS_FD, &there.as_raw_fd().to_ne_bytes());
        let peer = attribute(VETH_INFO_PEER, &[&link_message(0, 0, 0)[..], &both, &there].concat());
        let info =
            [attribute(libc::IFLA_INFO_KIND, b"veth"), attribute(libc::IFLA_INFO_DATA | NESTED, &peer)];
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        self.command(
            Request::new(libc::RTM_NEWLINK, flags, &link_message(0, 0, 0))
                .with(libc::IFLA_IFNAME, &text)
                .with(libc::IFLA_MTU, &mtu.to_ne_bytes())
                .with(libc::IFLA_LINKINFO | NESTED, &info.concat()),
        )
    }

    /// Keeps the kernel from giving the interface a link-local address and soliciting routers on it.
    pub fn set_no_link_local(&mut self, index: u32) -> Result<(), Errno> {
        self.command(no_link_local(index))
    }

    /// Gives the kernel's side an address, usable at once (no duplicate address detection: nobody else is there).
    pub fn add_address(&mut self, index: u32, cidr: Cidr) -> Result<(), Errno> {
        self.command(new_address(index, cidr))
    }

    /// Adds a route to `destination` out of the interface.
    pub fn add_route(&mut self, index: u32, destination: Cidr) -> Result<(), Errno> {
        self.command(new_route(index, destination))
    }

    /// Where packets for `address` go.
    pub fn route_to(&mut self, address: IpAddr) -> Result<Route, Errno> {
        let (family, octets) = family_and_octets(address);
        let mut message = [0; ROUTE_MESSAGE];
        message[..2].copy_from_slice(&[family, (octets.len() * 8) as u8]);
        let request =
            Request::new(libc::RTM_GETROUTE, libc::NLM_F_ACK, &message).with(libc::RTA_DST, &octets);
        let replies = match self.0.ask(request) {
            Ok(replies) => replies,
            Err(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ACCESS | Errno::INVAL) => {
                return Ok(Route::None);
            }
            Err(errno) => return Err(errno),
        };
        let Some(reply) = replies.iter().find(|reply| reply.kind == libc::RTM_NEWROUTE) else {
            return Ok(Route::None);
        };
        if reply.body.get(7) == Some(&libc::RTN_LOCAL) {
            return Ok(Route::Local);
        }
        Ok(reply.number(ROUTE_MESSAGE, libc::RTA_OIF).map_or(Route::None, Route::Through))
    }

    /// The interface that `address` stands on, if it is one of the kernel's own.
    pub fn holder_of(&mut self, address: IpAddr) -> Option<String> {
        let (family, octets) = family_and_octets(address);
        let mut message = [0; ADDRESS_MESSAGE];
        message[0] = family;
        let replies = self.0.ask(Request::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &message)).ok()?;
        let index = replies.iter().find_map(|reply| {
            let here = |kind| reply.attribute(ADDRESS_MESSAGE, kind) == Some(&octets[..]);
            // IPv4 on a point-to-point link puts its own address in IFA_LOCAL, the peer's in IFA_ADDRESS.
            let local = reply.attribute(ADDRESS_MESSAGE, libc::IFA_LOCAL).is_some();
            here(if local { libc::IFA_LOCAL } else { libc::IFA_ADDRESS }).then(|| reply.word(4))
        })?;
        self.name_of(index)
    }

    fn command(&mut self, request: Request) -> Result<(), Errno> {
        self.0.ask(request).map(drop)
    }
}

fn set(index: u32, kind: u16, value: &[u8]) -> Request {
    Request::new(libc::RTM_NEWLINK, libc::NLM_F_ACK, &link_message(index, 0, 0)).with(kind, value)
}

fn no_link_local(index: u32) -> Request {
    let mode = attribute(ADDR_GEN_MODE, &[ADDR_GEN_NONE]);
    let inet6 = attribute(libc::AF_INET6 as u16 | NESTED, &mode);
    set(index, libc::IFLA_AF_SPEC | NESTED, &inet6)
}

fn new_address(index: u32, cidr: Cidr) -> Request {
    let (family, octets) = family_and_octets(cidr.address);
    let mut message = [0; ADDRESS_MESSAGE];
    message[..3].copy_from_slice(&[family, cidr.prefix, libc::IFA_F_NODAD as u8]);
    message[4..].copy_from_slice(&index.to_ne_bytes());
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let request = Request::new(libc::RTM_NEWADDR, flags, &message)
        .with(libc::IFA_LOCAL, &octets)
        .with(libc::IFA_ADDRESS, &octets);
    match cidr.broadcast() {
        Some(broadcast) => request.with(libc::IFA_BROADCAST, &broadcast.octets()),
        None => request,
    }
}

fn new_route(index: u32, destination: Cidr) -> Request {
    let (family, octets) = family_and_octets(destination.network());
    let mut message = [0; ROUTE_MESSAGE];
    message[..2].copy_from_slice(&[family, destination.prefix]);
    let scope = if family == libc::AF_INET as u8 { libc::RT_SCOPE_LINK } else { libc::RT_SCOPE_UNIVERSE };
    message[4..8].copy_from_slice(&[libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, scope, libc::RTN_UNICAST]);
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    Request::new(libc::RTM_NEWROUTE, flags, &message)
        .with(libc::RTA_DST, &octets)
        .with(libc::RTA_OIF, &index.to_ne_bytes())
}

fn link_message(index: u32, flags: u32, change: u32) -> [u8; LINK_MESSAGE] {
    let mut message = [0; LINK_MESSAGE];
    message[4..8].copy_from_slice(&index.to_ne_bytes());
    message[8..12].copy_from_slice(&flags.to_ne_bytes());
    message[12..16].copy_from_slice(&change.to_ne_bytes());
    message
}

fn family_and_octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(v4) => (libc::AF_INET as u8, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6 as u8, v6.octets().to_vec()),
    }
}

/// Something that happened to the interface below a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// It came up.
    Up,
    /// It went down: packets are lost until it comes up again.
    Down,
    /// It has a new MTU, in octets.
    MtuChanged(u32),
    /// It is gone for good.
    Deleted,
}

/// Hears what happens to one interface.
#[derive(Debug)]
pub(super) struct Monitor {
    netlink: Netlink,
    last: Info,
    pending: Vec<LinkEvent>,
    /// Were messages lost?
    missed: bool,
}

impl Monitor {
    /// Watches the interface that now looks like `last`; whatever changes afterwards is told.
    pub fn open(index: u32) -> Result<Option<Monitor>, Errno> {
        // Listen first, then look: nothing between the two is missed.
        let netlink = Netlink::open(libc::RTMGRP_LINK as u32)?;
        let Some(last) = Kernel::open()?.by_index(index)? else {
            return Ok(None);
        };
        Ok(Some(Monitor { netlink, last, pending: Vec::new(), missed: false }))
    }

    /// What the interface was when it was last heard of.
    pub fn info(&self) -> Info {
        self.last
    }

    /// The next event, oldest first.
    pub fn poll(&mut self) -> Option<LinkEvent> {
        while self.pending.is_empty() {
            match self.netlink.receive() {
                Ok(replies) => replies.iter().for_each(|reply| self.note(reply)),
                Err(Errno::NOBUFS) => self.missed = true,
                // RFC 3549 §2.3.2.3: messages were lost, so ask for the state instead; but only now that the others are
                // read, or there is no room for the answer either.
                Err(Errno::AGAIN) if self.missed => self.look_again(),
                Err(_) => return None,
            }
        }
        Some(self.pending.remove(0))
    }

    fn note(&mut self, reply: &Reply) {
        // The answer to `look_again`, when the interface is gone.
        let error = i32::from(reply.kind) == libc::NLMSG_ERROR && reply.word(0) as i32 == -libc::ENODEV;
        if error {
            self.pending.push(LinkEvent::Deleted);
        }
        if error || reply.word(4) != self.last.index {
            return;
        }
        match reply.kind {
            libc::RTM_NEWLINK => {
                if let Some(info) = Info::read(reply) {
                    self.changed(info);
                }
            }
            libc::RTM_DELLINK => self.pending.push(LinkEvent::Deleted),
            _ => {}
        }
    }

    /// Gives the interface again what the kernel takes away when it goes down, or when its MTU is too small for IPv6: what
    /// is still there is left as it is. On the socket that listens, which is in the interface's namespace.
    pub fn restore(&mut self, steps: &[Step]) {
        let index = self.last.index;
        for step in steps {
            let request = match *step {
                Step::NoLinkLocal => no_link_local(index),
                Step::Address(cidr) => new_address(index, cidr),
                Step::Route(cidr) => new_route(index, cidr),
                Step::Create | Step::CreateQueues | Step::Mtu(_) | Step::Queue(_) | Step::Up => continue,
            };
            // What cannot be had is as it was before: packets of that family do not come.
            let _ = self.netlink.send(request);
        }
    }

    /// Asks for the state of the interface, on the socket that listens: it stays in the interface's namespace.
    fn look_again(&mut self) {
        self.missed = false;
        let message = link_message(self.last.index, 0, 0);
        // Should even this fail, the next change tells all the same.
        let _ = self.netlink.send(Request::new(libc::RTM_GETLINK, 0, &message));
    }

    fn changed(&mut self, info: Info) {
        if info.mtu != self.last.mtu {
            self.pending.push(LinkEvent::MtuChanged(info.mtu));
        }
        if info.up != self.last.up {
            self.pending.push(if info.up { LinkEvent::Up } else { LinkEvent::Down });
        }
        self.last = info;
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}
