use super::*;

fn claim(id: u32, addr: &str) -> Binding<u32> {
    let addr = addr.parse().expect("an address");
    Binding { id, addr, v6_only: false, reuse_addr: false, reuse_port: false, listening: false }
}

fn table(rule: ReuseRule) -> Ports<u32> {
    Ports::new(rule, &mut Rng::from_seed(1))
}

#[test]
fn wildcards_overlap_their_family_and_dual_stack_both() {
    let cases = [
        ("0.0.0.0", "10.0.0.1", true),
        ("10.0.0.1", "10.0.0.2", false),
        ("::", "10.0.0.1", true),
        ("::", "0.0.0.0", true),
        ("fd00::1", "0.0.0.0", false),
        ("fd00::1", "::", true),
    ];
    for (a, b, overlaps) in cases {
        let mut ports = table(ReuseRule::Always);
        ports.bind(80, claim(1, a));
        assert_eq!(!ports.is_free(80, &claim(2, b)), overlaps, "{a} then {b}");
        let only = Binding { v6_only: true, ..claim(2, "::") };
        assert_eq!(ports.is_free(80, &only), a.contains('.'), "{a} then [::] v6only");
    }
}

#[test]
fn reuse_addr_shares_a_tcp_port_unless_somebody_listens() {
    let mut ports = table(ReuseRule::UnlessListening);
    let reuse = |id| Binding { reuse_addr: true, ..claim(id, "0.0.0.0") };
    ports.bind(80, reuse(1));
    assert!(ports.is_free(80, &reuse(2)));
    assert!(!ports.is_free(80, &claim(2, "0.0.0.0")), "both must ask for it");
    ports.update(80, 1, |binding| binding.listening = true);
    assert!(!ports.is_free(80, &reuse(2)));
    ports.release(80, 1);
    assert!(ports.is_free(80, &claim(2, "0.0.0.0")));
}

#[test]
fn a_connection_keeps_its_port_from_a_bind_without_reuse() {
    let mut ports = table(ReuseRule::UnlessListening);
    let local = "10.0.0.1:80".parse().expect("an address");
    ports.add_connection(local, true);
    assert!(!ports.is_free(80, &claim(1, "0.0.0.0")));
    assert!(ports.is_free(80, &Binding { reuse_addr: true, ..claim(1, "0.0.0.0") }));
    ports.add_connection(local, false);
    assert!(!ports.is_free(80, &Binding { reuse_addr: true, ..claim(1, "0.0.0.0") }));
    ports.remove_connection(local, false);
    ports.remove_connection(local, true);
    assert!(ports.is_free(80, &claim(1, "0.0.0.0")));
}

/// conformance: 6056-3.3-unique
#[test]
fn ports_to_one_peer_run_out_while_another_peer_still_has_some() {
    let mut config = Config::default();
    config.set("ip_local_port_range", "40000 40003").expect("a range");
    let mut ports = table(ReuseRule::UnlessListening);
    let local: IpAddr = "10.0.0.1".parse().expect("an address");
    let (one, two) = ("10.0.0.2:80".parse().expect("valid"), "10.0.0.3:80".parse().expect("valid"));
    let mut used = Vec::new();
    while let Some(port) = ports.choose_for(&config, local, one, |port| !used.contains(&port)) {
        assert!(!used.contains(&port));
        used.push(port);
    }
    used.sort_unstable();
    assert_eq!(used, [40000, 40001, 40002, 40003]);
    assert!(ports.choose_for(&config, local, two, |_| true).is_some());
}

/// conformance: 6056-3.2-exclude, 6056-3.1-not-listening
#[test]
fn reserved_and_bound_ports_are_never_chosen() {
    let mut config = Config::default();
    config.set("ip_local_port_range", "40000 40003").expect("a range");
    config.set("ip_local_reserved_ports", "40001").expect("ports");
    let mut ports = table(ReuseRule::UnlessListening);
    ports.bind(40002, claim(9, "0.0.0.0"));
    let mut rng = Rng::from_seed(3);
    for _ in 0..100 {
        let chosen = ports.choose(&config, &mut rng, &claim(1, "0.0.0.0")).expect("two are left");
        assert!(chosen == 40000 || chosen == 40003);
        let remote = SocketAddr::new("10.0.0.9".parse().expect("valid"), rng.next_u32() as u16 | 1);
        let local = "10.0.0.1".parse().expect("valid");
        let chosen = ports.choose_for(&config, local, remote, |_| true).expect("two are left");
        assert!(chosen == 40000 || chosen == 40003);
    }
}

/// conformance: 6056-3.3-random, 6056-3.4-key
#[test]
fn the_next_port_to_one_peer_tells_nothing_about_another() {
    let config = Config::default();
    let local: IpAddr = "10.0.0.1".parse().expect("valid");
    let first = |seed: u64, remote: &str| {
        let mut ports: Ports<u32> = Ports::new(ReuseRule::UnlessListening, &mut Rng::from_seed(seed));
        ports.choose_for(&config, local, remote.parse().expect("valid"), |_| true).expect("free")
    };
    // Differences between the ports of two peers are spread over many boots: no offset predicts the other.
    let differences: std::collections::HashSet<u16> =
        (0..64).map(|seed| first(seed, "10.0.0.2:80").wrapping_sub(first(seed, "10.0.0.3:80"))).collect();
    assert!(differences.len() > 56, "{} different of 64", differences.len());
}

/// conformance: 6056-3.2-range
#[test]
fn the_whole_range_is_used() {
    let mut config = Config::default();
    config.set("ip_local_port_range", "50000 50099").expect("a range");
    let mut rng = Rng::from_seed(4);
    let ports = table(ReuseRule::Always);
    let seen: std::collections::HashSet<u16> =
        (0..2000).filter_map(|_| ports.choose(&config, &mut rng, &claim(1, "::"))).collect();
    assert_eq!(seen.len(), 100);
}
