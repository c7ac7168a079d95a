use super::*;

fn table() -> (Datagrams, Config, Rng) {
    let mut rng = Rng::from_seed(1);
    (Datagrams::new(&mut rng), Config::default(), rng)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn bound(table: &mut (Datagrams, Config, Rng), local: &str) -> DatagramId {
    let any = if local.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let id = table.0.open(1, addr(any).ip(), &table.1);
    table.0.bind(&table.1, &mut table.2, id, addr(local)).expect("free");
    id
}

fn datagram(len: usize) -> Datagram {
    Datagram { from: addr("10.0.0.2:9"), info: PacketInfo::default(), data: vec![7; len].into() }
}

#[test]
fn the_most_specific_socket_gets_the_datagram() {
    let mut t = table();
    let v6 = bound(&mut t, "[::]:53");
    assert_eq!(t.0.find(addr("10.0.0.1:53"), addr("10.0.0.2:9")), Some(v6));
    t.0.get_mut(v6).expect("open").flags.v6_only = true;
    t.0.close(v6);
    let any = bound(&mut t, "0.0.0.0:53");
    assert_eq!(t.0.find(addr("10.0.0.1:53"), addr("10.0.0.2:9")), Some(any));
    assert_eq!(t.0.find(addr("10.0.0.1:54"), addr("10.0.0.2:9")), None);
    t.0.close(any);
    let exact = bound(&mut t, "10.0.0.1:53");
    let other = bound(&mut t, "10.0.0.3:53");
    assert_eq!(t.0.find(addr("10.0.0.1:53"), addr("10.0.0.2:9")), Some(exact));
    t.0.connect(exact, addr("10.0.0.1:0").ip(), addr("10.0.0.2:9"));
    assert_eq!(t.0.find(addr("10.0.0.1:53"), addr("10.0.0.2:9")), Some(exact));
    assert_eq!(t.0.find(addr("10.0.0.1:53"), addr("10.0.0.2:10")), None, "connected: only its peer");
    assert_eq!(t.0.find(addr("10.0.0.3:53"), addr("10.0.0.2:10")), Some(other));
    t.0.dissolve(exact);
    assert_eq!(t.0.find(addr("10.0.0.1:53"), addr("10.0.0.2:10")), Some(exact));
}

#[test]
fn a_full_queue_refuses_and_reading_makes_room() {
    let mut t = table();
    let id = bound(&mut t, "0.0.0.0:53");
    t.0.get_mut(id).expect("open").rcv_buf = 4096;
    let mut taken = 0;
    while t.0.deliver(id, datagram(1000)) {
        taken += 1;
    }
    assert_eq!(taken, 3);
    let socket = t.0.get_mut(id).expect("open");
    assert_eq!(socket.receive(true).expect("waiting").expect("a datagram").data.len(), 1000);
    socket.receive(false).expect("waiting");
    assert!(t.0.deliver(id, datagram(1000)));
    assert_eq!(t.0.pop_wake(), Some((1, Readiness::READABLE)));
    assert_eq!(t.0.pop_wake(), None, "one wake for the burst");
}

/// conformance: 1122-4.1.3.3-icmp-up
#[test]
fn an_icmp_error_is_reported_once_to_the_connected_sender() {
    let mut t = table();
    let id = bound(&mut t, "10.0.0.1:53");
    let flow = Flow { local: addr("10.0.0.1:53"), remote: addr("10.0.0.2:9") };
    let refused = QueuedError {
        errno: Errno::ECONNREFUSED,
        reporter: addr("10.0.0.2:0").ip(),
        kind: (3, 3),
        destination: flow.remote,
    };
    assert!(t.0.on_icmp(&flow, true, refused.clone()));
    assert_eq!(t.0.get_mut(id).expect("open").take_error(), None, "unconnected: silent, as on Linux");
    t.0.connect(id, flow.local.ip(), flow.remote);
    assert!(t.0.on_icmp(&flow, true, refused.clone()));
    let socket = t.0.get_mut(id).expect("open");
    assert!(socket.readiness().contains(Readiness::ERROR));
    assert_eq!(socket.receive(false).unwrap_err(), Errno::ECONNREFUSED);
    assert_eq!(socket.receive(false).unwrap_err(), Errno::EAGAIN);
    let elsewhere = Flow { local: addr("10.0.0.1:54"), remote: flow.remote };
    assert!(!t.0.on_icmp(&elsewhere, true, refused));
}

#[test]
fn a_broadcast_reaches_every_socket_on_the_port() {
    let mut t = table();
    let ids: Vec<DatagramId> = (0..2)
        .map(|_| {
            let id = t.0.open(1, addr("0.0.0.0:0").ip(), &t.1);
            t.0.get_mut(id).expect("open").flags.reuse_addr = true;
            t.0.bind(&t.1, &mut t.2, id, addr("0.0.0.0:67")).expect("shared");
            id
        })
        .collect();
    assert_eq!(t.0.find_all(addr("255.255.255.255:67"), addr("10.0.0.2:9")), ids);
    assert!(t.0.find_all(addr("224.1.1.1:67"), addr("10.0.0.2:9")).is_empty(), "not joined");
    t.0.get_mut(ids[1]).expect("open").groups.push(addr("224.1.1.1:0").ip());
    assert_eq!(t.0.find_all(addr("224.1.1.1:67"), addr("10.0.0.2:9")), [ids[1]]);
}

/// conformance: 6056-3.5-udp
#[test]
fn udp_ports_are_spread_over_the_range() {
    let mut t = table();
    let seen: std::collections::HashSet<u16> = (0..200)
        .map(|_| {
            let id = bound(&mut t, "0.0.0.0:0");
            t.0.get(id).expect("open").local.port()
        })
        .collect();
    assert_eq!(seen.len(), 200);
    let (low, high) = (seen.iter().min().expect("some"), seen.iter().max().expect("some"));
    assert!(high - low > 20_000, "{low}..{high}");
}
