//! DNS messages (RFC 1035 §4): one question out, and what an answer to it means.
//!
//! The format is `simple-dns`'s work; what may be believed is decided here. No EDNS: answers over UDP have at most 512
//! octets and longer ones come over TCP.

use core::net::IpAddr;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Label, Name, Packet, PacketFlag, Question as DnsQuestion, ResourceRecord, TYPE};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// The name of an address.
    Ptr,
}

impl Kind {
    fn dns_type(self) -> TYPE {
        match self {
            Kind::A => TYPE::A,
            Kind::Aaaa => TYPE::AAAA,
            Kind::Ptr => TYPE::PTR,
        }
    }
}

/// One question as it goes over the wire.
#[derive(Clone, Debug)]
pub(super) struct Query {
    kind: Kind,
    /// The whole message.
    pub message: Vec<u8>,
}

/// What a server said about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Records of the kind asked for.
    Found(Records),
    /// The name exists, but has no such record (RFC 2308 §2.2).
    NoData,
    /// NXDOMAIN.
    NoSuchName,
    /// The server cannot or will not answer: another one may.
    ServerFailure,
    /// The server does not understand the question.
    FormatError,
    /// The answer did not fit: ask again over TCP (RFC 1123 §6.1.3.2).
    Truncated,
}

/// The useful part of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The canonical name: the end of the chain of aliases.
    pub name: String,
    /// The names on the way there, the one asked for first.
    pub aliases: Vec<String>,
    /// Addresses found.
    pub addresses: Vec<IpAddr>,
    /// Names found for an address.
    pub names: Vec<String>,
}

/// A chain of CNAMEs that is longer leads nowhere.
const MAX_ALIASES: usize = 16;
/// More addresses or names than this are not taken from one answer.
pub(super) const MAX_RESULTS: usize = 64;
/// More answer records than this are not read.
const MAX_RECORDS: u16 = 512;
const HEADER_LEN: usize = 12;

impl Query {
    /// The query with this id; `None` when `name` cannot be asked for (RFC 1035 §2.3.4: empty or overlong labels).
    pub fn new(id: u16, name: &str, kind: Kind) -> Option<Query> {
        let labels: Vec<Label<'_>> = match name {
            "" => return None,
            _ => name.split('.').map(|label| Label::new_unchecked(label.as_bytes())).collect(),
        };
        let lengths_ok = labels.iter().all(|label| (1..=63).contains(&label.len()));
        if !lengths_ok || name.len() > 253 {
            return None;
        }
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let qname = Name::new_with_labels(&labels);
        packet.questions.push(DnsQuestion::new(qname, kind.dns_type().into(), CLASS::IN.into(), false));
        Some(Query { kind, message: packet.build_bytes_vec().ok()? })
    }

    /// Gives the query another id.
    pub fn set_id(&mut self, id: u16) {
        self.message[..2].copy_from_slice(&id.to_be_bytes());
    }

    /// What `reply` means; `None` when it is no answer to this question and must be ignored (RFC 5452 §9.1: id,
    /// question and direction have to fit; the caller has checked addresses and ports).
    pub fn read(&self, reply: &[u8]) -> Option<Answer> {
        let question = self.message.get(HEADER_LEN..)?;
        let asked = reply.get(HEADER_LEN..HEADER_LEN + question.len())?;
        let (id, flags, questions) = (reply.get(..2)?, reply.get(2..4)?, reply.get(4..6)?);
        // QR set and opcode QUERY. Letters may come back in the other case, lengths and types are no letters.
        let is_reply = flags[0] & 0xf8 == 0x80;
        let fits = id == &self.message[..2] && questions == [0, 1] && asked.eq_ignore_ascii_case(question);
        if !is_reply || !fits {
            return None;
        }
        let truncated = flags[0] & 0x02 != 0;
        Some(match flags[1] & 0x0f {
            0 | 3 if truncated => Answer::Truncated,
            0 => self.records(reply),
            1 => Answer::FormatError,
            3 => Answer::NoSuchName,
            _ => Answer::ServerFailure,
        })
    }

    /// The records of a positive answer. One that cannot be read is a failure of the server.
    fn records(&self, reply: &[u8]) -> Answer {
        let count = u16::from_be_bytes([reply[6], reply[7]]);
        // Eleven octets are the shortest record: a count beyond that is a lie, and the parser would reserve room for it.
        if count > MAX_RECORDS || usize::from(count) * 11 > reply.len() {
            return Answer::ServerFailure;
        }
        // Authority and additional sections say nothing that a stub resolver may use: they are not even parsed.
        let mut answers_only = reply.to_vec();
        answers_only[8..HEADER_LEN].fill(0);
        let Ok(packet) = Packet::parse(&answers_only) else { return Answer::ServerFailure };
        let Some(question) = packet.questions.first() else { return Answer::ServerFailure };
        match follow(&question.qname, &packet.answers) {
            Some((owner, aliases)) => self.collect(owner, aliases, &packet.answers),
            None => Answer::ServerFailure,
        }
    }

    /// The records of the kind asked for that belong to `owner`.
    fn collect(&self, owner: &Name<'_>, aliases: Vec<&Name<'_>>, answers: &[ResourceRecord<'_>]) -> Answer {
        let mut records = Records {
            name: lossy(owner),
            aliases: aliases.iter().filter_map(|alias| host_name(alias)).collect(),
            ..Records::default()
        };
        for record in answers.iter().filter(|record| record.class == CLASS::IN && record.name == *owner) {
            match (&record.rdata, self.kind) {
                (RData::A(a), Kind::A) => records.add_address(IpAddr::V4(a.address.into())),
                (RData::AAAA(aaaa), Kind::Aaaa) => records.add_address(IpAddr::V6(aaaa.address.into())),
                (RData::PTR(ptr), Kind::Ptr) => records.add_name(host_name(&ptr.0)),
                _ => {}
            }
        }
        let is_empty = records.addresses.is_empty() && records.names.is_empty();
        // A host name with other characters than a host name may have could break what prints or parses it.
        match (is_empty, self.kind, host_name(owner)) {
            (true, ..) => Answer::NoData,
            (false, Kind::A | Kind::Aaaa, None) => Answer::ServerFailure,
            (false, ..) => Answer::Found(records),
        }
    }
}

