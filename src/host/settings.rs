//! Settings of one socket by name: the host's names, where they mean something for a single socket, and two that only
//! sockets have. What they change is what the options change.

use super::{Errno, Host, Opt, OptName, SocketId};
use crate::base::config::{ConfigError, CongestionControl};
use crate::base::io::MtuDiscover;
use crate::base::{Duration, Instant};
use core::fmt;

/// The settings that a socket has, with the option that each of them is.
const OPTIONS: [(&str, OptName); 12] = [
    ("ip_default_ttl", OptName::Ttl),
    ("ip_no_pmtu_disc", OptName::MtuDiscover),
    ("tcp_congestion_control", OptName::Congestion),
    ("tcp_fin_timeout", OptName::Linger2),
    ("tcp_keepalive_intvl", OptName::KeepIntvl),
    ("tcp_keepalive_probes", OptName::KeepCnt),
    ("tcp_keepalive_time", OptName::KeepIdle),
    ("tcp_notsent_lowat", OptName::NotSentLowat),
    ("tcp_rmem", OptName::RcvBuf),
    ("tcp_syn_retries", OptName::SynCnt),
    ("tcp_user_timeout", OptName::UserTimeout),
    ("tcp_wmem", OptName::SndBuf),
];

/// Why a setting of a socket was not read or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingError {
    /// Sockets have no setting of this name.
    Name(String),
    /// The text is no value of it.
    Value(ConfigError),
    /// This socket does not take it.
    Refused(Errno),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Name(name) => {
                let known = OPTIONS.map(|(name, _)| name).join(", ");
                write!(f, "a socket has no setting '{name}', but {known}")
            }
            SettingError::Value(error) => error.fmt(f),
            SettingError::Refused(errno) => f.write_str(errno.text()),
        }
    }
}

impl core::error::Error for SettingError {}

impl From<ConfigError> for SettingError {
    fn from(error: ConfigError) -> SettingError {
        SettingError::Value(error)
    }
}

impl From<Errno> for SettingError {
    fn from(errno: Errno) -> SettingError {
        SettingError::Refused(errno)
    }
}

impl Host {
    /// The names of the settings that a socket has.
    pub fn socket_settings() -> impl Iterator<Item = &'static str> {
        OPTIONS.iter().map(|(name, _)| *name)
    }

    /// The setting called `name` of one socket, in the text form that the host's has. Of the three sizes of `tcp_rmem` and
    /// `tcp_wmem` the middle one is the socket's.
    ///
    /// # Errors
    /// [`SettingError::Name`], and [`SettingError::Refused`] with `ENOPROTOOPT` on a socket of another kind.
    pub fn socket_setting(&mut self, id: SocketId, name: &str) -> Result<String, SettingError> {
        let unknown = || SettingError::Name(name.to_owned());
        let (_, option) = OPTIONS.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
        let mut config = self.common.config.clone();
        match self.option(id, *option)? {
            Opt::Ttl(ttl) => config.ip_default_ttl = ttl.into(),
            Opt::MtuDiscover(mode) => config.ip_no_pmtu_disc = mode == MtuDiscover::Dont,
            Opt::Congestion(name) => {
                config.tcp_congestion_control = CongestionControl::from_name(&name).unwrap_or_default();
            }
            Opt::Linger2(time) => config.tcp_fin_timeout = time,
            Opt::KeepIntvl(time) => config.tcp_keepalive_intvl = time,
            Opt::KeepCnt(count) => config.tcp_keepalive_probes = count,
            Opt::KeepIdle(time) => config.tcp_keepalive_time = time,
            Opt::SynCnt(count) => config.tcp_syn_retries = count,
            Opt::RcvBuf(_) => config.tcp_rmem[1] = self.settings(id)?.rcv_buf,
            Opt::SndBuf(_) => config.tcp_wmem[1] = self.settings(id)?.snd_buf,
            Opt::UserTimeout(time) => return Ok(time.as_millis().to_string()),
            Opt::NotSentLowat(octets) => return Ok(octets.to_string()),
            _ => return Err(unknown()),
        }
        config.get(name).ok_or_else(unknown)
    }

    /// Changes the setting called `name` of one socket; what a listener accepts from now on inherits it.
    ///
    /// # Errors
    /// [`SettingError`] says which name or value was refused and what is accepted.
    pub fn set_socket_setting(
        &mut self,
        now: Instant,
        id: SocketId,
        name: &str,
        value: &str,
    ) -> Result<(), SettingError> {
        let mut config = self.common.config.clone();
        match name {
            "tcp_user_timeout" | "tcp_notsent_lowat" => {}
            _ if Host::socket_settings().any(|known| known == name) => config.set(name, value)?,
            _ => return Err(SettingError::Name(name.to_owned())),
        }
        let option = match name {
            "ip_default_ttl" => Opt::Ttl(config.ip_default_ttl.min(255) as u8),
            "ip_no_pmtu_disc" if config.ip_no_pmtu_disc => Opt::MtuDiscover(MtuDiscover::Dont),
            "ip_no_pmtu_disc" => Opt::MtuDiscover(MtuDiscover::Want),
            "tcp_congestion_control" => Opt::Congestion(config.tcp_congestion_control.name().to_owned()),
            "tcp_fin_timeout" => Opt::Linger2(config.tcp_fin_timeout),
            "tcp_keepalive_intvl" => Opt::KeepIntvl(config.tcp_keepalive_intvl),
            "tcp_keepalive_probes" => Opt::KeepCnt(config.tcp_keepalive_probes),
            "tcp_keepalive_time" => Opt::KeepIdle(config.tcp_keepalive_time),
            "tcp_syn_retries" => Opt::SynCnt(config.tcp_syn_retries),
            "tcp_user_timeout" => Opt::UserTimeout(Duration::from_millis(number(name, value)?.into())),
            "tcp_notsent_lowat" => Opt::NotSentLowat(number(name, value)?),
            _ => return self.set_sizes(now, id, (name, value)),
        };
        Ok(self.set_option(now, id, option)?)
    }

    /// `tcp_rmem` and `tcp_wmem`: least and most are the host's, for what is tuned and announced was fixed by them.
    fn set_sizes(
        &mut self,
        now: Instant,
        id: SocketId,
        (name, value): (&str, &str),
    ) -> Result<(), SettingError> {
        let receive = name == "tcp_rmem";
        let old = &self.common.config;
        let mut new = old.clone();
        new.set(name, value)?;
        let (old, new) = if receive { (old.tcp_rmem, new.tcp_rmem) } else { (old.tcp_wmem, new.tcp_wmem) };
        if (old[0], old[2]) != (new[0], new[2]) {
            return Err(bad(name, value, "the host's least and most size, and the socket's between them"));
        }
        self.with_settings(now, id, |settings, _| {
            let size = if receive { &mut settings.rcv_buf } else { &mut settings.snd_buf };
            *size = new[1];
            Ok(())
        })?;
        Ok(())
    }
}

fn number(name: &str, value: &str) -> Result<u32, SettingError> {
    value.trim().parse().map_err(|_| bad(name, value, "a number"))
}

fn bad(name: &str, value: &str, expected: &'static str) -> SettingError {
    SettingError::Value(ConfigError::BadValue { name: name.to_owned(), value: value.to_owned(), expected })
}
