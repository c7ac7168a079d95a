//! Everything that can be wrong at the start: one sentence with the mend, exit code 2.

use crate::harness::{Node, Test, Who, ip, private, test, test_as};
use crate::program::{Running, refuses, run};

pub const TESTS: &[Test] = &[
    test("messages::help_and_version", help_and_version),
    test("messages::bad_arguments", bad_arguments),
    test_as("messages::no_node", Who::Root, Node::Missing, no_node),
    test_as("messages::closed_node", Who::Nobody, Node::Closed, closed_node),
    test_as("messages::no_right", Who::Nobody, Node::Open, no_right),
    test("messages::name_busy", name_busy),
    test("messages::interface_down", interface_down),
    test("messages::no_route", no_route),
    test("messages::address_clash", address_clash),
    test("messages::no_address_for_an_interface_that_exists", no_address_for_an_interface_that_exists),
    test("messages::other_mtu", other_mtu),
    test("messages::port_in_use", port_in_use),
    test("messages::capture", capture),
    test("messages::ends_of_a_wire", ends_of_a_wire),
    test("messages::plots", plots),
    test_as("messages::no_right_for_a_wire", Who::Nobody, Node::Open, no_right_for_a_wire),
];

fn help_and_version() {
    let version = run("--version");
    assert_eq!(
        (version.output.as_str(), version.code),
        (concat!("tunstack ", env!("CARGO_PKG_VERSION"), "\n"), Some(0))
    );
    let help = run("--help");
    assert_eq!(help.code, Some(0));
    for command in [
        "demo", "serve", "ifconfig", "connect", "listen", "get", "send", "recv", "chat", "ping", "doctor",
        "wire",
    ] {
        assert!(help.output.contains(&format!("\n  {command} ")), "{command}: {}", help.output);
        let help = run(&format!("{command} --help"));
        assert!(help.output.contains("Usage: tunstack") && help.code == Some(0), "{command}");
    }
    assert_eq!(run("").code, Some(2));
}

fn bad_arguments() {
    refuses(
        "serve echo --addr 10.9.0/24",
        "--addr: '10.9.0/24' is no address with prefix, like 10.9.0.2/24 or fd09::2/64",
    );
    for program in ["no-such-program", "/no/such/program"] {
        refuses(
            &format!("demo --client {program}"),
            &format!("there is no program '{program}': give --client one that is in PATH, or its whole path"),
        );
    }
    refuses("serve", "<SERVICE>... is missing: `tunstack serve --help` says what it is");
    refuses(
        "ping h --link rain=1%",
        run("ping h --link rain=1%").error.trim_end().trim_start_matches("tunstack: "),
    );
    refuses(
        "serve echo --addr 224.0.0.1/24",
        "224.0.0.1 is no address that a host can have: choose one like 10.9.0.2/24",
    );
    refuses(
        "serve echo --addr 10.9.0.255/24",
        "10.9.0.255 is no address that a host can have: choose one like 10.9.0.2/24",
    );
    refuses(
        "serve echo --tun a-much-too-long-name",
        "'a-much-too-long-name' cannot name an interface: it has more than 15 characters; choose a name like tun0",
    );
    refuses(
        "serve echo --addr fd09::2/64 --mtu 1000",
        "an MTU of 1000 is not possible here: choose 1280 to 65535",
    );
    refuses(
        "serve echo --addr 10.9.0.2/24 --peer 10.9.0.2/24",
        "10.9.0.2 is given to the kernel and to the stack: each side needs an address of its own",
    );
    refuses(
        "serve echo --port http=81",
        "--port http=81 is for a service that is not offered: add http to the services",
    );
    refuses(
        "serve chat echo --shards 2",
        "chat has all its members in one stack: leave out --shards, or chat",
    );
    refuses("serve echo --shards 2 --ladder", "--ladder is for one stack: leave out --shards, or --ladder");
    refuses("get https://example.com/", "'https' is not spoken here: only http:// addresses can be fetched");
    refuses("send nofile 10.9.0.1:1", "cannot read nofile: No such file or directory: name another file");
    refuses(
        "send /dev/null 10.9.0.1",
        "'10.9.0.1' is no HOST:PORT: write it like 10.9.0.1:9000 or [fd09::1]:9000",
    );
    refuses(
        "send /dev/null",
        "there is nobody to send to: name the receiver, as HOST:PORT, or wait for one with --listen PORT",
    );
    refuses(
        "chat",
        "there is nobody to talk with: name a chat server, as HOST or HOST:PORT, or talk with everybody on the network \
         by --group",
    );
    refuses(
        "ifconfig --addr 10.9.0.0/24",
        "10.9.0.0/24 is the network itself: choose an address in it, like 10.9.0.2/24",
    );
    refuses("serve http --root /no/such/folder", "/no/such/folder is no folder: give --root one that exists");
}

