//! The single place where an error number becomes an [`io::Error`], so kind, code and text equal the kernel's.

use crate::base::Errno;
use std::io;

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.code())
    }
}
