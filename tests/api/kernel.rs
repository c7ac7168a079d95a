//! Sockets of the kernel, with the calls of `tunstack::socket::Socket`.

use libc::{c_int, c_void, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};
use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

pub struct KernelSocket(OwnedFd);

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Room for both families, as the kernel wants it.
union Address {
    any: sockaddr,
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

fn encode(addr: SocketAddr) -> (Address, socklen_t) {
    match addr {
        SocketAddr::V4(v4) => {
            let sin = sockaddr_in {
                sin_family: libc::AF_INET as _,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            (Address { v4: sin }, size_of::<sockaddr_in>() as _)
        }
        SocketAddr::V6(v6) => {
            let sin6 = sockaddr_in6 {
                sin6_family: libc::AF_INET6 as _,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            (Address { v6: sin6 }, size_of::<sockaddr_in6>() as _)
        }
    }
}

fn empty() -> (Address, socklen_t) {
    // SAFETY: all zeros is a valid address of either family.
    (unsafe { std::mem::zeroed() }, size_of::<sockaddr_in6>() as _)
}

fn decode(address: &Address, len: socklen_t) -> Option<SocketAddr> {
    if len == 0 {
        return None;
    }
    // SAFETY: every variant begins with the family, which says which one it is.
    unsafe {
        match c_int::from(address.any.sa_family) {
            libc::AF_INET => {
                let ip = Ipv4Addr::from(address.v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(address.v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(address.v6.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(ip, u16::from_be(address.v6.sin6_port), 0, 0).into())
            }
            _ => None,
        }
    }
}

/// Gives this thread, and those it starts, a network with nothing but loopback: no other socket takes the ports it looks
/// for. Needs root; without it the thread stays where it is.
pub fn enter_own_network() -> io::Result<()> {
    // SAFETY: a call without pointers.
    match check(unsafe { libc::unshare(libc::CLONE_NEWNET) }) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        done => done?,
    };
    let socket = KernelSocket::new(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    // SAFETY: all zeros is a valid request; the call reads its name and its flags.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as _, b'o' as _]);
        request.ifr_ifru.ifru_flags = libc::IFF_UP as _;
        check(libc::ioctl(socket.0.as_raw_fd(), libc::SIOCSIFFLAGS, &request))?;
    }
    Ok(())
}

// SAFETY, for all calls below: pointers and lengths are those of live buffers, the descriptor is ours.
impl KernelSocket {
    pub fn new(family: i32, kind: i32, protocol: i32) -> io::Result<KernelSocket> {
        let fd = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })?;
        Ok(KernelSocket(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn fd(&self) -> c_int {
        self.0.as_raw_fd()
    }

    pub fn dup(&self) -> KernelSocket {
        KernelSocket(self.0.try_clone().expect("dup"))
    }

    pub fn bind(&self, local: SocketAddr) -> io::Result<()> {
        let (address, len) = encode(local);
        check(unsafe { libc::bind(self.fd(), &raw const address.any, len) }).map(drop)
    }

    pub fn listen(&self, backlog: i32) -> io::Result<()> {
        check(unsafe { libc::listen(self.fd(), backlog) }).map(drop)
    }

    pub fn accept(&self) -> io::Result<(KernelSocket, SocketAddr)> {
        let (mut address, mut len) = empty();
        let fd = unsafe { libc::accept4(self.fd(), &raw mut address.any, &mut len, libc::SOCK_CLOEXEC) };
        let fd = check(fd)?;
        let peer = decode(&address, len).expect("a connection has a peer");
        Ok((KernelSocket(unsafe { OwnedFd::from_raw_fd(fd) }), peer))
    }

    pub fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        let (address, len) = encode(remote);
        check(unsafe { libc::connect(self.fd(), &raw const address.any, len) }).map(drop)
    }

    pub fn disconnect(&self) -> io::Result<()> {
        let (address, _) = empty();
        check(unsafe { libc::connect(self.fd(), &raw const address.any, size_of::<sockaddr>() as _) })
            .map(drop)
    }

    pub fn send(&self, data: &[u8], flags: i32) -> io::Result<usize> {
        let flags = flags | libc::MSG_NOSIGNAL;
        count(unsafe { libc::send(self.fd(), data.as_ptr().cast(), data.len(), flags) })
    }

    pub fn sendto(&self, data: &[u8], flags: i32, to: SocketAddr) -> io::Result<usize> {
        let (address, len) = encode(to);
        let flags = flags | libc::MSG_NOSIGNAL;
        count(unsafe {
            libc::sendto(self.fd(), data.as_ptr().cast(), data.len(), flags, &raw const address.any, len)
        })
    }

    pub fn recv(&self, buf: &mut [u8], flags: i32) -> io::Result<usize> {
        count(unsafe { libc::recv(self.fd(), buf.as_mut_ptr().cast(), buf.len(), flags) })
    }

    pub fn recvfrom(&self, buf: &mut [u8], flags: i32) -> io::Result<(usize, Option<SocketAddr>)> {
        let (mut address, mut len) = empty();
        let n = count(unsafe {
            let at = buf.as_mut_ptr().cast();
            libc::recvfrom(self.fd(), at, buf.len(), flags, &raw mut address.any, &mut len)
        })?;
        Ok((n, decode(&address, len)))
    }

    /// `recvmsg(2)` into two pieces: octets received and the message's flags.
    pub fn recvmsg(&self, parts: [&mut [u8]; 2], flags: i32) -> io::Result<(usize, i32)> {
        let mut iov =
            parts.map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() });
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = iov.as_mut_ptr();
        message.msg_iovlen = iov.len() as _;
        let n = count(unsafe { libc::recvmsg(self.fd(), &mut message, flags) })?;
        Ok((n, message.msg_flags & !libc::MSG_CMSG_CLOEXEC))
    }

    pub fn sendmsg(&self, parts: [&[u8]; 2], flags: i32) -> io::Result<usize> {
        let mut iov =
            parts.map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() });
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = iov.as_mut_ptr();
        message.msg_iovlen = iov.len() as _;
        count(unsafe { libc::sendmsg(self.fd(), &message, flags | libc::MSG_NOSIGNAL) })
    }

