//! `tunstack get`: a page or file over HTTP/1.1.

use super::cli;
use super::client::{Client, addresses, connect};
use super::failure::{Doing as _, Failure, Outcome, plain};
use super::http::{Decoder, HEAD_MAX, Head, Url};
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

/// Redirections followed at most.
const REDIRECTIONS: usize = 5;

/// Runs `tunstack get`.
pub fn run(options: &cli::Get) -> Outcome {
    let url = Url::parse(&options.url).map_err(Failure::input)?;
    let client = Client::start(&options.device, options.output.is_none())?;
    let result = follow(&client, url, options);
    let finished = client.finish();
    result.and(finished)
}

fn follow(client: &Client, mut url: Url, options: &cli::Get) -> Outcome {
    for _ in 0..=REDIRECTIONS {
        match fetch(client, &url, options)? {
            Fetched::Done => return Ok(()),
            Fetched::Elsewhere(location) => {
                url = url
                    .join(&location)
                    .map_err(|why| Failure::run(format!("the server sends us elsewhere: {why}")))?;
                errln!("redirected to http://{}{}", url.authority(), url.target);
            }
        }
    }
    Err(Failure::run(format!("gave up after {REDIRECTIONS} redirections")))
}

enum Fetched {
    Done,
    Elsewhere(String),
}

fn fetch(client: &Client, url: &Url, options: &cli::Get) -> Outcome<Fetched> {
    let to = addresses(client.stack(), &url.host, url.port)?;
    let patience = Duration::from_secs(options.timeout);
    let mut stream = connect(client.stack(), &to, Some(patience))?;
    stream.set_read_timeout(Some(patience)).doing("cannot set a timeout")?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tunstack/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.target,
        url.authority(),
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).doing("cannot send the request")?;
    let (head, rest) = read_head(&mut stream, patience)?;
    let status = head.status().map_err(Failure::run)?;
    if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, head.field("Location")) {
        return Ok(Fetched::Elsewhere(location.to_owned()));
    }
    let mut output: Box<dyn Write> = match &options.output {
        Some(path) => Box::new(File::create(path).map_err(|error| {
            Failure::input(format!(
                "cannot write {}: {}: choose another --output",
                path.display(),
                plain(&error)
            ))
        })?),
        None => Box::new(io::stdout().lock()),
    };
    if options.include {
        let fields = head.fields.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let text = format!("{}\n{}\n", head.start.join(" "), fields.collect::<String>());
        output.write_all(text.as_bytes()).doing("cannot write")?;
    }
    body(&mut stream, patience, (&head, &rest), &mut output)?;
    output.flush().doing("cannot write")?;
    match status {
        400.. => Err(Failure::run(format!("the server says {}", head.start[1..].join(" ")))),
        _ => Ok(Fetched::Done),
    }
}

/// Reads the answer's head, past those that only say that there is more to come.
fn read_head(stream: &mut impl Read, patience: Duration) -> Outcome<(Head, Vec<u8>)> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match Head::parse(&read).map_err(|why| Failure::run(format!("the answer is no HTTP/1: {why}")))? {
            Some((head, length)) => {
                read.drain(..length);
                if !matches!(head.status().map_err(Failure::run)?, 100..=199) {
                    return Ok((head, read));
                }
            }
            None => {
                let n = stream.read(&mut buffer).map_err(|error| silence(&error, patience))?;
                if n == 0 || read.len() > HEAD_MAX {
                    return Err(Failure::run("the server closed the connection without an answer"));
                }
                read.extend_from_slice(&buffer[..n]);
            }
        }
    }
}

fn body(
    stream: &mut impl Read,
    patience: Duration,
    (head, rest): (&Head, &[u8]),
    output: &mut dyn Write,
) -> Outcome {
    let mut decoder = Decoder::new(head.framing("GET").map_err(Failure::run)?);
    let mut written = Ok(());
    let mut buffer = vec![0; 64 << 10];
    let mut take = |decoder: &mut Decoder, data: &[u8]| -> Outcome {
        let taken = decoder.take(data, |part| {
            if written.is_ok() {
                written = output.write_all(part);
            }
        });
        taken.map_err(Failure::run)?;
        std::mem::replace(&mut written, Ok(())).doing("cannot write")
    };
    take(&mut decoder, rest)?;
    while !decoder.is_done() {
        let n = stream.read(&mut buffer).map_err(|error| silence(&error, patience))?;
        if n == 0 {
            return match decoder.is_done_at_close() {
                true => Ok(()),
                false => Err(Failure::run("the server closed the connection in the middle of the answer")),
            };
        }
        take(&mut decoder, &buffer[..n])?;
    }
    Ok(())
}

fn silence(error: &io::Error, patience: Duration) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::run(format!(
            "the server said nothing for {} s: --timeout gives it more",
            patience.as_secs()
        )),
        _ => Failure::run(format!("the connection ended: {}", plain(error))),
    }
}
