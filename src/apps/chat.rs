//! Chat: rooms on a server over TCP, and a group without a server by UDP broadcast.
//!
//! The protocol is lines of UTF-8 text, so `nc` is a client too. A line that begins with `/` is a command; every other
//! line goes to all in the room. What the server says itself begins with `* `. In a group each datagram is one line.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// Port of the server.
pub const SERVER_PORT: u16 = 5222;
/// Port of a group.
pub const GROUP_PORT: u16 = 5223;
/// Octets of a line at most.
pub const LINE_MAX: usize = 1000;
/// Characters of a name at most.
const NAME_MAX: usize = 24;

const HELP: &str = "* /name NAME, /join ROOM, /who, /rooms, /quit";

/// The rooms of a server and who is in them. Members are known by a number.
#[derive(Debug, Default)]
pub struct Rooms {
    members: HashMap<u64, Member>,
    rooms: HashMap<String, BTreeSet<u64>>,
    names: HashMap<String, u64>,
    guests: u64,
}

#[derive(Debug)]
struct Member {
    name: String,
    room: String,
}

/// What the server is to do after a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// Lines for members, without their line ends.
    pub say: Vec<(u64, String)>,
    /// The member wants to go.
    pub quit: bool,
}

impl Rooms {
    /// Somebody came.
    pub fn enter(&mut self, id: u64) -> Reaction {
        let name = loop {
            self.guests += 1;
            let name = format!("guest{}", self.guests);
            if !self.names.contains_key(&name) {
                break name;
            }
        };
        self.names.insert(name.clone(), id);
        let welcome = format!("* welcome, {name}; {}", &HELP[2..]);
        self.members.insert(id, Member { name, room: String::new() });
        let mut reaction = Reaction::default();
        reaction.say.push((id, welcome));
        self.join(id, "lobby", &mut reaction);
        reaction
    }

    /// Somebody is gone.
    pub fn leave(&mut self, id: u64) -> Reaction {
        let mut reaction = Reaction::default();
        if let Some(member) = self.members.remove(&id) {
            self.names.remove(&member.name);
            self.out_of_room(id, &member.room);
            self.tell_room(&member.room, &format!("* {} left", member.name), &mut reaction);
        }
        reaction
    }

    /// Somebody said a line.
    pub fn line(&mut self, id: u64, line: &str) -> Reaction {
        let mut reaction = Reaction::default();
        let line = clean(line);
        let line = line.trim();
        let Some(member) = self.members.get(&id) else { return reaction };
        let (room, name) = (member.room.clone(), member.name.clone());
        let (command, argument) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "" => {}
            "/quit" => reaction.quit = true,
            "/name" => self.rename(id, argument.trim(), &mut reaction),
            "/join" => match word(argument) {
                Some(room) => self.join(id, room, &mut reaction),
                None => reaction.say.push((id, "* a room is one word: /join ROOM".to_owned())),
            },
            "/who" => {
                let ids = self.rooms.get(&room).into_iter().flatten();
                let mut names: Vec<&str> =
                    ids.filter_map(|id| self.members.get(id)).map(|member| member.name.as_str()).collect();
                names.sort_unstable();
                reaction.say.push((id, cut(format!("* in {room}: {}", names.join(", ")))));
            }
            "/rooms" => {
                let mut rooms: Vec<String> =
                    self.rooms.iter().map(|(room, ids)| format!("{room} ({})", ids.len())).collect();
                rooms.sort_unstable();
                reaction.say.push((id, cut(format!("* rooms: {}", rooms.join(", ")))));
            }
            _ if command.starts_with('/') => reaction.say.push((id, HELP.to_owned())),
            _ => self.tell_room(&room, &format!("<{name}> {line}"), &mut reaction),
        }
        reaction
    }

    fn rename(&mut self, id: u64, wish: &str, reaction: &mut Reaction) {
        let Some(wish) = word(wish) else {
            return reaction.say.push((id, "* a name is one word: /name NAME".to_owned()));
        };
        match self.names.get(wish) {
            Some(owner) if *owner == id => return,
            Some(_) => return reaction.say.push((id, format!("* somebody is called {wish} already"))),
            None => {}
        }
        let Some(member) = self.members.get_mut(&id) else { return };
        let old = std::mem::replace(&mut member.name, wish.to_owned());
        let room = member.room.clone();
        self.names.remove(&old);
        self.names.insert(wish.to_owned(), id);
        self.tell_room(&room, &format!("* {old} is now called {wish}"), reaction);
    }

    fn join(&mut self, id: u64, room: &str, reaction: &mut Reaction) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.room == room {
            return;
        }
        let (name, old) = (member.name.clone(), std::mem::replace(&mut member.room, room.to_owned()));
        self.out_of_room(id, &old);
        self.tell_room(&old, &format!("* {name} went to {room}"), reaction);
        self.rooms.entry(room.to_owned()).or_default().insert(id);
        self.tell_room(room, &format!("* {name} is in {room}"), reaction);
    }

    fn out_of_room(&mut self, id: u64, room: &str) {
        if let Some(ids) = self.rooms.get_mut(room) {
            ids.remove(&id);
            if ids.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    fn tell_room(&self, room: &str, line: &str, reaction: &mut Reaction) {
        let line = cut(line.to_owned());
        let ids = self.rooms.get(room).into_iter().flatten();
        reaction.say.extend(ids.map(|id| (*id, line.clone())));
    }
}

/// A name or a room: one word of letters, digits and a few signs.
fn word(text: &str) -> Option<&str> {
    let text = text.trim();
    let fits = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    (!text.is_empty() && text.chars().count() <= NAME_MAX && text.chars().all(fits)).then_some(text)
}

/// Text from somebody else, without what could steer a terminal.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect()
}

