//! One connection of a service: what it does when its socket is ready.

use super::page::{self, Body};
use super::{BLOCK, Service};
use crate::apps::chat::Lines;
use crate::apps::http::Head;
use crate::apps::service::{CHARGEN_BLOCK, CHARGEN_PERIOD, daytime};
use crate::host::Readiness;
use crate::socket::TcpStream;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::time::SystemTime;

/// Blocks moved in one turn, so that one busy connection leaves room for others.
const BLOCKS_PER_TURN: usize = 8;
/// Octets of a member's lines that are taken at once: far fewer than may wait for it, for even short lines come back longer.
const CHAT_BLOCK: usize = 4096;
/// Octets that wait for a member of the chat who does not read.
const UNREAD_MAX: usize = 64 << 10;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The connection goes on.
    Goes,
    /// It is to be closed.
    Over,
}

/// A connection with its service. An idle one holds no buffer.
pub struct Connection {
    pub stream: TcpStream,
    pub service: Service,
    /// What the poller was told last.
    pub watched: Readiness,
    /// What is still to be sent, if anything.
    pending: Option<Box<Pending>>,
    talk: Talk,
    /// This end says nothing more once all is sent.
    finishing: bool,
    /// Our FIN is out; the peer's is waited for, so that nothing it sends makes us reset what it has not read yet.
    pub finished: bool,
}

/// Octets to be sent.
#[derive(Default)]
struct Pending {
    octets: Vec<u8>,
    /// How many of them are sent.
    sent: usize,
}

/// What a service remembers of a connection.
enum Talk {
    Echo,
    Discard,
    Daytime,
    /// Place in the pattern.
    Chargen(usize),
    Http(Box<Http>),
    Chat(Box<Lines>),
}

#[derive(Default)]
struct Http {
    /// The request as far as it came.
    request: Vec<u8>,
    /// Another request may be complete in `request` (RFC 9112 §9.3.2: answered in order).
    ready: bool,
    /// What is left of the body after `pending`.
    rest: Option<Rest>,
}

enum Rest {
    File(File, u64),
    Zeros(u64),
}

