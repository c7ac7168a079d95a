//! The two directions of a connection in two hands.

use super::TcpStream;
use std::io::{self, Read, Write};
use std::net::Shutdown;

/// The reading half of a [`TcpStream`].
#[derive(Debug)]
pub struct ReadHalf(TcpStream);

/// The writing half of a [`TcpStream`]. Dropping it shuts the direction: the peer reads the end of the stream.
#[derive(Debug)]
pub struct WriteHalf(Option<TcpStream>);

pub(super) fn split(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let other = TcpStream { inner: std::sync::Arc::clone(&stream.inner) };
    (ReadHalf(stream), WriteHalf(Some(other)))
}

impl ReadHalf {
    /// Puts the two halves together again; gives them back when they are not of one stream.
    ///
    /// # Errors
    /// The two halves.
    pub fn reunite(self, mut write: WriteHalf) -> Result<TcpStream, (ReadHalf, WriteHalf)> {
        match write.0.take() {
            Some(other) if std::sync::Arc::ptr_eq(&other.inner, &self.0.inner) => Ok(other),
            other => Err((self, WriteHalf(other))),
        }
    }
}

impl AsRef<TcpStream> for ReadHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.0
    }
}

impl Read for ReadHalf {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for WriteHalf {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            // The connection may be gone already.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}