/// At most a line's length, at a character.
fn cut(mut line: String) -> String {
    let at = (0..=LINE_MAX.min(line.len())).rev().find(|&at| line.is_char_boundary(at));
    line.truncate(at.unwrap_or(0));
    line
}

/// Collects octets until a line is complete. What is too long is cut.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// Takes octets, and hands every complete line in them to `each`.
    pub fn take(&mut self, octets: &[u8], mut each: impl FnMut(&str)) {
        for piece in octets.split_inclusive(|octet| *octet == b'\n') {
            let room = LINE_MAX - self.line.len().min(LINE_MAX);
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                each(String::from_utf8_lossy(&self.line).trim_end_matches(['\r', '\n']));
                // Nothing is kept for a member who is silent.
                self.line = Vec::new();
            }
        }
    }
}

/// The datagram of a line in a group.
pub fn group_line(name: &str, text: &str) -> String {
    cut(format!("<{}> {}", clean(name), clean(text)))
}

/// What to show for a datagram of a group: ours come back from nobody, others' with where they come from.
pub fn shown_group_line(datagram: &[u8], from: IpAddr) -> String {
    let text = String::from_utf8_lossy(&datagram[..datagram.len().min(LINE_MAX)]);
    format!("{from} {}", clean(text.trim_end()))
}

/// The name to be known by when none was given.
pub fn default_name() -> String {
    let name = std::env::var("USER").unwrap_or_default();
    word(&name).unwrap_or("somebody").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reaction: &Reaction, id: u64) -> Vec<&str> {
        reaction.say.iter().filter(|(to, _)| *to == id).map(|(_, line)| line.as_str()).collect()
    }

    fn two() -> Rooms {
        let mut rooms = Rooms::default();
        rooms.enter(1);
        rooms.enter(2);
        rooms.line(1, "/name ann");
        rooms
    }

    #[test]
    fn lines_go_to_everybody_in_the_room_and_to_nobody_else() {
        let mut rooms = two();
        let reaction = rooms.line(1, "hello\r");
        assert_eq!(said(&reaction, 1), ["<ann> hello"]);
        assert_eq!(said(&reaction, 2), ["<ann> hello"]);
        let reaction = rooms.line(2, "/join garden");
        assert_eq!(said(&reaction, 1), ["* guest2 went to garden"]);
        assert_eq!(said(&reaction, 2), ["* guest2 is in garden"]);
        assert_eq!(said(&rooms.line(1, "alone"), 2), Vec::<&str>::new());
        assert_eq!(said(&rooms.line(2, "/who"), 2), ["* in garden: guest2"]);
        assert_eq!(said(&rooms.line(1, "/rooms"), 1), ["* rooms: garden (1), lobby (1)"]);
    }

    #[test]
    fn names_are_words_and_belong_to_one() {
        let mut rooms = two();
        assert_eq!(said(&rooms.line(2, "/name ann"), 2), ["* somebody is called ann already"]);
        for bad in ["", "a b", "a\x1b[31m", &"x".repeat(25)] {
            let reaction = rooms.line(2, &format!("/name {bad}"));
            assert!(said(&reaction, 2).iter().all(|line| !line.contains('\x1b')), "{bad:?}");
        }
        rooms.leave(1);
        assert_eq!(said(&rooms.line(2, "/name ann"), 2), ["* guest2 is now called ann"]);
    }

    #[test]
    fn commands_help_leave_and_quit() {
        let mut rooms = two();
        assert_eq!(said(&rooms.line(1, "/dance"), 1), [HELP]);
        assert!(rooms.line(1, "/quit").quit);
        assert_eq!(said(&rooms.leave(1), 2), ["* ann left"]);
        assert_eq!(rooms.leave(1), Reaction::default());
        assert_eq!(rooms.line(1, "ghost"), Reaction::default());
        rooms.leave(2);
        assert!(rooms.rooms.is_empty() && rooms.names.is_empty() && rooms.members.is_empty());
    }

    #[test]
    fn nothing_that_steers_a_terminal_passes() {
        let mut rooms = two();
        let reaction = rooms.line(1, "a\x1b[2Jb\x07\u{9b}c\td");
        assert_eq!(said(&reaction, 2), ["<ann> a[2Jbc d"]);
        let from = "10.9.0.3".parse().expect("address");
        assert_eq!(shown_group_line(b"<bob> hi\x1b\n", from), "10.9.0.3 <bob> hi");
    }

    #[test]
    fn lines_are_found_in_any_pieces_and_cut_when_endless() {
        let text = b"one\r\ntwo\n\nthree";
        for step in 1..text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            text.chunks(step).for_each(|piece| lines.take(piece, |line| found.push(line.to_owned())));
            assert_eq!(found, ["one", "two", ""], "{step}");
            assert_eq!(lines.line, b"three");
        }
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.take(&[b'x'; 997], |_| panic!("no line ends here"));
            assert!(lines.line.len() <= LINE_MAX);
        }
        let mut length = 0;
        lines.take(b"\n", |line| length = line.len());
        assert_eq!(length, LINE_MAX);
    }
}
