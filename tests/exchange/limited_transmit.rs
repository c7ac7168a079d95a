//! Limited transmit (RFC 3042): the first two duplicates keep the ACKs flowing.

use super::common::exchange::Setup;
use super::common::{Exchange, ms};
use super::rack::path;

/// A window of three segments is in flight, and there is more to send.
fn three_in_flight(options: &str) -> Exchange {
    let mut x = Setup::reno().syn_options(options).config(|c| c.tcp_init_cwnd = 3).established();
    x.write_octets(20_000);
    x.sends(1, 3, 1000);
    x
}

/// conformance: 3042-2-cwnd
#[test]
fn what_was_released_is_not_forgotten_when_the_gap_closes() {
    let mut x = three_in_flight("mss 1000");
    x.peer(". 1:1(0) ack 1").sends(3001, 1, 1000);
    // One segment leaves the network, the window grows by one (slow start), and four are in flight.
    x.peer(". 1:1(0) ack 1001");
    assert_eq!(x.cwnd(), 4);
    x.sends(4001, 1, 1000);
}

/// conformance: 3042-2-send
#[test]
fn two_segments_beyond_cwnd_at_most() {
    let mut x = three_in_flight("mss 1000");
    // Acknowledgments that repair nothing, with another window between them: never more than cwnd + 2.
    x.peer(". 1:1(0) ack 1").sends(3001, 1, 1000);
    x.peer(". 1:1(0) ack 1").sends(4001, 1, 1000);
    x.peer(". 1:1(0) ack 1 win 60000").quiet();
}

/// With nothing new to send the duplicates release nothing, least of all old data.
///
/// conformance: 3042-2-send
#[test]
fn without_new_data_nothing_goes() {
    let mut x = Setup::new().syn_options("mss 1000").established();
    x.write_octets(4000);
    x.sends(1, 4, 1000);
    x.peer(". 1:1(0) ack 1").peer(". 1:1(0) ack 1");
    x.quiet_for(ms(50));
}

/// conformance: 3042-2-sack
#[test]
fn on_a_sack_connection_a_duplicate_without_news_releases_nothing() {
    let mut x = path(|c| c.tcp_init_cwnd = 3);
    x.write_octets(20_000);
    x.sends(1, 3, 1000);
    x.after(ms(100));
    x.peer(". 1:1(0) ack 1").quiet();
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>").sends(3001, 1, 1000);
    // The same blocks again are no news.
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>").quiet();
    x.peer(". 1:1(0) ack 1 <nop,nop,sack 1001:3001>").sends(4001, 1, 1000);
}
