//! How text output looks: width and colour.

use std::fmt;
use std::io::{IsTerminal, Write};

/// Width and colour of text output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns, at least 80.
    pub width: usize,
    /// Use colour.
    pub colour: bool,
}

impl Style {
    /// Lines of `width` columns without colour.
    pub fn plain(width: usize) -> Style {
        Style { width: width.max(80), colour: false }
    }

    /// What fits `output`: its width, and colour when it is a terminal and `NO_COLOR` is not set. Elsewhere 80
    /// columns, or what `COLUMNS` says.
    pub fn of(output: &(impl IsTerminal + std::os::fd::AsFd)) -> Style {
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        if !output.is_terminal() {
            return Style::plain(columns.unwrap_or(80));
        }
        let size = rustix::termios::tcgetwinsize(output).ok().map(|size| usize::from(size.ws_col));
        let width = columns.or(size).unwrap_or(80).max(80);
        Style { width, colour: std::env::var_os("NO_COLOR").is_none() }
    }

    /// `text` in `colour`, if colours are used.
    pub(super) fn paint(self, colour: Colour, text: impl fmt::Display) -> String {
        match colour {
            Colour::None => text.to_string(),
            _ if !self.colour => text.to_string(),
            Colour::Dim => format!("\x1b[2m{text}\x1b[0m"),
            Colour::Bold => format!("\x1b[1m{text}\x1b[0m"),
            Colour::Out => format!("\x1b[36m{text}\x1b[0m"),
            Colour::In => format!("\x1b[32m{text}\x1b[0m"),
            Colour::Warn => format!("\x1b[33m{text}\x1b[0m"),
            Colour::Bad => format!("\x1b[31m{text}\x1b[0m"),
        }
    }
}

/// Meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    None,
    Dim,
    Bold,
    Out,
    In,
    Warn,
    Bad,
}

/// Writes a line; an output that is gone ends nothing but the ladder.
pub(super) fn write_line(out: &mut dyn Write, line: &str) {
    let _ = writeln!(out, "{}", line.trim_end()).and_then(|()| out.flush());
}

/// A number of octets for people: "4096 bytes", "1.50 MB".
pub fn octets(count: u64) -> String {
    match count {
        1 => "1 byte".to_owned(),
        0..100_000 => format!("{count} bytes"),
        100_000..10_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}
