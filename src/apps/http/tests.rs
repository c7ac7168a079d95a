use super::*;

fn head(text: &str) -> Head {
    let (head, length) = Head::parse(text.as_bytes()).expect("well formed").expect("complete");
    assert_eq!(length, text.len());
    head
}

#[test]
fn head_is_read_once_it_is_complete() {
    let text = "GET /a?b=c HTTP/1.1\r\nHost: 10.9.0.2\r\nX-Empty:\r\nAccept:  */* \r\n\r\n";
    for end in 0..text.len() {
        assert_eq!(Head::parse(&text.as_bytes()[..end]), Ok(None), "{end}");
    }
    let head = head(text);
    assert_eq!(head.start, ["GET", "/a?b=c", "HTTP/1.1"]);
    assert_eq!(head.field("host"), Some("10.9.0.2"));
    assert_eq!(head.field("ACCEPT"), Some("*/*"));
    assert_eq!(head.field("x-empty"), Some(""));
    assert_eq!(head.field("cookie"), None);
}

#[test]
fn malformed_heads_are_refused() {
    for text in [
        "\r\n\r\n",
        "GET\r\n\r\n",
        " / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n continued: c\r\n\r\n",
        "GET / HTTP/1.1\r\nBad Name: c\r\n\r\n",
        "GET / HTTP/1.1\r\n: c\r\n\r\n",
    ] {
        assert!(Head::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(Head::parse(b"GET / HTTP/1.1\r\nA: \xff\r\n\r\n").is_err());
    assert!(Head::parse(&vec![b'a'; HEAD_MAX + 4]).is_err());
    assert_eq!(Head::parse(&vec![b'a'; HEAD_MAX]), Ok(None));
}

#[test]
fn connection_is_kept_as_version_and_field_say() {
    let keeps = |text: &str| {
        let head = head(text);
        head.keeps_alive(&head.start[2].clone())
    };
    assert!(keeps("GET / HTTP/1.1\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n"));
    assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
    assert!(keeps("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

#[test]
fn framing_follows_status_and_fields() {
    let framing = |text: &str, method| head(text).framing(method);
    assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET"), Ok(Framing::Length(5)));
    assert_eq!(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD"), Ok(Framing::Length(0)));
    assert_eq!(framing("HTTP/1.1 204\r\n\r\n", "GET"), Ok(Framing::Length(0)));
    assert_eq!(framing("HTTP/1.0 200 OK\r\n\r\n", "GET"), Ok(Framing::UntilClose));
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: Chunked\r\n\r\n";
    assert_eq!(framing(both, "GET"), Ok(Framing::Chunked));
    for bad in [
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "SSH-2.0 200 x\r\n\r\n",
    ] {
        assert!(framing(bad, "GET").is_err(), "{bad:?}");
    }
}

fn decode(framing: Framing, input: &[u8], step: usize) -> Result<(Vec<u8>, usize, Decoder), HttpError> {
    let (mut decoder, mut body, mut taken) = (Decoder::new(framing), Vec::new(), 0);
    for piece in input.chunks(step) {
        taken += decoder.take(piece, |part| body.extend_from_slice(part))?;
    }
    Ok((body, taken, decoder))
}

#[test]
fn bodies_are_the_same_in_pieces_of_any_size() {
    let chunked = b"5\r\nhello\r\n1;name=value\r\n \r\n005\r\nworld\r\n0\r\nTrailer: x\r\n\r\nNEXT";
    for step in 1..=chunked.len() {
        let (body, taken, decoder) = decode(Framing::Chunked, chunked, step).expect("well formed");
        assert_eq!(body, b"hello world", "{step}");
        assert!(decoder.is_done());
        assert_eq!(&chunked[taken..], b"NEXT");
        let (body, taken, decoder) = decode(Framing::Length(5), b"helloNEXT", step).expect("well formed");
        assert_eq!((body.as_slice(), taken, decoder.is_done()), (&b"hello"[..], 5, true));
    }
    let (body, _, decoder) = decode(Framing::UntilClose, b"to the end", 3).expect("well formed");
    assert_eq!(body, b"to the end");
    assert!(!decoder.is_done() && decoder.is_done_at_close());
    let (_, _, cut) = decode(Framing::Length(5), b"hell", 4).expect("well formed");
    assert!(!cut.is_done_at_close());
}

#[test]
fn malformed_chunks_are_refused() {
    for bad in [&b"x\r\n"[..], b"\r\n", b"-1\r\n", b"5\r\nhelloX\r\n", b"fffffffffffffffff\r\n", &[b'1'; 400]]
    {
        assert!(decode(Framing::Chunked, bad, 7).is_err(), "{bad:?}");
    }
}

#[test]
fn addresses_of_pages_have_host_port_and_target() {
    let url = |text: &str| Url::parse(text).expect(text);
    let expect = |host: &str, port, target: &str| Url { host: host.into(), port, target: target.into() };
    assert_eq!(url("http://10.9.0.1/a/b?c#d"), expect("10.9.0.1", 80, "/a/b?c"));
    assert_eq!(url("HTTP://host:8080"), expect("host", 8080, "/"));
    assert_eq!(url("host?x"), expect("host", 80, "/?x"));
    assert_eq!(url("http://[fd09::1]:81/"), expect("fd09::1", 81, "/"));
    assert_eq!(url("http://[fd09::1]:81/").authority(), "[fd09::1]:81");
    for bad in [
        "http://",
        "http:///x",
        "http://a:0/",
        "http://a:99999/",
        "http://u@h/",
        "http://[::1/",
        "http://a/b c",
    ] {
        assert!(Url::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(
        Url::parse("https://a/").expect_err("no TLS"),
        "'https' is not spoken here: only http:// addresses can be fetched"
    );
}

#[test]
fn redirections_are_resolved_against_the_page() {
    let page = Url::parse("http://host:8080/a/b?c").expect("valid");
    for (location, expected) in [
        ("http://other/x", "http://other/x"),
        ("//other/x", "http://other/x"),
        ("/x", "http://host:8080/x"),
        ("x?y", "http://host:8080/a/x?y"),
    ] {
        assert_eq!(page.join(location), Url::parse(expected), "{location}");
    }
}

#[test]
fn ports_are_split_off_every_form_of_host() {
    assert_eq!(split_port("a:5"), Some(("a", Some(5))));
    assert_eq!(split_port("a"), Some(("a", None)));
    assert_eq!(split_port("fd09::1"), Some(("fd09::1", None)));
    assert_eq!(split_port("[fd09::1]:5"), Some(("fd09::1", Some(5))));
    assert_eq!(split_port("a:0"), None);
    assert_eq!(split_port("a:x"), None);
    assert_eq!(split_port("[fd09::1]x"), None);
}
