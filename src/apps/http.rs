//! HTTP/1.1 as far as a small server and client need it (RFC 9112): heads, and the three ways to frame a body.
//!
//! Pure functions between octets and values. Left out: trailers, any transfer
//! coding but chunked, continuation lines (they are refused, RFC 9112 §5.2).

use std::fmt;

/// Octets of a head at most.
pub const HEAD_MAX: usize = 32 << 10;
/// Octets of a line that gives the length of a chunk at most.
const CHUNK_LINE_MAX: usize = 256;

/// A message that is no HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpError(&'static str);

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for HttpError {}

impl From<HttpError> for std::io::Error {
    fn from(error: HttpError) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// First line and fields of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The first line, as three words: method, target, version; or version, status, reason.
    pub start: [String; 3],
    /// Names and values in their order.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Reads a head from the begin of `bytes`, with its length; `None` while it is incomplete.
    ///
    /// # Errors
    /// When it is too long or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, HttpError> {
        let Some(end) = bytes.windows(4).take(HEAD_MAX).position(|window| window == b"\r\n\r\n") else {
            return if bytes.len() > HEAD_MAX { Err(HttpError("the head is too long")) } else { Ok(None) };
        };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| HttpError("the head is no text"))?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut words = first.splitn(3, ' ').map(str::to_owned);
        let start = [(); 3].map(|()| words.next().unwrap_or_default());
        if start[0].is_empty() || start[1].is_empty() {
            return Err(HttpError("the first line is malformed"));
        }
        let fields = lines.map(field).collect::<Result<_, _>>()?;
        Ok(Some((Head { start, fields }, end + 4)))
    }

    /// The first value of a field; names are compared without regard to case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Is `token` among the values of a field that is a list?
    fn has_token(&self, name: &str, token: &str) -> bool {
        let values = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.flat_map(|(_, value)| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
    }

    /// May the connection be used again after this message of version `version` (RFC 9112 §9.3)?
    pub fn keeps_alive(&self, version: &str) -> bool {
        match version {
            "HTTP/1.1" => !self.has_token("Connection", "close"),
            _ => self.has_token("Connection", "keep-alive"),
        }
    }

    /// The status of an answer.
    ///
    /// # Errors
    /// When it is no HTTP/1 answer.
    pub fn status(&self) -> Result<u16, HttpError> {
        let ok = self.start[0].starts_with("HTTP/1.") && self.start[1].len() == 3;
        let status = self.start[1].parse().ok().filter(|status| ok && (100..=999).contains(status));
        status.ok_or(HttpError("the answer is no HTTP/1"))
    }

    /// How the body of an answer to a request with `method` is framed (RFC 9112 §6.3).
    ///
    /// # Errors
    /// For lengths that are none or contradict each other, and for transfer codings other than chunked.
    pub fn framing(&self, method: &str) -> Result<Framing, HttpError> {
        let status = self.status()?;
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return Ok(Framing::Length(0));
        }
        if let Some(coding) = self.field("Transfer-Encoding") {
            return match coding.trim() {
                coding if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
                _ => Err(HttpError("the answer has a transfer coding other than chunked")),
            };
        }
        let mut lengths = self.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
        let Some((_, first)) = lengths.next() else { return Ok(Framing::UntilClose) };
        let digits = first.bytes().all(|octet| octet.is_ascii_digit());
        match first.parse() {
            Ok(length) if digits && lengths.all(|(_, other)| other == first) => Ok(Framing::Length(length)),
            _ => Err(HttpError("the answer has an impossible Content-Length")),
        }
    }
}

fn field(line: &str) -> Result<(String, String), HttpError> {
    let (name, value) = line.split_once(':').ok_or(HttpError("a field without a colon"))?;
    let token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(HttpError("a field with an impossible name"));
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many octets.
    Length(u64),
    /// In chunks.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// Takes a body out of its framing, in whatever pieces it comes.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// So many octets are to come, as they are.
    Plain(u64),
    UntilClose,
    /// A chunk of which so many octets are to come.
    Chunk(u64),
    /// The line break after a chunk, or a line with a length.
    ChunkEnd(Vec<u8>),
    ChunkLength(Vec<u8>),
    /// The lines after the last chunk.
    Trailer(Vec<u8>),
    Done,
}

