//! rtnetlink by hand (RFC 3549): just enough messages to set up one interface and to watch it.
//!
//! Messages are built and read as octets in host order; everything that is read is bounds-checked.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Octets of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Largest batch of replies that is read at once; the kernel never fills more than 32 KiB.
const BATCH: usize = 32 << 10;

/// One request on its way to the kernel.
pub(super) struct Request(Vec<u8>);

impl Request {
    /// A request of `kind` (`RTM_*`) with `flags` (`NLM_F_*`) and its fixed part.
    pub fn new(kind: u16, flags: i32, fixed: &[u8]) -> Request {
        let mut octets = vec![0; HEADER];
        octets[4..6].copy_from_slice(&kind.to_ne_bytes());
        octets[6..8].copy_from_slice(&((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        octets.extend_from_slice(fixed);
        Request(octets)
    }

    /// Adds an attribute.
    pub fn with(mut self, kind: u16, value: &[u8]) -> Request {
        push_attribute(&mut self.0, kind, value);
        self
    }

    /// The finished message with its sequence number.
    fn finish(mut self, seq: u32) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[0..4].copy_from_slice(&len.to_ne_bytes());
        self.0[8..12].copy_from_slice(&seq.to_ne_bytes());
        self.0
    }
}

/// One attribute as octets, for nesting.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    push_attribute(&mut octets, kind, value);
    octets
}

fn push_attribute(octets: &mut Vec<u8>, kind: u16, value: &[u8]) {
    octets.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
    octets.extend_from_slice(&kind.to_ne_bytes());
    octets.extend_from_slice(value);
    octets.resize(octets.len().next_multiple_of(4), 0);
}

/// A message from the kernel: its kind and what follows the header.
pub(super) struct Reply {
    pub kind: u16,
    pub body: Vec<u8>,
}

impl Reply {
    /// The attribute `kind`, behind a fixed part of `fixed` octets.
    pub fn attribute(&self, fixed: usize, kind: u16) -> Option<&[u8]> {
        attributes(self.body.get(fixed..)?).find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// The attribute `kind` as a number.
    pub fn number(&self, fixed: usize, kind: u16) -> Option<u32> {
        Some(u32::from_ne_bytes(self.attribute(fixed, kind)?.get(..4)?.try_into().ok()?))
    }

    /// The number at `offset` of the body.
    pub fn word(&self, offset: usize) -> u32 {
        word(&self.body, offset)
    }
}

/// The 32-bit number at `offset`; 0 when there is none.
fn word(octets: &[u8], offset: usize) -> u32 {
    octets.get(offset..offset + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let head = octets.get(..4)?;
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        // The two top bits say "nested" and "network order", not which attribute it is.
        let kind = u16::from_ne_bytes([head[2], head[3]]) & 0x3fff;
        let value = octets.get(4..len)?;
        octets = octets.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

fn messages(mut octets: &[u8]) -> impl Iterator<Item = Reply> {
    core::iter::from_fn(move || {
        let len = word(octets.get(..HEADER)?, 0) as usize;
        let kind = u16::from_ne_bytes([octets[4], octets[5]]);
        let body = octets.get(HEADER..len)?.to_vec();
        octets = octets.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Reply { kind, body })
    })
}

/// A netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    seq: u32,
}

impl Netlink {
    /// A socket that hears the multicast `groups` (`RTMGRP_*`); 0 for requests only.
    pub fn open(groups: u32) -> Result<Netlink, Errno> {
        let flags =
            if groups == 0 { SocketFlags::CLOEXEC } else { SocketFlags::CLOEXEC | SocketFlags::NONBLOCK };
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Netlink { socket, seq: 0 })
    }

    /// Sends `request` and returns what the kernel answers, up to its acknowledgment or the end of the dump.
    pub fn ask(&mut self, request: Request) -> Result<Vec<Reply>, Errno> {
        self.send(request)?;
        let mut replies = Vec::new();
        loop {
            for reply in self.receive()? {
                match i32::from(reply.kind) {
                    libc::NLMSG_ERROR => {
                        let code = reply.word(0) as i32;
                        return if code == 0 { Ok(replies) } else { Err(Errno::from_raw_os_error(-code)) };
                    }
                    libc::NLMSG_DONE => return Ok(replies),
                    _ => replies.push(reply),
                }
            }
        }
    }

    /// Sends `request`; the answer is among what is received next.
    pub fn send(&mut self, request: Request) -> Result<(), Errno> {
        self.seq += 1;
        rustix::net::send(&self.socket, &request.finish(self.seq), SendFlags::empty()).map(drop)
    }

    /// The next batch of messages. `EAGAIN` when there is none on a socket that listens, `ENOBUFS` when some were lost.
    pub fn receive(&mut self) -> Result<Vec<Reply>, Errno> {
        let mut buffer = vec![0; BATCH];
        let (len, _) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty())
        })?;
        Ok(messages(&buffer[..len]).collect())
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_padding_and_nesting() {
        let nested = attribute(7, &[1, 2, 3, 4, 5]);
        let request =
            Request::new(16, libc::NLM_F_ACK, &[9; 16]).with(26, &nested).with(4, &1500u32.to_ne_bytes());
        let octets = request.finish(3);
        let reply = messages(&octets).next().expect("one message");
        assert_eq!((reply.kind, reply.word(0)), (16, 0x0909_0909));
        assert_eq!(reply.number(16, 4), Some(1500));
        let inner = reply.attribute(16, 26).expect("nested");
        assert_eq!(attributes(inner).next(), Some((7, &[1u8, 2, 3, 4, 5][..])));
    }

    #[test]
    fn lies_about_lengths_end_the_list() {
        for octets in [&[][..], &[8, 0], &[200, 0, 1, 0, 1, 1, 1, 1], &[2, 0, 1, 0], &[0; 4]] {
            assert_eq!(attributes(octets).count(), 0, "{octets:?}");
        }
        let mut message = Request::new(16, 0, &[]).finish(1);
        message[0] = 200;
        assert_eq!(messages(&message).count(), 0);
        message[0] = 3;
        assert_eq!(messages(&message).count(), 0);
    }
}
