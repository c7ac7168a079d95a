//! `tunstack send` and `tunstack recv`: a file over one connection, as bare octets, so that `nc` can be the other side.

use super::cli;
use super::client::{Client, addresses, connect, host_and_port, shown};
use super::failure::{Doing as _, Failure, Outcome, plain};
use crate::observe::octets;
use crate::runtime::Stack;
use crate::socket::{TcpListener, TcpStream};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs `tunstack send`.
pub fn run_send(options: &cli::Send) -> Outcome {
    let path = &options.file;
    if options.to.is_none() && options.listen.is_none() {
        return Err(Failure::input(
            "there is nobody to send to: name the receiver, as HOST:PORT, or wait for one with --listen PORT",
        ));
    }
    let (mut file, length): (Box<dyn Read>, Option<u64>) = if path == Path::new("-") {
        (Box::new(io::stdin().lock()), None)
    } else {
        if path.is_dir() {
            return Err(Failure::input(format!("{} is a directory: name a file", path.display())));
        }
        let file = File::open(path).map_err(|error| {
            Failure::input(format!("cannot read {}: {}: name another file", path.display(), plain(&error)))
        })?;
        let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
        (Box::new(file), length)
    };
    let to = options.to.as_deref().map(|to| host_and_port(to, None)).transpose()?;
    let client = Client::start(&options.device, false)?;
    let result = open(&client, to, options.listen.unwrap_or_default()).and_then(|mut stream| {
        let copied = copy(&mut file, &mut stream, length, "cannot send")?;
        stream.shutdown(Shutdown::Write).doing("cannot send")?;
        // The peer's end says that it has everything.
        let mut rest = [0; 4096];
        while stream.read(&mut rest).doing("not everything arrived")? > 0 {}
        copied.report("sent", client.stack());
        Ok(())
    });
    let finished = client.finish();
    result.and(finished)
}

/// Runs `tunstack recv`.
pub fn run_recv(options: &cli::Recv) -> Outcome {
    let path = &options.file;
    let to_output = path == Path::new("-");
    if !to_output {
        check_target(path)?;
    }
    let from = options.from.as_deref().map(|from| host_and_port(from, None)).transpose()?;
    let client = Client::start(&options.device, to_output)?;
    let result = open(&client, from, options.listen).and_then(|mut stream| {
        let mut receive = |file: &mut dyn Write| {
            let copied = copy(&mut stream, file, None, "cannot receive")?;
            file.flush().doing("cannot write")?;
            Ok(copied)
        };
        let copied = if to_output { receive(&mut io::stdout().lock())? } else { whole_file(path, receive)? };
        copied.report("received", client.stack());
        Ok(())
    });
    let finished = client.finish();
    result.and(finished)
}

/// Lets `fill` write a file that has its name only once it is whole: a transfer that is cut short leaves nothing, and
/// what was there before stays. Devices and pipes are written as they are.
fn whole_file<T>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Outcome<T>) -> Outcome<T> {
    let refused =
        |error: io::Error| Failure::input(format!("cannot write {}: {}", path.display(), plain(&error)));
    if path.exists() && !path.is_file() {
        let mut file = File::options().write(true).open(path).map_err(refused)?;
        return fill(&mut file);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let mut file = File::create(&part).map_err(refused)?;
    let filled = fill(&mut file).and_then(|filled| {
        std::fs::rename(&part, path).map_err(refused)?;
        Ok(filled)
    });
    if filled.is_err() {
        // Nothing to be done if even that fails.
        let _ = std::fs::remove_file(&part);
    }
    filled
}

/// Refuses at once what could not be written once everything came.
fn check_target(path: &Path) -> Outcome {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let why = if path.is_dir() {
        "it is a directory"
    } else if !folder.is_dir() {
        "its directory does not exist"
    } else {
        return Ok(());
    };
    Err(Failure::input(format!("cannot write {}: {why}: name another file", path.display())))
}

/// Connects to `to`, or waits for a connection on `port`.
fn open(client: &Client, to: Option<(&str, u16)>, port: u16) -> Outcome<TcpStream> {
    if let Some((host, port)) = to {
        return connect(client.stack(), &addresses(client.stack(), host, port)?, None);
    }
    let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let listener =
        TcpListener::bind(client.stack(), address).doing(format_args!("cannot listen on port {port}"))?;
    let own = client.running().address();
    errln!("waiting for a connection to {}", SocketAddr::new(own, port));
    let (stream, peer) = listener.accept().doing("cannot accept a connection")?;
    errln!("connection from {}", shown(peer));
    Ok(stream)
}

/// What a transfer came to.
struct Copied {
    octets: u64,
    digest: String,
    began: Instant,
}

impl Copied {
    fn report(&self, verb: &str, stack: &Stack) {
        let seconds = self.began.elapsed().as_secs_f64().max(1e-9);
        // The stack's count: it has no other connection, and this one may be forgotten already.
        let again = stack.counters().tcp_retrans_segs;
        let repeated = if again > 0 { format!(", {again} segments sent again") } else { String::new() };
        let rate = self.octets as f64 / seconds / 1e6;
        errln!("{verb} {} in {seconds:.2} s ({rate:.1} MB/s){repeated}", octets(self.octets));
        errln!("SHA-256 {}", self.digest);
    }
}

/// Copies all of `from`, with a bar on standard error when that is a terminal.
fn copy(from: &mut dyn Read, to: &mut dyn Write, length: Option<u64>, what: &str) -> Outcome<Copied> {
    let bar = match length {
        Some(length) => {
            ProgressBar::new(length).with_style(style("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}"))
        }
        None => ProgressBar::new_spinner().with_style(style("{spinner} {bytes} {bytes_per_sec}")),
    };
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let (mut octets, mut began) = (0, Instant::now());
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).doing(what),
        };
        if octets == 0 {
            began = Instant::now();
        }
        digest.update(&buffer[..n]);
        to.write_all(&buffer[..n]).doing(what)?;
        octets += n as u64;
        bar.set_position(octets);
    }
    bar.finish_and_clear();
    let digest = digest.finalize().iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(Copied { octets, digest, began })
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_targets_are_refused_before_anything_runs() {
        let refused = |path: &str| check_target(Path::new(path)).expect_err("impossible").to_string();
        assert!(refused("/nonexistent/x").contains("its directory does not exist"));
        assert!(refused("/tmp").contains("it is a directory"));
        check_target(Path::new("new-file")).expect("possible");
    }

    #[test]
    fn a_file_has_its_name_only_once_it_is_whole() {
        let folder = std::env::temp_dir().join(format!("tunstack-whole-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a directory");
        let path = folder.join("got");
        std::fs::write(&path, "before").expect("written");
        let cut = whole_file(&path, |file| {
            file.write_all(b"half").doing("cannot write")?;
            Err::<(), _>(Failure::input("cut short".to_owned()))
        });
        assert!(cut.is_err());
        assert_eq!(std::fs::read(&path).expect("still there"), b"before");
        whole_file(&path, |file| file.write_all(b"all of it").doing("cannot write")).expect("whole");
        assert_eq!(std::fs::read(&path).expect("there"), b"all of it");
        assert_eq!(std::fs::read_dir(&folder).expect("readable").count(), 1, "nothing else is left");
        whole_file(Path::new("/dev/null"), |file| file.write_all(b"x").doing("cannot write"))
            .expect("a device");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