impl Decoder {
    /// For a body framed like this.
    pub fn new(framing: Framing) -> Decoder {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Plain(length),
            Framing::Chunked => State::ChunkLength(Vec::new()),
            Framing::UntilClose => State::UntilClose,
        };
        Decoder { state }
    }

    /// Is the body complete?
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Is it complete now that the connection is closed?
    pub fn is_done_at_close(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// Takes `input`, hands the body in it to `body`, and says how much was taken (less than all only after the end).
    ///
    /// # Errors
    /// For malformed chunks.
    pub fn take<'a>(
        &mut self,
        mut input: &'a [u8],
        mut body: impl FnMut(&'a [u8]),
    ) -> Result<usize, HttpError> {
        let whole = input.len();
        while !input.is_empty() {
            match &mut self.state {
                State::Done => break,
                State::UntilClose => {
                    body(input);
                    input = &[];
                }
                State::Plain(left) | State::Chunk(left) => {
                    let (now, rest) =
                        input.split_at(input.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
                    body(now);
                    input = rest;
                    *left -= now.len() as u64;
                    if *left == 0 {
                        let chunk = matches!(self.state, State::Chunk(_));
                        self.state = if chunk { State::ChunkEnd(Vec::new()) } else { State::Done };
                    }
                }
                State::ChunkEnd(line) | State::ChunkLength(line) | State::Trailer(line) => {
                    let (octet, rest) = (input[0], &input[1..]);
                    input = rest;
                    line.push(octet);
                    if octet == b'\n' {
                        self.end_of_line()?;
                    } else if line.len() > CHUNK_LINE_MAX {
                        return Err(HttpError("a chunk's length line is too long"));
                    }
                }
            }
        }
        Ok(whole - input.len())
    }

    fn end_of_line(&mut self) -> Result<(), HttpError> {
        self.state = match std::mem::replace(&mut self.state, State::Done) {
            State::ChunkEnd(line) if line == b"\r\n" => State::ChunkLength(Vec::new()),
            State::ChunkEnd(_) => return Err(HttpError("a chunk is longer than it says")),
            State::ChunkLength(line) => match chunk_length(&line)? {
                0 => State::Trailer(Vec::new()),
                length => State::Chunk(length),
            },
            State::Trailer(line) if line == b"\r\n" => State::Done,
            State::Trailer(_) => State::Trailer(Vec::new()),
            other @ (State::Plain(_) | State::UntilClose | State::Chunk(_) | State::Done) => other,
        };
        Ok(())
    }
}

fn chunk_length(line: &[u8]) -> Result<u64, HttpError> {
    let wrong = HttpError("a chunk without a length");
    let text = std::str::from_utf8(line).map_err(|_| wrong)?;
    let digits = text.split(';').next().unwrap_or_default().trim();
    if digits.is_empty() || digits.len() > 15 || !digits.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return Err(wrong);
    }
    u64::from_str_radix(digits, 16).map_err(|_| wrong)
}

/// The parts of an `http://` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Name or address, without brackets.
    pub host: String,
    /// Port; 80 when none is given.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub target: String,
}

impl Url {
    /// Reads an address; `http://` may be left out.
    ///
    /// # Errors
    /// A sentence with the mend.
    pub fn parse(text: &str) -> Result<Url, String> {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) => {
                return Err(format!("'{scheme}' is not spoken here: only http:// addresses can be fetched"));
            }
            None => text,
        };
        let wrong =
            || format!("'{text}' is no address of a page: write it like http://10.9.0.1:8000/index.html");
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = split_port(authority).ok_or_else(wrong)?;
        if host.is_empty() || host.contains(|c: char| c == '@' || c.is_whitespace() || c.is_control()) {
            return Err(wrong());
        }
        let target = target.split('#').next().unwrap_or_default();
        if target.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("'{text}' has a blank in it: write %20 instead"));
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Url { host: host.to_owned(), port: port.unwrap_or(80), target })
    }

    /// The address that a redirection to `location` means (RFC 3986 §5, the usual forms).
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn join(&self, location: &str) -> Result<Url, String> {
        if location.contains("://") {
            return Url::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Url::parse(rest);
        }
        let target = if location.starts_with('/') {
            location.to_owned()
        } else {
            let path = self.target.split('?').next().unwrap_or_default();
            let folder = &path[..=path.rfind('/').unwrap_or(0)];
            format!("{folder}{location}")
        };
        Url::parse(&format!("http://{}{target}", self.authority()))
    }

    /// Host and port as they stand in an address and in the Host field.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 80 { host } else { format!("{host}:{}", self.port) }
    }
}

/// Host and port of `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT` or a bare IPv6 address.
pub fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(text) => Some((host, Some(port(text)?))),
            None if rest.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match text.rsplit_once(':') {
        Some((host, _)) if host.contains(':') => Some((text, None)),
        Some((host, text)) => Some((host, Some(port(text)?))),
        None => Some((text, None)),
    }
}

#[cfg(test)]
#[path = "http/tests.rs"]
mod tests;