fn no_node() {
    refuses(
        "serve echo",
        "/dev/net/tun does not exist: `sudo modprobe tun`, and in a container start it with `--device /dev/net/tun`",
    );
}

fn closed_node() {
    refuses(
        "serve echo",
        "/dev/net/tun cannot be opened by this user (Permission denied): run as root, or `sudo chmod 666 /dev/net/tun`",
    );
}

fn no_right() {
    let said = run("serve echo");
    assert!(
        said.error.starts_with(
            "tunstack: no right to make a network interface (CAP_NET_ADMIN): run with sudo, or `sudo setcap"
        ),
        "{said:?}"
    );
    assert_eq!((said.error.lines().count(), said.code), (1, Some(2)));
}

fn name_busy() {
    private();
    let first = Running::start("serve echo --tun t7", "serving");
    refuses(
        "serve echo --tun t7 --addr 10.9.0.2/24",
        "t7 is in use by another program: end that one (`sudo fuser -v /dev/net/tun` shows it) or choose another name",
    );
    first.stop();
}

fn interface_down() {
    private();
    ip("tuntap add dev t7 mode tun");
    ip("address add 10.9.0.1/24 dev t7");
    refuses("serve echo --tun t7 --addr 10.9.0.2/24", "t7 is down: `sudo ip link set t7 up`");
}

fn no_route() {
    private();
    ip("tuntap add dev t7 mode tun");
    ip("link set t7 up");
    refuses(
        "serve echo --tun t7 --addr 10.9.0.2/24",
        "the kernel has no route to 10.9.0.2 through t7: `sudo ip route add 10.9.0.2 dev t7`",
    );
}

fn address_clash() {
    private();
    ip("address add 10.9.0.2/32 dev lo");
    refuses(
        "serve echo --addr 10.9.0.2/24",
        "10.9.0.2 belongs to the kernel (interface lo), so packets for it never reach the stack: choose another address, \
         or `sudo ip address del 10.9.0.2 dev lo`",
    );
}

fn no_address_for_an_interface_that_exists() {
    private();
    ip("tuntap add dev t7 mode tun");
    refuses(
        "serve echo --tun t7",
        "t7 exists already, so say which address behind it is the stack's: --addr 10.9.0.2/24",
    );
}

fn other_mtu() {
    private();
    ip("tuntap add dev t7 mode tun");
    ip("address add 10.9.0.1/24 dev t7");
    ip("link set t7 up");
    refuses(
        "serve echo --tun t7 --addr 10.9.0.2/24 --mtu 9000",
        "t7 exists and has an MTU of 1500: leave --mtu out, or `sudo ip link set t7 mtu 9000`",
    );
}

fn port_in_use() {
    private();
    refuses(
        "serve echo daytime --port daytime=7",
        "port 7 is in use: choose another for daytime, as --port daytime=8007",
    );
}

fn capture() {
    private();
    refuses(
        "serve echo --capture /no/such/folder/x.pcapng",
        "cannot write /no/such/folder/x.pcapng: No such file or directory: choose another --capture",
    );
    refuses(
        "ping 10.9.0.1 --capture -",
        "--capture - needs standard output for itself, and this command writes there: use --capture FILE",
    );
}

