//! TCP Fast Open (RFC 7413): text on the SYN, for peers that have shown before that they get what is sent to their address.
//!
//! `client` remembers cookies per server and decides what a SYN may carry; `server` makes and checks them. `opening` is the server's
//! connection until its SYN is acknowledged: it already receives and sends. As on Linux a cookie is 8 octets, a keyed hash of both
//! addresses. Left out: the option of the experiment that came before (kind 254), and text on a SYN-ACK (it follows at once, in
//! a segment of its own).

pub(super) mod client;
pub(super) mod opening;
pub(super) mod server;

use super::pack::pack_names;

/// Bits of `tcp_fastopen`, as Linux has them.
pub mod bits {
    /// Clients send text on the SYN.
    pub const CLIENT: u32 = 0x1;
    /// Listeners that ask for it take it.
    pub const SERVER: u32 = 0x2;
    /// Clients send it without having a cookie.
    pub const CLIENT_NO_COOKIE: u32 = 0x4;
    /// Listeners take it without a cookie.
    pub const SERVER_NO_COOKIE: u32 = 0x200;
    /// Every listener takes it, with as many pending as its backlog.
    pub const SERVER_ALL: u32 = 0x400;
}

/// What Fast Open has still to do with a connection.
#[derive(Debug)]
pub(super) enum FastOpenState {
    /// We are the server, and our SYN is not acknowledged yet.
    Opening(opening::Opening),
    /// We are the client, and this was learned of the server; for the table to keep.
    Learned(client::Lesson),
}

/// What went before, for `TCP_INFO`: Linux's numbers of why a client's attempt failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ClientFail {
    /// It did not, or was none.
    #[default]
    No = 0,
    /// There was no cookie.
    NoCookie = 1,
    /// The server took the SYN, not its text.
    NotAcked = 2,
    /// The SYN had to be sent again.
    SynLost = 3,
}

pack_names!(ClientFail { No, NoCookie, NotAcked, SynLost });
