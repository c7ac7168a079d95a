//! Two stacks on a wire in memory, and a connection between them.

use tunstack::link::wire;
use tunstack::runtime::Stack;
use tunstack::socket::{TcpListener, TcpStream};

/// Two stacks on a wire in memory.
pub fn pair() -> (Stack, Stack) {
    pair_of(1500)
}

/// Two stacks on a wire in memory that takes packets of so many octets.
pub fn pair_of(mtu: u32) -> (Stack, Stack) {
    let (left, right) = wire(mtu).expect("wire");
    let start = |address: &str, device| {
        let cidr = address.parse().expect("address");
        Stack::builder().address(cidr).device(device).start().expect("start")
    };
    (start("10.0.0.1/24", left), start("10.0.0.2/24", right))
}

/// A connection over a wire.
pub fn connected(one: &Stack, other: &Stack) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(other, "10.0.0.2:0").expect("bind");
    let client = TcpStream::connect(one, listener.local_addr().expect("name")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (client, server)
}