fn ends_of_a_wire() {
    private();
    refuses("wire red", "<B> is missing: `tunstack wire --help` says what it is");
    refuses("wire no-such red", "there is no network namespace no-such: `sudo ip netns add no-such`");
    refuses(
        "wire ./no-such red",
        "there is no ./no-such: give a name that `ip netns` lists, or a path like /proc/PID/ns/net",
    );
    refuses(
        "wire /dev/null red",
        "/dev/null is no network namespace (Invalid argument): `ip netns list` shows those with a name",
    );
    refuses(
        "wire /proc/self/ns/net /proc/self/ns/net",
        "/proc/self/ns/net and /proc/self/ns/net are one and the same, and no kernel sends to itself over a wire: \
         `sudo ip netns add other`",
    );
    refuses(
        "wire red blue --a-addr 10.8.0.1/24 --b-addr 10.8.0.1/16",
        "10.8.0.1 cannot be at both ends: choose another one for --a-addr or --b-addr",
    );
    refuses(
        "wire tun:t/0 red",
        "<A>: 't/0' cannot name an interface: it has a slash, a colon or white space in it; choose a name like tun0",
    );
    ip("tuntap add dev t7 mode tun");
    refuses(
        "wire tun:t7 tun:t8 --a-addr 10.8.0.1/24",
        "t7 exists and keeps its addresses and routes: leave --a-addr out, or choose another TUN",
    );
    refuses("wire tun:t7 tun:t8", "t7 is down: `sudo ip link set t7 up`");
    refuses(
        "wire a b --link-ab up:loss=1%",
        "--link-ab: 'up:loss=1%' names a direction, and this is one already: leave up: and down: out",
    );
    let plan = run("wire red tun:t9 --a-addr 10.8.0.1/24 --a-route 10.7.0.0/16 --dry-run");
    let expected = "\
ip netns exec red ip tuntap add dev wire0 mode tun
ip netns exec red ip link set wire0 mtu 1500
ip netns exec red ip link set wire0 txqueuelen 50000
ip netns exec red ip link set wire0 addrgenmode none
ip netns exec red ip address add 10.8.0.1/24 broadcast + dev wire0
ip netns exec red ip link set wire0 up
ip netns exec red ip route add 10.7.0.0/16 dev wire0
ip tuntap add dev t9 mode tun
ip link set t9 mtu 1500
ip link set t9 txqueuelen 50000
ip link set t9 addrgenmode none
ip link set t9 up
# afterwards:
ip netns exec red ip tuntap del dev wire0 mode tun
ip tuntap del dev t9 mode tun
";
    assert_eq!((plan.output.as_str(), plan.code), (expected, Some(0)), "{plan:?}");
}

fn no_right_for_a_wire() {
    refuses(
        "wire /proc/self/ns/net red",
        "no right to enter the network namespace /proc/self/ns/net: run with sudo",
    );
}

fn plots() {
    refuses(
        "plot --congestion vegas",
        "--congestion: there is no congestion control 'vegas': choose cubic, reno, bbr",
    );
    refuses("plot --seconds 0", "--seconds: '0' is no time to simulate: give whole seconds from 1 to 3600");
    refuses("bench --seconds 0", "--seconds: '0' is no time to measure for: give seconds from 0.1 to 600");
    refuses("bench --seconds -1", "--seconds: '-1' is no time to measure for: give seconds from 0.1 to 600");
    refuses("bench --connections 1", "--connections: '1' is no number from 1000 to 50000, or 0 for none");
    refuses("bench --out /tmp/", "/tmp/ names a folder and no file: choose another place with --out");
    refuses("bench --out /no/such/x", "there is no folder /no/such: `mkdir -p /no/such`");
    refuses("bench --only foo", "'foo' is no --only: choose kernel, smoltcp, plain, offload, shards");
    let said = run("plot /no/such/folder/x.svg --seconds 1");
    assert_eq!(
        (said.error.as_str(), said.code),
        ("tunstack: cannot write /no/such/folder/x.svg: No such file or directory\n", Some(1))
    );
    let file = std::env::temp_dir().join(format!("tunstack-plot-{}.svg", std::process::id()));
    let said = run(&format!("plot {} --seconds 3 --congestion bbr --congestion reno", file.display()));
    let svg = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::remove_file(&file).expect("written");
    assert_eq!(said.code, Some(0), "{said:?}");
    for name in [">bbr<", ">reno<", ">reno, formula<"] {
        assert!(svg.contains(name), "{name}: {svg}");
    }
}
