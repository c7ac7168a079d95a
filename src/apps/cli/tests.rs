use super::*;
use crate::apps::failure::usage;

fn parsed(arguments: &str) -> Command {
    Cli::try_parse_from(arguments.split(' ')).unwrap_or_else(|error| panic!("{error}")).command
}

fn refused(arguments: &[&str]) -> String {
    let error = Cli::try_parse_from(["tunstack"].iter().chain(arguments)).expect_err("refused");
    let failure = usage(&error);
    assert_eq!(failure.code(), 2);
    failure.message().to_owned()
}

#[test]
fn definitions_are_consistent() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn device_options_are_understood_by_every_command() {
    let options = "--tun t0 --addr 10.1.0.2/24 --addr fd01::2/64 --peer 10.1.0.1/24 --gateway 10.1.0.1 --mtu 9000 \
                   --dry-run --set tcp_sack=0 --capture - --link loss=1% --seed 7 --netns --offload off";
    for command in [
        "demo",
        "serve echo",
        "ifconfig",
        "connect h 1",
        "listen 1",
        "get http://h/",
        "send f h:1",
        "recv f",
        "chat h",
        "ping h",
        "resolve h",
        "doctor",
        "sample tcp-server",
    ] {
        let device = match parsed(&format!("tunstack {command} {options}")) {
            Command::Demo(Demo { device, .. })
            | Command::Serve(Serve { device, .. })
            | Command::Ifconfig(Ifconfig { device, .. })
            | Command::Connect(Connect { device, .. })
            | Command::Listen(Listen { device, .. })
            | Command::Get(Get { device, .. })
            | Command::Send(Send { device, .. })
            | Command::Recv(Recv { device, .. })
            | Command::Chat(Chat { device, .. })
            | Command::Ping(Ping { device, .. })
            | Command::Resolve(Resolve { device, .. })
            | Command::Doctor(Doctor { device })
            | Command::Sample(Sample { device, .. }) => device,
            Command::Services(_)
            | Command::Wire(_)
            | Command::Bench(_)
            | Command::BenchPeer(_)
            | Command::Plot(_) => {
                panic!("has no device")
            }
        };
        assert_eq!(device.tun.as_deref(), Some("t0"));
        assert_eq!(device.addr.len(), 2);
        assert_eq!(device.set, [("tcp_sack".to_owned(), "0".to_owned())]);
        assert_eq!(device.offload, Offload::Off);
        assert!(device.dry_run && device.netns && device.link.is_some() && device.seed == Some(7));
    }
}

#[test]
fn services_take_ports() {
    let Command::Serve(serve) = parsed("tunstack serve echo http --port http=8080 --port echo=7007") else {
        panic!("serve")
    };
    assert_eq!(serve.services, [Service::Echo, Service::Http]);
    assert_eq!(serve.port, [(Service::Http, 8080), (Service::Echo, 7007)]);
}

#[test]
fn client_of_the_demo_takes_all_that_follows() {
    let Command::Demo(demo) = parsed("tunstack demo --wait --client nc -v $ADDR 7") else { panic!("demo") };
    assert_eq!(demo.client, ["nc", "-v", "$ADDR", "7"]);
}

#[test]
fn each_mistake_is_told_in_one_sentence_with_its_mend() {
    let cases: [(&[&str], &str); 29] = [
        (
            &["ping", "h", "--addr", "10.9.0/24"],
            "--addr: '10.9.0/24' is no address with prefix, like 10.9.0.2/24 or fd09::2/64",
        ),
        (
            &["ping", "h", "--peer", "10.9.0.1/33"],
            "--peer: '10.9.0.1/33' is no address with prefix, like 10.9.0.2/24 or fd09::2/64",
        ),
        (
            &["ping", "h", "--set", "tcp_sack"],
            "--set: 'tcp_sack' sets nothing: write NAME=VALUE, like tcp_sack=0",
        ),
        (&["ping", "h", "--set", "tcp_sack=2"], "--set: '2' is no value for tcp_sack: expected 0 or 1"),
        (
            &["ping", "h", "--set", "keepalive_intvl=2"],
            "--set: no setting is called 'keepalive_intvl'; there is tcp_keepalive_intvl",
        ),
        (&["ping", "h", "--set", "x=2"], "--set: no setting is called 'x'"),
        (
            &["ping", "h", "--link", "loss=200%"],
            "--link: 'loss=200%' is nothing a link can do: expected a percentage from 0% to 100%, like 0.5%",
        ),
        (
            &["ping", "h", "-i", "0"],
            "--interval: '0' is no time between two requests: give seconds, like 0.2 or 1",
        ),
        (
            &["ping", "h", "-s", "65528"],
            "--size: '65528' is no size of a request: choose 0 to 65507, or to 65527 with IPv6",
        ),
        (&["ping", "h", "-c", "0"], "--count: '0' is no number of requests: choose from 1 to 4294967295"),
        (&["ping", "h", "-t", "0"], "--ttl: '0' is no TTL or hop limit: choose 1 to 255"),
        (&["ping", "h", "-t", "256"], "--ttl: '256' is no TTL or hop limit: choose 1 to 255"),
        (&["get", "http://h/", "-w", "0"], "--timeout: '0' is no time: give whole seconds, like 5"),
        (&["recv", "f", "--listen", "65536"], "--listen: '65536' is no port: choose 1 to 65535"),
        (&["chat", "--group", "--port", "x"], "--port: 'x' is no port: choose 1 to 65535"),
        (&["sample", "tcp-client", "h"], "[HOST]: 'h' is no IP address, like 10.9.0.1 or fd09::1"),
        (&["connect", "h", "1", "-w", "x"], "--timeout: 'x' is no time: give whole seconds, like 5"),
        (
            &["serve", "echo", "--port", "8080"],
            "--port: '8080' gives no service a port: write SERVICE=N, like http=8080",
        ),
        (
            &["serve", "echo", "--port", "ftp=21"],
            "--port: there is no service 'ftp': choose echo, discard, daytime, chargen, http, chat",
        ),
        (&["serve", "echo", "--port", "echo=0"], "--port: '0' is no port: choose 1 to 65535"),
        (&["ping", "h", "--gateway", "x"], "--gateway: 'x' is no IP address, like 10.9.0.1 or fd09::1"),
        (&["ping"], "<HOST> is missing: `tunstack ping --help` says what it is"),
        (&["serve", "ftp"], "'ftp' is no SERVICE: choose echo, discard, daytime, chargen, http, chat"),
        (&["pong"], "there is no command 'pong': did you mean ping?"),
        (
            &["ping", "h", "--gatway", "9"],
            "there is no option or argument '--gatway' here: did you mean --gateway?",
        ),
        (&["ping", "h", "x"], "there is no option or argument 'x' here: `tunstack ping --help` lists them"),
        (&["ping", "h", "--mtu"], "--mtu <N> needs a value"),
        (
            &["ping", "h", "--mtu", "big"],
            "--mtu: 'big' is no MTU: choose 68 to 65535, or from 1280 with IPv6",
        ),
        (&["demo", "--sim", "--shell"], "--sim and --shell exclude each other"),
    ];
    for (arguments, expected) in cases {
        assert_eq!(refused(arguments), expected);
    }
}
