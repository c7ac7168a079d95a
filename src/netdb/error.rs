//! Why a name, an address or a service could not be resolved: `getaddrinfo`'s errors and `h_errno`.

use crate::base::Errno;
use core::fmt;

macro_rules! gai_errors {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal, $symbol:literal, $text:literal;)*) => {
        /// Why `getaddrinfo` or `getnameinfo` failed (POSIX; numbers and texts are glibc's).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum GaiError {
            $($(#[doc = $doc])+ $name,)*
            /// `EAI_SYSTEM`: a system or socket call failed; the error number says why.
            System(Errno),
        }

        impl GaiError {
            /// The number, as `getaddrinfo` returns it.
            pub fn code(self) -> i32 {
                match self { $(GaiError::$name => $value,)* GaiError::System(_) => -11 }
            }
            /// The symbolic name, `EAI_NONAME` and the like.
            pub fn name(self) -> &'static str {
                match self { $(GaiError::$name => $symbol,)* GaiError::System(_) => "EAI_SYSTEM" }
            }
            /// What `gai_strerror` says about it.
            pub fn text(self) -> &'static str {
                match self { $(GaiError::$name => $text,)* GaiError::System(_) => "System error" }
            }
        }
    };
}

gai_errors! {
    /// A flag is unknown or does not go with the other arguments.
    BadFlags = -1, "EAI_BADFLAGS", "Bad value for ai_flags";
    /// No such host or service, or neither was given.
    NoName = -2, "EAI_NONAME", "Name or service not known";
    /// No answer or a server failure: another try may help.
    Again = -3, "EAI_AGAIN", "Temporary failure in name resolution";
    /// The servers cannot answer this question.
    Fail = -4, "EAI_FAIL", "Non-recoverable failure in name resolution";
    /// The host exists and has no address (of the family asked for).
    NoData = -5, "EAI_NODATA", "No address associated with hostname";
    /// Not an Internet address family.
    Family = -6, "EAI_FAMILY", "ai_family not supported";
    /// Socket type and protocol do not go together.
    SockType = -7, "EAI_SOCKTYPE", "ai_socktype not supported";
    /// The service is unknown for this socket type.
    Service = -8, "EAI_SERVICE", "Servname not supported for ai_socktype";
    /// The numeric address is of another family than asked for.
    AddrFamily = -9, "EAI_ADDRFAMILY", "Address family for hostname not supported";
    /// The name is no text that can be asked for in the DNS.
    IdnEncode = -105, "EAI_IDN_ENCODE", "Parameter string not correctly encoded";
}

impl fmt::Display for GaiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GaiError::System(errno) => f.write_str(errno.text()),
            other => f.write_str(other.text()),
        }
    }
}

impl core::error::Error for GaiError {}

/// The inner error of the `io::Error` of a failed look-up, worded as `std::net` words it.
#[derive(Debug)]
struct LookupFailed(GaiError);

impl fmt::Display for LookupFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to lookup address information: {}", self.0)
    }
}

impl core::error::Error for LookupFailed {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl From<GaiError> for std::io::Error {
    fn from(error: GaiError) -> std::io::Error {
        match error {
            GaiError::System(errno) => std::io::Error::from_raw_os_error(errno.code()),
            other => std::io::Error::new(other.kind(), LookupFailed(other)),
        }
    }
}

impl GaiError {
    /// What is said to programs that ask for the kind only: is there no such name, may another try help, or is the question wrong?
    fn kind(self) -> std::io::ErrorKind {
        use std::io::ErrorKind;
        match self {
            GaiError::NoName | GaiError::NoData | GaiError::AddrFamily => ErrorKind::NotFound,
            GaiError::Again => ErrorKind::TimedOut,
            GaiError::BadFlags | GaiError::Family | GaiError::SockType => ErrorKind::InvalidInput,
            GaiError::Service | GaiError::IdnEncode => ErrorKind::InvalidInput,
            GaiError::Fail | GaiError::System(_) => ErrorKind::Other,
        }
    }

    /// The error of a look-up that was turned into an [`io::Error`](std::io::Error) on its way here.
    pub fn of(error: &std::io::Error) -> Option<GaiError> {
        error.get_ref()?.downcast_ref::<LookupFailed>().map(|failed| failed.0)
    }
}

/// Why `gethostbyname` or `gethostbyaddr` failed (`h_errno`; texts are `hstrerror`'s).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostError {
    /// `HOST_NOT_FOUND`: there is no such host.
    NotFound = 1,
    /// `TRY_AGAIN`: no answer or a server failure.
    TryAgain = 2,
    /// `NO_RECOVERY`: the servers cannot answer this question.
    NoRecovery = 3,
    /// `NO_DATA`: the host exists and has no such address.
    NoData = 4,
}

impl HostError {
    /// The value of `h_errno`.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// What `hstrerror` says about it.
    pub fn text(self) -> &'static str {
        match self {
            HostError::NotFound => "Unknown host",
            HostError::TryAgain => "Host name lookup failure",
            HostError::NoRecovery => "Unknown server error",
            HostError::NoData => "No address associated with name",
        }
    }

    /// The same outcome as `getaddrinfo` reports it.
    pub fn gai(self) -> GaiError {
        match self {
            HostError::NotFound => GaiError::NoName,
            HostError::TryAgain => GaiError::Again,
            HostError::NoRecovery => GaiError::Fail,
            HostError::NoData => GaiError::NoData,
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for HostError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers and texts as Python's `socket.EAI_*` and `gaierror` show them on glibc.
    #[test]
    fn numbers_and_texts_are_glibcs() {
        assert_eq!((GaiError::NoName.code(), GaiError::NoName.name()), (-2, "EAI_NONAME"));
        assert_eq!(GaiError::Again.to_string(), "Temporary failure in name resolution");
        assert_eq!(GaiError::System(Errno::ENETDOWN).code(), -11);
        assert_eq!(GaiError::System(Errno::ENETDOWN).text(), "System error");
        assert_eq!(
            (HostError::NoData.code(), HostError::NoData.text()),
            (4, "No address associated with name")
        );
    }

    #[test]
    fn an_io_error_keeps_the_reason() {
        let error = std::io::Error::from(GaiError::NoName);
        assert_eq!(error.to_string(), "failed to lookup address information: Name or service not known");
        assert_eq!(GaiError::of(&error), Some(GaiError::NoName));
        let kind = |error: GaiError| std::io::Error::from(error).kind();
        assert_eq!(kind(GaiError::NoName), std::io::ErrorKind::NotFound);
        assert_eq!(kind(GaiError::NoData), std::io::ErrorKind::NotFound);
        assert_eq!(kind(GaiError::Again), std::io::ErrorKind::TimedOut);
        let system = std::io::Error::from(GaiError::System(Errno::ENETUNREACH));
        assert_eq!(system.raw_os_error(), Some(101));
        assert_eq!(GaiError::of(&system), None);
    }
}
