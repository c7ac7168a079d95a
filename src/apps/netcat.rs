//! `tunstack connect` and `tunstack listen`: a connection, or datagrams, joined to standard input and output.

use super::cli;
use super::client::{Client, Keyboard, addresses, connect, port, print_now, shown};
use super::failure::{Doing as _, Failure, Outcome, plain};
use crate::runtime::Stack;
use crate::socket::{TcpListener, UdpSocket};
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Largest datagram.
const DATAGRAM: usize = 65_507;

/// Runs `tunstack connect`.
pub fn run_connect(options: &cli::Connect) -> Outcome {
    let client = Client::start(&options.device, true)?;
    let result = match options.udp {
        true => connect_udp(&client, options),
        false => connect_tcp(&client, options),
    };
    let finished = client.finish();
    result.and(finished)
}

fn connect_tcp(client: &Client, options: &cli::Connect) -> Outcome {
    let port = port(client.stack(), &options.port, "tcp")?;
    let to = addresses(client.stack(), &options.host, port)?;
    let stream = connect(client.stack(), &to, options.timeout.map(Duration::from_secs))?;
    errln!("connected to {}", stream.peer_addr().unwrap_or(to[0]));
    Keyboard::start().join_whole(&stream, print_now).doing("the connection ended")
}

fn connect_udp(client: &Client, options: &cli::Connect) -> Outcome {
    let port = port(client.stack(), &options.port, "udp")?;
    let to = addresses(client.stack(), &options.host, port)?;
    let socket =
        UdpSocket::bind(client.stack(), any(to[0].is_ipv4(), 0)).doing("cannot open a UDP socket")?;
    socket.connect(to[0]).doing(format_args!("cannot send to {}", to[0]))?;
    let socket = Arc::new(socket);
    let sender = Arc::clone(&socket);
    type_datagrams(move |line| drop(sender.send(line)));
    socket.set_read_timeout(options.timeout.map(Duration::from_secs)).doing("cannot set a timeout")?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        match socket.recv(&mut buffer) {
            Ok(n) => print_now(&buffer[..n]).doing("cannot write")?,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(Failure::run(format!("{} answers that nobody listens there", to[0])));
            }
            Err(error) => return Err(Failure::run(plain(&error))),
        }
    }
}

/// Runs `tunstack listen`.
pub fn run_listen(options: &cli::Listen) -> Outcome {
    let client = Client::start(&options.device, true)?;
    let result = match options.udp {
        true => listen_udp(client.stack(), options),
        false => listen_tcp(client.stack(), options),
    };
    let finished = client.finish();
    result.and(finished)
}

fn listen_tcp(stack: &Stack, options: &cli::Listen) -> Outcome {
    let port = port(stack, &options.port, "tcp")?;
    let listener =
        TcpListener::bind(stack, any(false, port)).doing(format_args!("cannot listen on port {port}"))?;
    errln!("listening on TCP port {port}");
    let keyboard = Keyboard::start();
    loop {
        let (stream, peer) = listener.accept().doing("cannot accept a connection")?;
        errln!("connection from {}", shown(peer));
        // The next one must not wait for what this one's peer may not want any more.
        let result = match options.keep {
            true => keyboard.join(&stream, print_now),
            false => keyboard.join_whole(&stream, print_now),
        };
        match result {
            Err(error) if options.keep => errln!("the connection ended: {}", plain(&error)),
            Ok(()) if options.keep => {}
            result => return result.doing("the connection ended"),
        }
    }
}

fn listen_udp(stack: &Stack, options: &cli::Listen) -> Outcome {
    let port = port(stack, &options.port, "udp")?;
    let socket =
        UdpSocket::bind(stack, any(false, port)).doing(format_args!("cannot listen on port {port}"))?;
    errln!("listening on UDP port {port}");
    let socket = Arc::new(socket);
    let last: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
    let (sender, to) = (Arc::clone(&socket), Arc::clone(&last));
    // Answers go to whoever sent last.
    type_datagrams(move |line| {
        let to = *to.lock().unwrap_or_else(PoisonError::into_inner);
        match to {
            Some(to) => drop(sender.send_to(line, to)),
            None => errln!("nobody sent anything yet, so there is nobody to answer"),
        }
    });
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let (n, from) = socket.recv_from(&mut buffer).doing("cannot receive")?;
        let before = last.lock().unwrap_or_else(PoisonError::into_inner).replace(from);
        if before != Some(from) {
            errln!("datagrams from {}", shown(from));
        }
        print_now(&buffer[..n]).doing("cannot write")?;
    }
}

/// Each line, or whatever standard input gives at once, is a datagram.
fn type_datagrams(send: impl Fn(&[u8]) + Send + 'static) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; DATAGRAM];
        while let Ok(n @ 1..) = io::stdin().read(&mut buffer) {
            send(&buffer[..n]);
        }
    });
}

fn any(v4: bool, port: u16) -> SocketAddr {
    match v4 {
        true => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
        false => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
    }
}
