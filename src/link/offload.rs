//! A TUN with offload headers (`IFF_VNET_HDR`): checksums are left to whoever needs them, and TCP and UDP cross in
//! super-segments of up to 64 KiB. `tun-tap` cannot ask for this, so the interface is opened here.
//!
//! What the kernel may hand us (`TUNSETOFFLOAD`) belongs to the interface and survives whoever set it, so it is always
//! set: the most that the kernel accepts, or nothing.

use libc::{c_int, c_uint};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::ioctl::{Getter, IntegerSetter, Opcode, Setter, Updater, ioctl};
use std::io;

/// What may be asked for, best first.
const MASKS: [c_uint; 4] = {
    use libc::{TUN_F_CSUM, TUN_F_TSO_ECN, TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, TUN_F_USO6};
    const TSO: c_uint = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    [TSO | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6, TSO | TUN_F_TSO_ECN, TSO, TUN_F_CSUM]
};

/// Why there is no device with offload headers.
#[derive(Debug)]
pub(super) enum Refusal {
    /// This kernel does not have them.
    Unable(&'static str),
    /// There is no device at all: the answer to opening the node or to `TUNSETIFF`.
    Failed(io::Error),
}

/// Opens the interface of this name (`tun%d`: the first free one) with offload headers; with several queues, one of them.
pub(super) fn open(name: &str, several: bool) -> Result<OwnedFd, Refusal> {
    let fd = node().map_err(Refusal::Failed)?;
    // Unknown flags of TUNSETIFF are ignored: its success says nothing.
    match features(&fd) {
        Ok(known) if known & libc::IFF_VNET_HDR != 0 => {}
        Ok(_) | Err(_) => return Err(Refusal::Unable("this kernel has no IFF_VNET_HDR")),
    }
    attach(&fd, name, libc::IFF_VNET_HDR, several).map_err(|errno| Refusal::Failed(errno.into()))?;
    switch_on(&fd).map_err(|_| Refusal::Unable("the kernel refuses TUNSETOFFLOAD"))?;
    Ok(fd)
}

/// Opens a queue of the interface of this name without offload headers, which `tun-tap` cannot do either.
pub(super) fn open_plain_queue(name: &str) -> io::Result<OwnedFd> {
    let fd = node()?;
    attach(&fd, name, 0, true)?;
    Ok(fd)
}

/// Is this a TUN that was made for several queues, or for one?
pub(super) fn is_tun(name: &str, several: bool) -> bool {
    node().is_ok_and(|fd| attach(&fd, name, 0, several) != Err(Errno::INVAL))
}

fn node() -> io::Result<OwnedFd> {
    std::fs::File::options().read(true).write(true).open(super::tun::NODE).map(OwnedFd::from)
}

/// Asks for all that the kernel accepts, behind headers of the length that we use. Does it know trains of datagrams?
pub(super) fn switch_on(fd: impl AsFd) -> Result<bool, Errno> {
    // SAFETY: both read one `int`, which is what the setter provides.
    unsafe {
        const LENGTH: Opcode = libc::TUNSETVNETHDRSZ as Opcode;
        ioctl(&fd, Setter::<LENGTH, c_int>::new(crate::wire::vnet::LEN as c_int))?;
        const LITTLE: Opcode = libc::TUNSETVNETLE as Opcode;
        ioctl(&fd, Setter::<LITTLE, c_int>::new(1))?;
    }
    let accepted = MASKS.iter().find(|mask| set_mask(&fd, **mask).is_ok()).ok_or(Errno::INVAL)?;
    Ok(accepted & libc::TUN_F_USO4 != 0)
}

/// The kernel is to hand us whole packets of wire size only.
pub(super) fn switch_off(fd: impl AsFd) -> Result<(), Errno> {
    set_mask(fd, 0)
}

fn set_mask(fd: impl AsFd, mask: c_uint) -> Result<(), Errno> {
    const OPERATION: Opcode = libc::TUNSETOFFLOAD as Opcode;
    // SAFETY: TUNSETOFFLOAD takes its argument by value and touches none of our memory.
    unsafe { ioctl(fd, IntegerSetter::<OPERATION>::new_usize(mask as usize)) }
}

fn features(fd: impl AsFd) -> Result<c_int, Errno> {
    const OPERATION: Opcode = libc::TUNGETFEATURES as Opcode;
    // SAFETY: TUNGETFEATURES writes one `unsigned int`, which is what the getter provides.
    unsafe { ioctl(fd, Getter::<OPERATION, c_int>::new()) }
}

fn attach(fd: impl AsFd, name: &str, flags: c_int, several: bool) -> Result<(), Errno> {
    const OPERATION: Opcode = libc::TUNSETIFF as Opcode;
    // SAFETY: all zeroes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    // One octet is left for the final zero.
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let several = if several { libc::IFF_MULTI_QUEUE } else { 0 };
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | several | flags) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, which is what the updater provides.
    unsafe { ioctl(fd, Updater::<OPERATION, libc::ifreq>::new(&mut request)) }
}
