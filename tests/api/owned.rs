//! Octets that change hands instead of being copied.

use crate::wires::{connected, pair, pair_of};
use bytes::Bytes;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// Whatever is received is kept to the end: memory that is lent must not be written again.
#[test]
fn all_octets_arrive_and_stay_as_they_are() {
    for mtu in [1500, 65_535] {
        let (one, other) = pair_of(mtu);
        let (client, server) = connected(&one, &other);
        let whole = Bytes::from(pattern(8 << 20));
        let mut rest = whole.clone();
        let sender = std::thread::spawn(move || {
            let mut first = rest.split_to(100);
            assert_eq!(client.send_owned(&mut first).expect("sent"), 100);
            assert_eq!(client.send_owned(&mut rest).expect("sent"), (8 << 20) - 100);
            assert!(first.is_empty() && rest.is_empty());
            client.shutdown(Shutdown::Write).expect("open");
            client
        });
        let mut kept: Vec<Bytes> = Vec::new();
        loop {
            let most = if kept.len().is_multiple_of(3) { 10_000 } else { 1 << 20 };
            let data = server.recv_owned(most).expect("received");
            assert!(data.len() <= most);
            if data.is_empty() {
                break;
            }
            kept.push(data);
        }
        assert!(kept.concat() == whole, "MTU {mtu}");
        drop(sender.join().expect("sender"));
    }
}

#[test]
fn copies_and_owned_octets_keep_their_order() {
    let (one, other) = pair();
    let (mut client, mut server) = connected(&one, &other);
    let text = pattern(100_000);
    client.write_all(&text[..10]).expect("sent");
    client.send_owned(&mut Bytes::from(text[10..50_000].to_vec())).expect("sent");
    client.write_all(&text[50_000..]).expect("sent");
    drop(client);
    let mut got = vec![0; 1000];
    server.read_exact(&mut got).expect("received");
    got.extend_from_slice(&server.recv_owned(20_000).expect("received"));
    server.read_to_end(&mut got).expect("received");
    assert!(got == text);
    assert!(server.recv_owned(1).expect("the end").is_empty());
}

/// Large segments over many small pieces.
#[test]
fn few_and_many_octets_in_turn_arrive_as_they_were_sent() {
    let (one, other) = pair_of(65_535);
    let (mut client, mut server) = connected(&one, &other);
    let text = pattern(4 << 20);
    let whole = text.clone();
    let sender = std::thread::spawn(move || {
        for part in text.chunks(16_400) {
            client.write_all(&part[..10]).expect("sent");
            client.send_owned(&mut Bytes::copy_from_slice(&part[10..])).expect("sent");
        }
        assert_eq!(client.info().expect("open").total_retrans, 0);
    });
    let mut got = Vec::new();
    server.read_to_end(&mut got).expect("received");
    sender.join().expect("all sent");
    assert!(got == whole);
}

#[test]
fn who_must_not_wait_gives_away_what_fits() {
    let (one, other) = pair();
    let (client, server) = connected(&one, &other);
    server.set_nonblocking(true).expect("set");
    client.set_nonblocking(true).expect("set");
    assert_eq!(server.recv_owned(10).unwrap_err().kind(), ErrorKind::WouldBlock);
    let (whole, mut left) = (64 << 20, Bytes::from(vec![7; 64 << 20]));
    let taken = client.send_owned(&mut left).expect("some");
    assert!(taken > 0 && taken + left.len() == whole && !left.is_empty());
    let refused = loop {
        if let Err(error) = client.send_owned(&mut left) {
            break error;
        }
    };
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    server.set_nonblocking(false).expect("set");
    let mut got = 0;
    while got < whole - left.len() {
        let data = server.recv_owned(1 << 20).expect("received");
        assert!(data.iter().all(|&octet| octet == 7));
        got += data.len();
    }
    assert_eq!(got, whole - left.len(), "no more and no less than was taken");
}
