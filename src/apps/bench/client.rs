//! The client of all measurements: the kernel's sockets, in the namespace of the calling thread.

use super::{DISCARD, ECHO, SOURCE};
use crate::apps::failure::{Doing as _, Failure, Outcome};
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Octets of one call.
const BLOCK: usize = 256 << 10;
/// Longest time that one call may take.
const PATIENCE: Duration = Duration::from_secs(10);
const CONTROLLER: &str = "cubic";

/// Connects within [`PATIENCE`].
pub fn connect(address: IpAddr, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Whatever this machine's default is; without the right to choose, it stays.
    let _ = rustix::net::sockopt::set_tcp_congestion(&stream, CONTROLLER);
    Ok(stream)
}

/// Octets per second to the server, until it has taken all.
pub fn bulk_to(address: IpAddr, time: Duration) -> Outcome<f64> {
    let work = || -> io::Result<f64> {
        let mut stream = connect(address, DISCARD)?;
        let (block, start, mut octets) = (vec![0x5a; BLOCK], Instant::now(), 0);
        while start.elapsed() < time {
            octets += stream.write(&block)?;
        }
        stream.shutdown(Shutdown::Write)?;
        // Its FIN comes after it has read everything.
        while stream.read(&mut [0; 64])? > 0 {}
        Ok(octets as f64 / start.elapsed().as_secs_f64())
    };
    work().doing("sending failed")
}

/// Octets per second from the server.
pub fn bulk_from(address: IpAddr, time: Duration) -> Outcome<f64> {
    let work = || -> io::Result<f64> {
        let mut stream = connect(address, SOURCE)?;
        let (mut block, start, mut octets) = (vec![0; BLOCK], Instant::now(), 0);
        while start.elapsed() < time {
            match stream.read(&mut block)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => octets += n,
            }
        }
        Ok(octets as f64 / start.elapsed().as_secs_f64())
    };
    work().doing("receiving failed")
}

/// Times of one-octet round trips on one connection, in order of length.
pub fn round_trips(address: IpAddr, time: Duration) -> Outcome<Vec<Duration>> {
    let work = || -> io::Result<Vec<Duration>> {
        let mut stream = connect(address, ECHO)?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < time {
            let begin = Instant::now();
            stream.write_all(b"x")?;
            stream.read_exact(&mut [0; 1])?;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        Ok(times)
    };
    work().doing("a round trip failed")
}

/// One-octet round trips per second on so many connections, each with one under way.
pub fn round_trips_on_many(address: IpAddr, count: usize, time: Duration) -> Outcome<f64> {
    let work = || -> io::Result<f64> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut streams = Vec::with_capacity(count);
        for index in 0..count {
            let mut stream = connect(address, ECHO)?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
            stream.write_all(b"x")?;
            streams.push(stream);
        }
        let (start, mut trips) = (Instant::now(), 0_u64);
        let mut events = Vec::with_capacity(count);
        while start.elapsed() < time {
            wait(&epoll, &mut events)?;
            for event in &events {
                let stream = &mut streams[event.data.u64() as usize];
                stream.read_exact(&mut [0; 1])?;
                stream.write_all(b"x")?;
                trips += 1;
            }
        }
        Ok(trips as f64 / start.elapsed().as_secs_f64())
    };
    work().doing("a round trip failed")
}

/// A connection in the course of [`connections`].
struct Visit {
    socket: OwnedFd,
    asked: bool,
}

/// Connections per second: connect, one octet there and back, close; so many at a time.
pub fn connections(address: IpAddr, at_once: usize, time: Duration) -> Outcome<f64> {
    let work = || -> io::Result<f64> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut visits = Vec::with_capacity(at_once);
        for index in 0..at_once {
            visits.push(begin(address, &epoll, index)?);
        }
        let (start, mut done) = (Instant::now(), 0_u64);
        let mut events = Vec::with_capacity(at_once);
        while start.elapsed() < time {
            wait(&epoll, &mut events)?;
            for event in &events {
                let index = event.data.u64() as usize;
                let visit = &mut visits[index];
                if !visit.asked {
                    rustix::net::sockopt::socket_error(&visit.socket)??;
                    rustix::net::send(&visit.socket, b"x", rustix::net::SendFlags::NOSIGNAL)?;
                    epoll::modify(&epoll, &visit.socket, event.data, epoll::EventFlags::IN)?;
                    visit.asked = true;
                    continue;
                }
                if rustix::io::read(&visit.socket, &mut [0; 1])? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                // The old one is closed by this.
                visits[index] = begin(address, &epoll, index)?;
                done += 1;
            }
        }
        Ok(done as f64 / start.elapsed().as_secs_f64())
    };
    work().doing("a connection failed")
}

fn begin(address: IpAddr, epoll: &OwnedFd, index: usize) -> io::Result<Visit> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &SocketAddr::new(address, ECHO)) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    epoll::add(epoll, &socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::OUT)?;
    Ok(Visit { socket, asked: false })
}

fn wait(epoll: &OwnedFd, events: &mut Vec<epoll::Event>) -> io::Result<()> {
    events.clear();
    let limit = rustix::event::Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    match epoll::wait(epoll, rustix::buffer::spare_capacity(events), Some(&limit)) {
        Ok(0) => Err(ErrorKind::TimedOut.into()),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens so many connections, each used once, within `limit`. What could be opened.
pub fn idle(address: IpAddr, count: usize, limit: Duration) -> Outcome<Vec<TcpStream>> {
    let start = Instant::now();
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count && start.elapsed() < limit {
        let open = || -> io::Result<TcpStream> {
            let mut stream = connect(address, ECHO)?;
            stream.write_all(b"x")?;
            stream.read_exact(&mut [0; 1])?;
            Ok(stream)
        };
        match open() {
            Ok(stream) => streams.push(stream),
            Err(_) if streams.len() > 100 => break,
            Err(error) => return Err(Failure::run(format!("an idle connection failed: {error}"))),
        }
    }
    Ok(streams)
}