impl Records {
    fn add_address(&mut self, address: IpAddr) {
        if self.addresses.len() < MAX_RESULTS && !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    fn add_name(&mut self, name: Option<String>) {
        if let Some(name) = name
            && self.names.len() < MAX_RESULTS
            && !self.names.contains(&name)
        {
            self.names.push(name);
        }
    }

    /// Adds what the other question about the same name found.
    pub(super) fn merge(&mut self, other: Records) {
        if self.name.is_empty() {
            self.name = other.name;
            self.aliases = other.aliases;
        }
        other.addresses.into_iter().for_each(|address| self.add_address(address));
        other.names.into_iter().for_each(|name| self.add_name(Some(name)));
    }
}

/// The end of the chain of aliases from `name`, and the names on the way; `None` when it is too long or a loop.
/// Records off the chain are never looked at, so an answer cannot slip in addresses of other names.
fn follow<'a, 'b>(
    name: &'a Name<'b>,
    answers: &'a [ResourceRecord<'b>],
) -> Option<(&'a Name<'b>, Vec<&'a Name<'b>>)> {
    let (mut owner, mut aliases) = (name, Vec::new());
    while let Some(target) = answers.iter().find_map(|record| match &record.rdata {
        RData::CNAME(target) if record.class == CLASS::IN && record.name == *owner => Some(&target.0),
        _ => None,
    }) {
        if aliases.len() == MAX_ALIASES {
            return None;
        }
        aliases.push(owner);
        owner = target;
    }
    Some((owner, aliases))
}

/// The text of a name that a host may have: letters, digits, hyphens (RFC 1123 §2.1) and the underscores of practice.
fn host_name(name: &Name<'_>) -> Option<String> {
    let fits = |label: &Label<'_>| {
        let bytes: &[u8] = label.as_ref();
        !bytes.starts_with(b"-") && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let is_host = !name.get_labels().is_empty() && name.iter().all(fits);
    is_host.then(|| lossy(name))
}

fn lossy(name: &Name<'_>) -> String {
    name.as_bytes().map(String::from_utf8_lossy).collect::<Vec<_>>().join(".")
}

/// The name under which the DNS keeps the name of an address (RFC 1035 §3.5, RFC 3596 §2.5).
pub(super) fn reverse_name(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests;
