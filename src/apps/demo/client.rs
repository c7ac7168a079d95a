//! The clients of the demo. Their sockets are the real kernel's.

use super::{cli, device, failed};
use crate::apps::device::Running;
use crate::apps::failure::{Doing as _, Outcome};
use crate::apps::http::{Decoder, Head};
use crate::observe::octets;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long the kernel's client may be without an answer.
const SILENCE: Duration = Duration::from_secs(60);

/// Runs the client that was asked for, and says how it went.
///
/// # Errors
/// When it could not be started, or failed.
pub fn run(options: &cli::Demo, running: &Running) -> Outcome<String> {
    let address = running.address();
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    if options.shell {
        let shell = std::env::var_os("SHELL").unwrap_or_else(|| OsString::from("/bin/sh"));
        errln!("a shell: try `curl http://{host}/`, `ping {address}`; exit ends the demo");
        return command(options, &shell, &[], &address.to_string());
    }
    if let [program, arguments @ ..] = options.client.as_slice() {
        let with_address = |argument: &String| argument.replace("$ADDR", &address.to_string());
        let arguments: Vec<String> = arguments.iter().map(with_address).collect();
        return command(options, program.as_ref(), &arguments, &address.to_string());
    }
    let url = format!("http://{host}/");
    match find("curl") {
        true => curl(&url),
        false => built_in(SocketAddr::new(address, 80), &url),
    }
}

/// Is there a program of this name?
pub fn find(name: &str) -> bool {
    if name.contains('/') {
        return std::path::Path::new(name).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Any program, on this terminal.
fn command(
    options: &cli::Demo,
    program: &std::ffi::OsStr,
    arguments: &[String],
    address: &str,
) -> Outcome<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("ADDR", address);
    if device::captures_to_output(&options.device) {
        // Standard output is the capture's.
        let error = std::io::stderr().as_fd().try_clone_to_owned().doing("cannot start the client")?;
        command.stdout(Stdio::from(error));
    }
    let name = program.to_string_lossy();
    let status = command.status().doing(format_args!("cannot start {name}"))?;
    match status.code() {
        // A shell gives the code of whatever was typed last.
        Some(code) if options.shell => Ok(format!("the shell ended with exit code {code}")),
        Some(0) => Ok(format!("{name} ended with exit code 0")),
        Some(code) => Err(failed(format_args!("{name} ended with exit code {code}"))),
        None => Err(failed(format_args!("{name} was killed"))),
    }
}

fn curl(url: &str) -> Outcome<String> {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--globoff", "--noproxy", "*", "--max-time", "60", url])
        .stdin(Stdio::null())
        .output()
        .doing("cannot start curl")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(format!(
            "curl {url} got {}: {}",
            octets(output.stdout.len() as u64),
            first_line(&output.stdout)
        )),
        false => Err(failed(format_args!("curl {url} failed: {}", complaint.trim()))),
    }
}

/// A client on the kernel's sockets, for machines without curl.
fn built_in(to: SocketAddr, url: &str) -> Outcome<String> {
    let what = format!("the built-in client cannot get {url}");
    let mut stream = TcpStream::connect_timeout(&to, SILENCE).doing(&what)?;
    stream.set_read_timeout(Some(SILENCE)).doing(&what)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {to}\r\nUser-Agent: tunstack-demo\r\n\r\n");
    stream.write_all(request.as_bytes()).doing(&what)?;
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut buffer).doing(&what)?;
        read.extend_from_slice(&buffer[..n]);
        let Some((head, length)) = Head::parse(&read).map_err(failed)? else {
            if n == 0 {
                return Err(failed(format_args!("{what}: the connection was closed")));
            }
            continue;
        };
        let mut decoder = Decoder::new(head.framing("GET").map_err(failed)?);
        let mut body = Vec::new();
        decoder.take(&read[length..], |part| body.extend_from_slice(part)).map_err(failed)?;
        if decoder.is_done() || n == 0 && decoder.is_done_at_close() {
            let (got, first) = (octets(body.len() as u64), first_line(&body));
            return Ok(format!("the built-in kernel client got {url}, {got}: {first}"));
        }
        if n == 0 {
            return Err(failed(format_args!("{what}: the answer is cut")));
        }
    }
}

fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.lines().next().unwrap_or_default().chars().take(60).collect()
}
