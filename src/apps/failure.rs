//! How a command fails: one sentence that names the cause and the mend.

use crate::link::LinkError;
use std::fmt;
use std::io;

/// Why a command ended without success.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
    rights: bool,
}

/// What a command gives.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The person has to change something first: exit code 2.
    pub fn input(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), code: 2, rights: false }
    }

    /// It was tried and did not work: exit code 1.
    pub fn run(message: impl fmt::Display) -> Failure {
        Failure { message: message.to_string(), code: 1, rights: false }
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Is it for want of rights on this machine that it failed?
    pub fn lacks_rights(&self) -> bool {
        self.rights
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
        let rights = matches!(
            error,
            LinkError::NoNode
                | LinkError::NodeDenied { .. }
                | LinkError::NoRight
                | LinkError::NoNamespace { .. }
        );
        Failure { rights, ..Failure::input(plain(&error)) }
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

/// The text of an error without the numbers that the standard library appends, as "(os error 13)".
pub fn plain(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let mut parts = text.split(" (os error ");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| plain.push_str(part.split_once(')').map_or(part, |(_, rest)| rest)));
    plain
}

/// A clap error as one sentence.
pub fn usage(error: &clap::Error) -> Failure {
    use clap::error::{ContextKind, ErrorKind};
    use std::error::Error as _;
    let context = |kind| error.get(kind).map(context_words).unwrap_or_default();
    let argument = context(ContextKind::InvalidArg).join(" ");
    let value = context(ContextKind::InvalidValue).join(" ");
    // "Usage: tunstack ping [OPTIONS] <HOST>"
    let usage = context(ContextKind::Usage).join(" ");
    let command = usage.split_whitespace().nth(2);
    let help = match command.filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())) {
        Some(command) => format!("`tunstack {command} --help`"),
        None => "`tunstack --help`".to_owned(),
    };
    let near = |kind| match context(kind).as_slice() {
        [] => format!("{help} lists them"),
        near => format!("did you mean {}?", near.join(" or ")),
    };
    Failure::input(match error.kind() {
        ErrorKind::ValueValidation if error.source().is_some() => {
            let option = argument.split(' ').next().unwrap_or_default();
            format!("{option}: {}", error.source().map(ToString::to_string).unwrap_or_default())
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("{argument} needs a value"),
        ErrorKind::InvalidValue => {
            let choices = context(ContextKind::ValidValue).join(", ");
            let option = argument.split(' ').next().unwrap_or_default();
            format!("'{value}' is no {}: choose {choices}", option.trim_matches(['<', '>', '.', '[', ']']))
        }
        ErrorKind::InvalidSubcommand => {
            let command = context(ContextKind::InvalidSubcommand).join(" ");
            format!("there is no command '{command}': {}", near(ContextKind::SuggestedSubcommand))
        }
        ErrorKind::UnknownArgument => {
            format!("there is no option or argument '{argument}' here: {}", near(ContextKind::SuggestedArg))
        }
        ErrorKind::MissingRequiredArgument => {
            format!("{argument} is missing: {help} says what it is")
        }
        ErrorKind::ArgumentConflict => {
            format!("{argument} and {} exclude each other", context(ContextKind::PriorArg).join(", "))
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            format!("{}: see `tunstack --help`", line.strip_prefix("error: ").unwrap_or(line))
        }
    })
}

fn context_words(value: &clap::error::ContextValue) -> Vec<String> {
    use clap::error::ContextValue;
    match value {
        ContextValue::String(word) => vec![word.clone()],
        ContextValue::Strings(words) => words.clone(),
        ContextValue::StyledStr(text) => vec![text.to_string()],
        ContextValue::StyledStrs(texts) => texts.iter().map(ToString::to_string).collect(),
        ContextValue::Number(number) => vec![number.to_string()],
        _ => Vec::new(),
    }
}