    pub fn shutdown(&self, how: i32) -> io::Result<()> {
        check(unsafe { libc::shutdown(self.fd(), how) }).map(drop)
    }

    pub fn getsockname(&self) -> io::Result<SocketAddr> {
        let (mut address, mut len) = empty();
        check(unsafe { libc::getsockname(self.fd(), &raw mut address.any, &mut len) })?;
        Ok(decode(&address, len).expect("a socket has a name"))
    }

    pub fn getpeername(&self) -> io::Result<SocketAddr> {
        let (mut address, mut len) = empty();
        check(unsafe { libc::getpeername(self.fd(), &raw mut address.any, &mut len) })?;
        Ok(decode(&address, len).expect("a peer has a name"))
    }

    pub fn setsockopt(&self, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
        let (at, len) = (value.as_ptr().cast::<c_void>(), value.len() as socklen_t);
        check(unsafe { libc::setsockopt(self.fd(), level, name, at, len) }).map(drop)
    }

    pub fn getsockopt(&self, level: i32, name: i32) -> io::Result<Vec<u8>> {
        let mut value = vec![0u8; 512];
        let mut len = value.len() as socklen_t;
        check(unsafe { libc::getsockopt(self.fd(), level, name, value.as_mut_ptr().cast(), &mut len) })?;
        value.truncate(len as usize);
        Ok(value)
    }

    pub fn setblocking(&self, blocking: bool) {
        let mut on = c_int::from(!blocking);
        check(unsafe { libc::ioctl(self.fd(), libc::FIONBIO, &mut on) }).expect("FIONBIO");
    }

    pub fn bytes_readable(&self) -> io::Result<usize> {
        let mut n: c_int = 0;
        check(unsafe { libc::ioctl(self.fd(), libc::FIONREAD, &mut n) })?;
        Ok(usize::try_from(n).expect("not negative"))
    }

    pub fn at_mark(&self) -> io::Result<bool> {
        const SIOCATMARK: libc::c_ulong = 0x8905;
        let mut n: c_int = 0;
        check(unsafe { libc::ioctl(self.fd(), SIOCATMARK, &mut n) })?;
        Ok(n != 0)
    }

    pub fn poll(&self, events: i16, timeout: Duration) -> i16 {
        let mut fd = libc::pollfd { fd: self.fd(), events, revents: 0 };
        check(unsafe { libc::poll(&mut fd, 1, timeout.as_millis() as c_int) }).expect("poll");
        fd.revents
    }
}
