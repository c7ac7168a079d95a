//! What is sent now and what waits for more: Nagle, CORK, MORE, EOR, and the size of a segment.

use super::common::exchange::Setup;
use super::common::packet::TcpOption;
use super::common::{Errno, Exchange, ms};
use tunstack::host::{MsgFlags, Opt};

fn plain() -> Exchange {
    Setup::new().syn_options("mss 1000").established()
}

#[test]
fn what_follows_an_end_of_record_goes_by_itself() {
    let mut x = plain();
    x.write_octets(10);
    x.stack("P. 1:11(10) ack 1");
    x.write_with(b"record one", MsgFlags::EOR).quiet();
    x.write_with(b"record two", MsgFlags::EOR);
    // As on Linux: nothing can join the first record any more, so Nagle lets it go.
    x.stack("P. 11:21(10) ack 1");
    x.peer(". 1:1(0) ack 11").quiet();
    x.set(Opt::NoDelay(true)).stack("P. 21:31(10) ack 1");
    // Nor does a retransmission join them.
    x.quiet_for(ms(199));
    x.after(ms(1));
    x.sends(11, 1, 10);
}

#[test]
fn maxseg_bounds_what_is_offered_and_used() {
    let mss = |tcp: &super::common::packet::Tcp| {
        tcp.walk().expect("legal").iter().find_map(|option| match option {
            TcpOption::Mss(mss) => Some(*mss),
            _ => None,
        })
    };
    let mut x = Setup::new().option(Opt::MaxSeg(700)).listening();
    x.peer("S 0:0(0) <mss 1460>");
    assert_eq!(mss(&x.stack("S. 0:0(0) ack 1")), Some(700));
    x.peer(". 1:1(0) ack 1");
    x.accept();
    x.write_octets(2100);
    x.sends(1, 3, 700);
    let mut x = Setup::new().closed();
    x.fresh();
    x.set(Opt::MaxSeg(700));
    let (id, remote) = (x.id(), "10.9.0.1:80".parse().expect("an address"));
    let connecting = x.user("connect", |host, now| host.connect(now, id, Some(remote)));
    assert_eq!(connecting, Err(Errno::EINPROGRESS));
    assert_eq!(x.next().tcp().and_then(mss), Some(700));
    let mut x = Setup::new().option(Opt::MaxSeg(700)).connected();
    x.write_octets(2100);
    x.sends(1, 3, 700);
    // Timestamps take twelve octets of it.
    let mut x = Setup::new().option(Opt::MaxSeg(700)).syn_options("mss 1460,TS val 1 ecr 0").established();
    x.write_octets(2064);
    x.sends(1, 3, 688);
}
