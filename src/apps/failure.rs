//! How a command fails: one sentence that names the cause and the mend.

use crate::link::LinkError;
use std::fmt;
use std::io;

/// Why a command ended without success.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

/// What a command gives.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The person has to change something first: exit code 2.
    pub fn input(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), code: 2 }
    }

    /// It was tried and did not work: exit code 1.
    pub fn run(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), code: 1 }
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Whatever is wrong with a link, somebody has to mend it before another try.
impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Failure {
        Failure::input(error)
    }
}

/// Says what was being done when a call failed.
pub trait Doing<T> {
    /// `what` in the form "cannot connect to 10.9.0.1:80".
    fn doing(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure::run(format!("{what}: {}", plain(&error))))
    }
}

/// The text of an error without the number that the standard library appends.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.rfind(" (os error ")) {
        (Some(_), Some(end)) => text[..end].to_owned(),
        _ => text,
    }
}

/// A clap error as one sentence.
pub fn usage(error: &clap::Error) -> Failure {
    use clap::error::{ContextKind, ContextValue};
    use std::error::Error as _;
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.split(' ').next().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    if let (Some(source), false) = (error.source(), argument.is_empty()) {
        return Failure::input(format!("{argument}: {source}"));
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let sentence = lines.collect::<Vec<_>>().join(" ");
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    Failure::input(format!("{sentence}; `tunstack --help` and `tunstack COMMAND --help` show what there is"))
}