impl Connection {
    pub fn begin(stream: TcpStream, service: Service) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        let talk = match service {
            Service::Echo => Talk::Echo,
            Service::Discard => Talk::Discard,
            Service::Daytime => Talk::Daytime,
            Service::Chargen => Talk::Chargen(0),
            Service::Http => Talk::Http(Box::default()),
            Service::Chat => Talk::Chat(Box::default()),
        };
        let mut connection = Connection {
            stream,
            service,
            watched: Readiness::empty(),
            pending: None,
            talk,
            finishing: false,
            finished: false,
        };
        if service == Service::Daytime {
            connection.queue(daytime(SystemTime::now()).as_bytes());
            connection.finishing = true;
        }
        Ok(connection)
    }

    /// What the socket must be ready for before the next turn.
    pub fn interest(&self) -> Readiness {
        let both = Readiness::READABLE | Readiness::WRITABLE;
        match &self.talk {
            Talk::Chargen(_) => both,
            // No more requests, and no more to echo or to say to the room, until this much is sent.
            Talk::Echo | Talk::Http(_) | Talk::Chat(_) if self.has_output() => Readiness::WRITABLE,
            // What comes is read all the same: the peer's end must show.
            Talk::Discard | Talk::Daytime if self.has_output() => both,
            Talk::Echo | Talk::Http(_) | Talk::Discard | Talk::Chat(_) | Talk::Daytime => Readiness::READABLE,
        }
    }

    fn has_output(&self) -> bool {
        self.pending.is_some() || self.has_rest() || self.has_request() || (self.finishing && !self.finished)
    }

    fn queue(&mut self, octets: &[u8]) {
        self.pending.get_or_insert_default().octets.extend_from_slice(octets);
    }

    fn has_rest(&self) -> bool {
        matches!(&self.talk, Talk::Http(http) if http.rest.is_some())
    }

    fn has_request(&self) -> bool {
        matches!(&self.talk, Talk::Http(http) if http.ready)
    }

    /// Does what can be done now. Complete lines of the chat go to `line`.
    pub fn turn(
        &mut self,
        pattern: &Bytes,
        scratch: &mut [u8],
        root: Option<&Path>,
        line: &mut dyn FnMut(&str),
    ) -> Turn {
        match self.try_turn(pattern, scratch, root, line) {
            Ok(turn) => turn,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Turn::Goes,
            // Whatever it is, this connection is dead.
            Err(_) => Turn::Over,
        }
    }

    fn try_turn(
        &mut self,
        pattern: &Bytes,
        scratch: &mut [u8],
        root: Option<&Path>,
        line: &mut dyn FnMut(&str),
    ) -> io::Result<Turn> {
        for _ in 0..BLOCKS_PER_TURN {
            match self.service {
                Service::Chargen => match self.chargen(pattern, scratch)? {
                    true => return Ok(Turn::Over),
                    false => continue,
                },
                Service::Echo | Service::Http | Service::Chat => self.flush()?,
                // These read on although the peer does not.
                Service::Discard | Service::Daytime => would_block_is_fine(self.flush())?,
            }
            if self.has_rest() {
                self.fill_http(scratch)?;
                continue;
            }
            if self.has_request() {
                self.answer(root)?;
                continue;
            }
            let chats = self.service == Service::Chat;
            let most = if chats { CHAT_BLOCK } else { scratch.len() };
            let n = self.stream.read(&mut scratch[..most])?;
            if n == 0 {
                // Closing sends what is still queued, and our FIN after it.
                return Ok(Turn::Over);
            }
            if !self.finished {
                self.on_data(&scratch[..n], root, line)?;
            }
            // What a member says comes back to itself, after this turn.
            if chats || n < scratch.len() && !self.has_output() {
                break;
            }
        }
        Ok(Turn::Goes)
    }

    fn on_data(&mut self, data: &[u8], root: Option<&Path>, line: &mut dyn FnMut(&str)) -> io::Result<()> {
        match &mut self.talk {
            Talk::Echo => {
                let sent = match self.stream.write(data) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                    result => result?,
                };
                if sent < data.len() {
                    self.queue(&data[sent..]);
                }
            }
            Talk::Discard | Talk::Daytime | Talk::Chargen(_) => {}
            Talk::Chat(lines) => lines.take(data, line),
            Talk::Http(http) => {
                http.request.extend_from_slice(data);
                self.answer(root)?;
            }
        }
        Ok(())
    }

    /// Sends what is pending; `WouldBlock` when not all of it could be.
    fn flush(&mut self) -> io::Result<()> {
        if let Some(pending) = &mut self.pending {
            while pending.sent < pending.octets.len() {
                pending.sent += self.stream.write(&pending.octets[pending.sent..])?;
            }
        }
        // An idle connection keeps no memory.
        self.pending = None;
        if self.finishing && !self.finished && !self.has_rest() {
            self.stream.shutdown(Shutdown::Write)?;
            self.finished = true;
        }
        Ok(())
    }

    /// Whatever came in is thrown away (RFC 864), and a block of characters goes out. Is it over?
    fn chargen(&mut self, pattern: &Bytes, scratch: &mut [u8]) -> io::Result<bool> {
        match self.stream.read(scratch) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if let Talk::Chargen(place) = &mut self.talk {
            let sent = self.stream.send_owned(&mut pattern.slice(*place..*place + CHARGEN_BLOCK))?;
            *place = (*place + sent) % CHARGEN_PERIOD;
        }
        Ok(false)
    }

    /// Answers a request once it is complete.
    fn answer(&mut self, root: Option<&Path>) -> io::Result<()> {
        let Talk::Http(http) = &mut self.talk else { return Ok(()) };
        let page = match Head::parse(&http.request) {
            Ok(None) => {
                http.ready = false;
                return Ok(());
            }
            Ok(Some((head, length))) => {
                http.request.drain(..length);
                if http.request.is_empty() {
                    http.request = Vec::new();
                }
                page::answer(&head, root)
            }
            Err(error) => page::refuse(&error.to_string()),
        };
        self.finishing = !page.keep_alive;
        http.ready = page.keep_alive && !http.request.is_empty();
        let mut octets = page.head;
        http.rest = match page.body {
            Body::Text(text) => {
                octets.extend_from_slice(&text);
                None
            }
            Body::File(file, length) => Some(Rest::File(file, length)),
            Body::Zeros(length) => Some(Rest::Zeros(length)),
        };
        self.queue(&octets);
        would_block_is_fine(self.flush())
    }

    /// The next block of a long body.
    fn fill_http(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        let Talk::Http(http) = &mut self.talk else { return Ok(()) };
        let block = scratch.len().min(BLOCK);
        let (left, n) = match &mut http.rest {
            Some(Rest::File(file, left)) => {
                let want = block.min(usize::try_from(*left).unwrap_or(block));
                let n = file.read(&mut scratch[..want])?;
                if n == 0 {
                    // The file became shorter: the length that was promised cannot be kept.
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                *left -= n as u64;
                (*left, n)
            }
            Some(Rest::Zeros(left)) => {
                let n = block.min(usize::try_from(*left).unwrap_or(block));
                scratch[..n].fill(b'0');
                *left -= n as u64;
                (*left, n)
            }
            None => return Ok(()),
        };
        if left == 0 {
            http.rest = None;
        }
        self.queue(&scratch[..n]);
        Ok(())
    }

    /// Queues a line for a member of the chat.
    pub fn say(&mut self, line: &str) -> Turn {
        let unread = self.pending.as_ref().map_or(0, |pending| pending.octets.len() - pending.sent);
        if unread + line.len() > UNREAD_MAX {
            return Turn::Over;
        }
        self.queue(line.as_bytes());
        self.queue(b"\n");
        match would_block_is_fine(self.flush()) {
            Ok(()) => Turn::Goes,
            Err(_) => Turn::Over,
        }
    }
}

fn would_block_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        result => result,
    }
}
