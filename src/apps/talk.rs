//! `tunstack chat`: the client of the chat server, and the group without one.

use super::chat::{self, Lines, SERVER_PORT, clean, group_line, shown_group_line};
use super::cli;
use super::client::{Client, Keyboard, addresses, connect, host_and_port, print_now};
use super::failure::{Doing as _, Failure, Outcome};
use crate::socket::UdpSocket;
use std::io::{self, BufRead, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Runs `tunstack chat`.
pub fn run(options: &cli::Chat) -> Outcome {
    if options.server.is_none() && !options.group {
        return Err(Failure::input(
            "there is nobody to talk with: name a chat server, as HOST or HOST:PORT, or talk with everybody on the \
             network by --group",
        ));
    }
    let client = Client::start(&options.device, true)?;
    let name = options.name.clone().unwrap_or_else(chat::default_name);
    let result = match &options.server {
        Some(server) => rooms(&client, server, &name, &options.room),
        None => group(&client, &name, options.port),
    };
    let finished = client.finish();
    result.and(finished)
}

fn rooms(client: &Client, server: &str, name: &str, room: &str) -> Outcome {
    let (host, port) = host_and_port(server, Some(SERVER_PORT))?;
    let to = addresses(client.stack(), host, port)?;
    let mut stream = connect(client.stack(), &to, None)?;
    let begin = format!("/name {}\n/join {}\n", clean(name), clean(room));
    stream.write_all(begin.as_bytes()).doing("cannot talk to the server")?;
    let mut lines = Lines::default();
    let shown = Keyboard::start().join(&stream, |data| {
        let mut text = String::new();
        lines.take(data, |line| {
            text.push_str(&clean(line));
            text.push('\n');
        });
        print_now(text.as_bytes())
    });
    shown.doing("the connection ended")
}

fn group(client: &Client, name: &str, port: u16) -> Outcome {
    let own: Vec<IpAddr> = client.running().setup.stack.iter().map(|cidr| cidr.address).collect();
    let Some(everybody) = client.running().setup.stack.iter().find_map(crate::base::Cidr::broadcast) else {
        return Err(Failure::input(
            "a group needs an IPv4 network with a broadcast address: give one, as --addr 10.9.0.2/24",
        ));
    };
    let here = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    let socket = UdpSocket::bind(client.stack(), here).doing(format_args!("cannot use UDP port {port}"))?;
    socket.set_broadcast(true).doing("cannot broadcast")?;
    let socket = Arc::new(socket);
    let to = SocketAddr::new(everybody.into(), port);
    errln!("talking as {name} to everybody at {to}; end with Ctrl-D");
    let (receiver, ours) = (Arc::clone(&socket), own.clone());
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((n, from)) = receiver.recv_from(&mut buffer) {
            // A broadcast comes back to its sender too.
            if !ours.contains(&from.ip()) {
                outln!("{}", shown_group_line(&buffer[..n], from.ip()));
            }
        }
    });
    let say = |text: &str| socket.send_to(group_line(name, text).as_bytes(), to).doing("cannot broadcast");
    say("is here")?;
    for line in io::stdin().lock().lines() {
        let line = line.doing("cannot read")?;
        if !line.trim().is_empty() {
            say(&line)?;
        }
    }
    say("is gone").map(drop)
}
