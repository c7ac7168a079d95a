//! What the http service answers: files below a folder, or a page about the stack.

use crate::apps::http::Head;
use crate::apps::service::http_date;
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// An answer.
pub struct Page {
    /// Status line and fields, with the empty line after them.
    pub head: Vec<u8>,
    pub body: Body,
    pub keep_alive: bool,
}

/// The body of an answer.
pub enum Body {
    Text(Vec<u8>),
    /// So many octets of a file.
    File(File, u64),
    /// So many `0` characters.
    Zeros(u64),
}

const WELCOME: &str = "<!DOCTYPE html>\n<title>tunstack</title>\n<h1>Hello from tunstack</h1>\n\
<p>This page came over a TCP/IP stack in user space: the packets went through a TUN device, and no TCP of this \
machine's kernel was involved at this end.\n<p>There is also <a href=\"/time\">the time</a>, and \
<a href=\"/bytes/1000000\">/bytes/N</a> for as many bytes as you like.\n";

/// The answer to a request.
pub fn answer(request: &Head, root: Option<&Path>) -> Page {
    let [method, target, version] = &request.start;
    let keep_alive = request.keeps_alive(version);
    if !version.starts_with("HTTP/1.") {
        return refuse("only HTTP/1 is spoken here");
    }
    // RFC 9112 §3.2.
    if version == "HTTP/1.1" && request.field("Host").is_none() {
        return refuse("the Host field is missing");
    }
    let bodyless = matches!(request.field("Content-Length"), None | Some("0"))
        && request.field("Transfer-Encoding").is_none();
    if !matches!(method.as_str(), "GET" | "HEAD") || !bodyless {
        // What follows the head is not read, so the connection cannot go on.
        let (status, allow) = ("405 Method Not Allowed", "Allow: GET, HEAD\r\n");
        return page(status, "text/plain", allow, Body::Text(b"only GET and HEAD\n".to_vec()), false);
    }
    let path = path_of(target);
    let mut page = match root {
        Some(root) => file(root, path, keep_alive),
        None => built_in(path, keep_alive),
    };
    if method == "HEAD" {
        page.body = Body::Text(Vec::new());
    }
    page
}

/// The path of a target in origin-form or absolute-form (RFC 9112 §3.2.2).
fn path_of(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    match target.split('?').next() {
        None | Some("") => "/",
        Some(path) => path,
    }
}

/// The answer to what is no request.
pub fn refuse(why: &str) -> Page {
    page("400 Bad Request", "text/plain", "", Body::Text(format!("{why}\n").into_bytes()), false)
}

fn built_in(path: &str, keep_alive: bool) -> Page {
    let text = |kind, text: &str| page("200 OK", kind, "", Body::Text(text.as_bytes().to_vec()), keep_alive);
    match path {
        "/" | "/index.html" => text("text/html; charset=utf-8", WELCOME),
        "/time" => text("text/plain", &format!("{}\n", http_date(SystemTime::now()))),
        _ => match path.strip_prefix("/bytes/").and_then(|number| number.parse().ok()) {
            Some(count) => page("200 OK", "application/octet-stream", "", Body::Zeros(count), keep_alive),
            None => missing(keep_alive),
        },
    }
}

fn missing(keep_alive: bool) -> Page {
    page("404 Not Found", "text/plain", "", Body::Text(b"there is nothing here\n".to_vec()), keep_alive)
}

fn file(root: &Path, path: &str, keep_alive: bool) -> Page {
    let found = below(root, path).and_then(|mut path| {
        if path.is_dir() {
            path.push("index.html");
        }
        // Links may lead out of the folder.
        let path = path
            .canonicalize()
            .ok()
            .filter(|path| root.canonicalize().is_ok_and(|root| path.starts_with(root)))?;
        let file = File::open(&path).ok()?;
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((file, metadata.len(), kind(&path)))
    });
    match found {
        Some((file, length, kind)) => page("200 OK", kind, "", Body::File(file, length), keep_alive),
        None => missing(keep_alive),
    }
}

