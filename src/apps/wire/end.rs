//! The ends of a wire: what a person names, and the namespace behind it.

use super::super::failure::{Failure, Outcome, plain};
use crate::link::netns::Namespace;
use crate::link::{LinkError, check_name};
use rustix::fd::AsFd as _;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";

/// One end of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A namespace known to `ip netns`.
    Named(String),
    /// A namespace by a path, as `/proc/PID/ns/net`.
    At(PathBuf),
    /// A TUN in our own namespace.
    Tun(String),
}

impl FromStr for End {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<End, LinkError> {
        match text.strip_prefix("tun:") {
            Some(name) => check_name(name).map(|()| End::Tun(name.to_owned())),
            None if text.contains('/') => Ok(End::At(text.into())),
            None => Ok(End::Named(text.to_owned())),
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Named(name) => f.write_str(name),
            End::At(path) => write!(f, "{}", path.display()),
            End::Tun(name) => write!(f, "tun:{name}"),
        }
    }
}

impl End {
    /// Where the namespace is found; `None` for our own.
    fn path(&self) -> Option<PathBuf> {
        match self {
            End::Named(name) => Some(Path::new(NAMES).join(name)),
            End::At(path) => Some(path.clone()),
            End::Tun(_) => None,
        }
    }

    /// The namespace, held open; `None` for our own.
    pub fn open(&self) -> Outcome<Option<Namespace>> {
        let Some(path) = self.path() else { return Ok(None) };
        // Not through the link: whether it may be followed is another question.
        if path.symlink_metadata().is_err() {
            return Err(Failure::input(match self {
                End::Named(name) => {
                    format!("there is no network namespace {name}: `sudo ip netns add {name}`")
                }
                End::At(_) | End::Tun(_) => {
                    format!(
                        "there is no {self}: give a name that `ip netns` lists, or a path like /proc/PID/ns/net"
                    )
                }
            }));
        }
        let opened = Namespace::open(&path).map_err(|error| self.unusable(error))?;
        opened.run(|| ()).map_err(|error| self.unusable(error))?;
        Ok(Some(opened))
    }

    /// Does it lead elsewhere by now, or nowhere? `held` is what it led to.
    pub fn left(&self, held: Option<&Namespace>) -> bool {
        let (Some(path), Some(held)) = (self.path(), held) else { return false };
        match rustix::fs::stat(&path) {
            Ok(stat) => identity(held).is_some_and(|held| held != (stat.st_dev, stat.st_ino)),
            Err(errno) => errno == Errno::NOENT,
        }
    }

    /// Why its namespace cannot be used.
    fn unusable(&self, error: LinkError) -> Failure {
        let LinkError::System { source, .. } = &error else { return error.into() };
        Failure::input(match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                format!("no right to enter the network namespace {self}: run with sudo")
            }
            _ => format!(
                "{self} is no network namespace ({}): `ip netns list` shows those with a name",
                plain(source)
            ),
        })
    }

    /// The command that does in the namespace what `command` does here.
    pub fn there(&self, command: &str) -> String {
        match self {
            End::Named(name) => format!("ip netns exec {name} {command}"),
            End::At(path) => format!("nsenter --net={} {command}", path.display()),
            End::Tun(_) => command.to_owned(),
        }
    }
}

/// What tells one namespace from all others while it lives.
pub fn identity(namespace: &Namespace) -> Option<(u64, u64)> {
    rustix::fs::fstat(namespace.as_fd()).ok().map(|stat| (stat.st_dev, stat.st_ino))
}
