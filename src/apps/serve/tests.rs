use super::*;
use crate::link::{Device, wire};
use crate::socket::UdpSocket;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread::JoinHandle;

const SERVER: &str = "10.9.0.2";

/// A server with these services and a client's stack, on a wire in memory.
struct Pair {
    client: Stack,
    stop: Stopper,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Pair {
    fn new(services: &[Service]) -> Pair {
        let (ours, theirs) = wire(1500).expect("descriptors");
        let stack = |device: Device, address: &str| {
            let address = address.parse().expect("valid");
            Stack::builder().device(device).address(address).start().expect("a stack")
        };
        let (server, client) = (stack(ours, "10.9.0.2/24"), stack(theirs, "10.9.0.1/24"));
        let ports: Vec<_> = services.iter().map(|service| (*service, service.port())).collect();
        let mut serving = Server::new(&server, &ports).expect("free ports");
        let stop = serving.stopper();
        let server = std::thread::spawn(move || {
            let _stack = server;
            serving.run()
        });
        Pair { client, stop, server: Some(server) }
    }

    fn connect(&self, service: Service) -> TcpStream {
        let stream =
            TcpStream::connect(&self.client, format!("{SERVER}:{}", service.port())).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("any timeout");
        stream
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.server.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(Ok(())))), "{ended:?}");
        }
    }
}

fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("to the end");
    all
}

#[test]
fn echo_gives_everything_back_although_nobody_reads_at_first() {
    let pair = Pair::new(&[Service::Echo]);
    let mut stream = pair.connect(Service::Echo);
    let data: Vec<u8> = (0..20_000_000u32).map(|i| (i % 251) as u8).collect();
    let (writer, sent) = (stream.try_clone().expect("a handle"), data.clone());
    // Far more than all buffers hold: the server has to wait for us before it reads on.
    let writing = std::thread::spawn(move || {
        (&writer).write_all(&sent).expect("taken");
        writer.shutdown(Shutdown::Write).expect("open");
    });
    std::thread::sleep(Duration::from_millis(100));
    assert!(read_all(&mut stream) == data);
    writing.join().expect("wrote");
}

#[test]
fn daytime_closes_and_does_not_wait_for_ever() {
    let pair = Pair::new(&[Service::Daytime]);
    let mut stream = pair.connect(Service::Daytime);
    assert!(read_all(&mut stream).ends_with(b"-UTC\r\n"));
    // We say nothing and do not close: after a while the server forgets us, and then resets what comes.
    let began = Instant::now();
    while stream.write_all(b"still here").is_ok() {
        assert!(began.elapsed() < LINGER * 5, "the connection is still held");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn hundreds_of_connections_do_not_disturb_each_other() {
    let pair = Pair::new(&[Service::Echo, Service::Chargen]);
    let mut busy = pair.connect(Service::Chargen);
    let mut all: Vec<TcpStream> = (0..300).map(|_| pair.connect(Service::Echo)).collect();
    for (number, stream) in all.iter_mut().enumerate() {
        stream.write_all(&number.to_be_bytes()).expect("taken");
    }
    for (number, stream) in all.iter_mut().enumerate() {
        let mut back = [0; size_of::<usize>()];
        stream.read_exact(&mut back).expect("echoed");
        assert_eq!(usize::from_be_bytes(back), number);
    }
    busy.read_exact(&mut vec![0; 1_000_000]).expect("endless");
}

#[test]
fn http_answers_requests_in_any_pieces_and_closes_when_asked() {
    let pair = Pair::new(&[Service::Http]);
    let mut stream = pair.connect(Service::Http);
    for octet in b"GET /time HTTP/1.1\r\nHost: x\r\n\r\n" {
        stream.write_all(&[*octet]).expect("taken");
    }
    let mut buffer = [0; 4096];
    let n = stream.read(&mut buffer).expect("an answer");
    assert!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n") && buffer[..n].ends_with(b" GMT\n"));
    stream.write_all(b"GET /bytes/5000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("taken");
    let answer = read_all(&mut stream);
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    assert_eq!(answer.len() - body, 5_000_000);
    // What is no request is refused, and that answer is not lost to a reset though more is under way.
    let mut stream = pair.connect(Service::Http);
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").expect("taken");
    stream.write_all(&[b'x'; 100_000]).expect("taken");
    assert!(read_all(&mut stream).starts_with(b"HTTP/1.1 405 Method Not Allowed\r\n"));
}

#[test]
fn http_answers_pipelined_requests_in_order() {
    let pair = Pair::new(&[Service::Http]);
    let mut stream = pair.connect(Service::Http);
    let request = |target: usize| format!("GET /bytes/{target} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut requests: String = (100..130).map(request).collect();
    requests += "GET /time HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).expect("taken");
    let answers = String::from_utf8(read_all(&mut stream)).expect("text");
    let lengths: Vec<&str> =
        answers.split("Content-Length: ").skip(1).filter_map(|rest| rest.lines().next()).collect();
    let expected: Vec<String> = (100..130).map(|length| length.to_string()).collect();
    assert_eq!(lengths[..lengths.len() - 1], expected);
    assert!(answers.ends_with(" GMT\n"), "the last one is the time");
}

#[test]
fn member_who_does_not_read_is_dropped_and_the_others_go_on() {
    let pair = Pair::new(&[Service::Chat]);
    let deaf = pair.connect(Service::Chat);
    let mut talker = pair.connect(Service::Chat);
    let reader = talker.try_clone().expect("a handle");
    let reading = std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        // Until the server says that the deaf one is gone.
        while !String::from_utf8_lossy(&text).contains("* guest1 left") {
            let n = (&reader).read(&mut buffer).expect("the talker is served");
            assert!(n > 0);
            text = [&text[text.len().saturating_sub(40)..], &buffer[..n]].concat();
        }
    });
    let line = [vec![b'x'; 900], vec![b'\n']].concat();
    let began = Instant::now();
    while !reading.is_finished() && began.elapsed() < Duration::from_secs(30) {
        talker.write_all(&line).expect("taken");
    }
    reading.join().expect("the deaf one was dropped");
    drop(deaf);
}

#[test]
fn datagrams_are_answered_from_the_address_that_was_asked() {
    let pair = Pair::new(&[Service::Echo, Service::Discard]);
    let socket = UdpSocket::bind(&pair.client, "10.9.0.1:0").expect("free");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("any timeout");
    let mut buffer = [0; 100];
    socket.send_to(b"hello", "10.9.0.2:7").expect("sent");
    let (n, from) = socket.recv_from(&mut buffer).expect("an answer");
    assert_eq!((&buffer[..n], from.to_string().as_str()), (&b"hello"[..], "10.9.0.2:7"));
    let service = UdpSocket::bind(&pair.client, "10.9.0.1:19").expect("free");
    service.set_read_timeout(Some(Duration::from_millis(200))).expect("any timeout");
    service.send_to(b"hello", "10.9.0.2:7").expect("sent");
    assert!(service.recv_from(&mut buffer).is_err(), "never to the port of chargen");
}

#[test]
fn ports_are_checked_before_anything_runs() {
    let stack = Stack::builder().start().expect("a stack");
    let taken = Server::new(&stack, &[(Service::Echo, 7), (Service::Http, 7)]).err().expect("twice");
    assert_eq!(taken.message(), "port 7 is in use: choose another for http, as --port http=8007");
    assert_eq!(taken.code(), 2);
}