/// The file that a path of an address means; `None` when it leads out of `root`.
fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let path = unescaped(path)?;
    let relative = Path::new(path.trim_start_matches('/'));
    let inside = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (inside && !path.contains('\0')).then(|| root.join(relative))
}

/// `%20` and the like, replaced.
fn unescaped(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let digit = |octet: u8| char::from(octet).to_digit(16);
                (digit(rest.next()?)? * 16 + digit(rest.next()?)?) as u8
            }
            octet => octet,
        });
    }
    String::from_utf8(octets).ok()
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("css") => "text/css",
        Some("js") => "text/javascript",
        Some("json") => "application/json",
        Some("txt" | "md" | "rs" | "toml") => "text/plain; charset=utf-8",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn page(status: &str, kind: &str, more: &str, body: Body, keep_alive: bool) -> Page {
    let length = match &body {
        Body::Text(text) => text.len() as u64,
        Body::File(_, length) | Body::Zeros(length) => *length,
    };
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let head = format!(
        "HTTP/1.1 {status}\r\nServer: tunstack/{}\r\nDate: {}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         {more}Connection: {connection}\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
        http_date(SystemTime::now()),
    );
    Page { head: head.into_bytes(), body, keep_alive }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_to(request: &str, root: Option<&Path>) -> (String, Option<u64>, bool) {
        let (head, _) = Head::parse(request.as_bytes()).expect("well formed").expect("complete");
        let page = answer(&head, root);
        let length = match &page.body {
            Body::Text(text) => text.len() as u64,
            Body::File(_, length) | Body::Zeros(length) => *length,
        };
        let (answer, _) = Head::parse(&page.head).expect("well formed").expect("complete");
        let status = answer.start[1..].join(" ");
        let promised = answer.field("Content-Length").and_then(|length| length.parse().ok());
        assert!(promised == Some(length) || length == 0, "{promised:?} {length}");
        (status, promised, page.keep_alive)
    }

    #[test]
    fn requests_are_answered_or_refused() {
        let get = |path: &str| answer_to(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"), None);
        assert_eq!(get("/"), ("200 OK".into(), Some(WELCOME.len() as u64), true));
        assert_eq!(get("/bytes/12345"), ("200 OK".into(), Some(12345), true));
        assert_eq!(get("/time?x").0, "200 OK");
        assert_eq!(get("http://10.9.0.2/time").0, "200 OK");
        assert_eq!(get("http://10.9.0.2").0, "200 OK");
        assert_eq!(get("/nothing").0, "404 Not Found");
        assert_eq!(get("/bytes/-1").0, "404 Not Found");
        let refused = |text: &str| answer_to(text, None);
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n").0, "400 Bad Request");
        assert_eq!(refused("GET / HTTP/2\r\n\r\n").0, "400 Bad Request");
        let post = refused("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
        assert_eq!((post.0.as_str(), post.2), ("405 Method Not Allowed", false));
        let smuggled = refused("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(!smuggled.2, "what follows cannot be told from a request");
        assert!(!refused("GET / HTTP/1.0\r\n\r\n").2);
        assert_eq!(refused("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").1, Some(WELCOME.len() as u64));
    }

    #[test]
    fn paths_stay_inside_the_folder() {
        let root = Path::new("/srv");
        for (path, expected) in [
            ("/a/b.txt", Some("/srv/a/b.txt")),
            ("/", Some("/srv/")),
            ("/a%20b", Some("/srv/a b")),
            ("/%2e%2e/etc/passwd", None),
            ("/../etc/passwd", None),
            ("/a/../../x", None),
            ("//etc/passwd", Some("/srv/etc/passwd")),
            ("/%00", None),
            ("/%zz", None),
            ("/%f", None),
        ] {
            assert_eq!(below(root, path), expected.map(PathBuf::from), "{path}");
        }
    }
}
