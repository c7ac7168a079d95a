//! What can be given where an address is wanted; names are looked up by the stack.

use crate::runtime::Stack;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Like [`std::net::ToSocketAddrs`], but names go through the resolver of the stack.
pub trait ToSocketAddrs {
    /// The addresses, best first.
    ///
    /// # Errors
    /// `InvalidInput` for text that is no `host:port`; what the resolver says about a name.
    fn to_socket_addrs(&self, stack: &Stack) -> io::Result<Vec<SocketAddr>>;
}

impl ToSocketAddrs for SocketAddr {
    fn to_socket_addrs(&self, _: &Stack) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![*self])
    }
}

macro_rules! plain {
    ($($type:ty),*) => {
        $(impl ToSocketAddrs for $type {
            fn to_socket_addrs(&self, _: &Stack) -> io::Result<Vec<SocketAddr>> {
                Ok(vec![SocketAddr::from(*self)])
            }
        })*
    };
}

plain!(SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for (&str, u16) {
    fn to_socket_addrs(&self, stack: &Stack) -> io::Result<Vec<SocketAddr>> {
        let addresses = stack.lookup(self.0)?;
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, self.1)).collect())
    }
}

impl ToSocketAddrs for (String, u16) {
    fn to_socket_addrs(&self, stack: &Stack) -> io::Result<Vec<SocketAddr>> {
        (self.0.as_str(), self.1).to_socket_addrs(stack)
    }
}

impl ToSocketAddrs for str {
    fn to_socket_addrs(&self, stack: &Stack) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.parse() {
            return Ok(vec![address]);
        }
        let invalid = |text| io::Error::new(io::ErrorKind::InvalidInput, text);
        let (host, port) = self.rsplit_once(':').ok_or_else(|| invalid("invalid socket address"))?;
        let port: u16 = port.parse().map_err(|_| invalid("invalid port value"))?;
        (host, port).to_socket_addrs(stack)
    }
}

impl ToSocketAddrs for String {
    fn to_socket_addrs(&self, stack: &Stack) -> io::Result<Vec<SocketAddr>> {
        self.as_str().to_socket_addrs(stack)
    }
}

impl ToSocketAddrs for [SocketAddr] {
    fn to_socket_addrs(&self, _: &Stack) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {
    fn to_socket_addrs(&self, _: &Stack) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn to_socket_addrs(&self, stack: &Stack) -> io::Result<Vec<SocketAddr>> {
        (**self).to_socket_addrs(stack)
    }
}

/// Tries `f` with each address until one works; the last error counts.
pub(crate) fn each_addr<T>(
    stack: &Stack,
    addrs: impl ToSocketAddrs,
    mut f: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any addresses");
    for addr in addrs.to_socket_addrs(stack)? {
        match f(addr) {
            Ok(value) => return Ok(value),
            Err(error) => last = error,
        }
    }
    Err(last)
}
