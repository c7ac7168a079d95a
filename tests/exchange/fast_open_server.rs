//! Fast Open (RFC 7413), the listener's side.

use super::common::exchange::Setup;
use super::common::packet::{Tcp, TcpOption};
use super::common::text::FAST_OPEN;
use super::common::{Errno, Exchange, ms, secs};
use tunstack::host::{Opt, Readiness};

/// A listener that takes text on SYNs, with so many connections pending.
fn server(limit: u32) -> Setup {
    Setup::new().option(Opt::FastOpen(limit)).config(|config| config.tcp_fastopen = 3)
}

/// The cookie on a SYN-ACK, as a script writes it.
fn cookie_of(syn_ack: &Tcp) -> Option<String> {
    syn_ack.walk().expect("legal").into_iter().find_map(|option| match option {
        TcpOption::Other(FAST_OPEN, cookie) => {
            Some(cookie.iter().map(|octet| format!("{octet:02x}")).collect())
        }
        _ => None,
    })
}

/// Asks for a cookie, on a connection of its own that is then over.
fn ask(x: &mut Exchange) -> String {
    x.on_port(39_999).peer("S 0:0(0) <mss 1460,FO>");
    let cookie = cookie_of(&x.stack("S. 0:0(0) ack 1 <mss 1460,FO *,nop,nop>")).expect("matched");
    x.peer("R 1:1(0)").quiet();
    x.on_port(40_000);
    cookie
}

/// A connection was handed out with ten octets, and its SYN-ACK is out.
fn opening() -> (Exchange, String) {
    let mut x = server(16).listening();
    let cookie = ask(&mut x);
    x.peer(&format!("S 0:10(10) <mss 1460,FO {cookie}>")).stack("S. 0:0(0) ack 11 win 64230 <mss 1460>");
    x.accept().state_is("SYN-RECEIVED");
    (x, cookie)
}

/// ECN is agreed on before our SYN is acknowledged.
#[test]
fn data_before_the_handshake_is_complete_may_be_marked() {
    for (syn, syn_ack, ecn) in [("SEW", "SE.", 2), ("S", "S.", 0)] {
        let mut x = server(16).listening();
        let cookie = ask(&mut x);
        x.peer(&format!("{syn} 0:10(10) <mss 1460,FO {cookie}>"));
        x.stack_ecn(0, &format!("{syn_ack} 0:0(0) ack 11 <mss 1460>"));
        x.accept().write(b"data");
        x.stack_ecn(ecn, "P. 1:5(4) ack 11");
        x.ignore();
    }
}

/// conformance: 7413-4.2-off
#[test]
fn without_option_and_setting_the_listener_knows_nothing_of_it() {
    let off = [
        Setup::new().config(|config| config.tcp_fastopen = 3),
        Setup::new().option(Opt::FastOpen(16)),
        server(16).config(|config| config.tcp_fastopen = 1),
    ];
    for setup in off {
        let mut x = setup.listening();
        x.peer("S 0:0(0) <mss 1460,FO>").stack("S. 0:0(0) ack 1 <mss 1460>");
        x.on_port(40_001)
            .peer("S 0:10(10) <mss 1460,FO 0123456789abcdef>")
            .stack("S. 0:0(0) ack 1 <mss 1460>");
        x.peer("P. 1:11(10) ack 1").stack(". 1:1(0) ack 11");
        x.accept().reads(10).reads_nothing();
    }
}

/// conformance: 7413-4.1.2-cookie
#[test]
fn whoever_asks_gets_a_cookie_for_its_address() {
    let mut x = server(16).listening();
    x.peer("S 0:0(0) <mss 1460,FO>").stack("S. 0:0(0) ack 1 <mss 1460,FO *,nop,nop>");
    // The option is not worth a lost SYN-ACK.
    assert_eq!(x.until("S. 0:0(0) ack 1 <mss 1460>"), secs(1));
    x.peer(". 1:1(0) ack 1").accept();
    assert_eq!(x.counter("TcpExtTCPFastOpenCookieReqd"), 1);
    let cookie = ask(&mut x);
    assert_eq!(cookie.len(), 16, "8 octets as Linux's");
    // Another address with this cookie is taken the ordinary way, and gets one of its own.
    x.at_peer_address([10, 9, 0, 77].into()).peer(&format!("S 0:10(10) <mss 1460,FO {cookie}>"));
    let other = cookie_of(&x.stack("S. 0:0(0) ack 1 <mss 1460,FO *,nop,nop>"));
    assert!(other.is_some_and(|other| other != cookie));
    x.state_is("SYN-RECEIVED");
    assert_eq!(x.counter("TcpExtTCPFastOpenPassiveFail"), 1);
    // No SYN asks, none is told.
    x.on_port(41_000).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 1 <mss 1460>");
}

/// conformance: 7413-4.1.1-option
#[test]
fn an_option_of_an_impossible_length_is_as_if_it_were_not_there() {
    let mut x = server(16).listening();
    let cookie = ask(&mut x);
    let oversize = format!("2214{cookie}{cookie}0102");
    for (port, option) in (41_000..).zip(["2203aa", "2204aabb", "220789abcdef01", &oversize]) {
        x.on_port(port)
            .peer(&format!("S 0:4(4) <mss 1460,raw {option}>"))
            .stack("S. 0:0(0) ack 1 <mss 1460>");
    }
    assert_eq!(x.counter("TcpExtTCPFastOpenPassiveFail"), 0);
}

/// conformance: 7413-4.2.2-server
#[test]
fn text_on_the_syn_is_read_and_answered_before_the_handshake_is_complete() {
    let (mut x, _) = opening();
    assert!(x.ready().contains(Readiness::READABLE | Readiness::WRITABLE));
    x.reads(10);
    x.write(b"answer").stack("P. 1:7(6) ack 11");
    x.state_is("SYN-RECEIVED");
    x.peer(". 11:11(0) ack 7").state_is("ESTABLISHED").quiet();
    x.peer("P. 11:21(10) ack 7").reads(10);
    x.until(". 7:7(0) ack 21");
    assert!(x.info().syn_data);
    assert_eq!(x.counter("TcpExtTCPFastOpenPassive"), 1);
    assert_eq!((x.counter("TcpPassiveOpens"), x.counter("TcpCurrEstab")), (1, 1));
}

/// conformance: 7413-4.2.2-server
#[test]
fn the_answer_is_bounded_by_the_initial_window_and_the_window_of_the_syn() {
    let (mut x, _) = opening();
    x.write_octets(20_000).sends(1, 10, 1460);
    x.peer(". 11:11(0) ack 1").state_is("ESTABLISHED").quiet();
    x.peer(". 11:11(0) ack 14601").ignore();
    let mut x = server(16).window(3000).listening();
    let cookie = ask(&mut x);
    x.peer(&format!("S 0:10(10) <mss 1460,FO {cookie}>")).stack("S. 0:0(0) ack 11");
    x.accept().write_octets(20_000).sends(1, 2, 1460);
}

#[test]
fn options_are_agreed_as_in_any_handshake() {
    let mut x = server(16).listening();
    let cookie = ask(&mut x);
    x.peer(&format!("S 0:10(10) <mss 1400,sackOK,TS val 700 ecr 0,nop,wscale 7,FO {cookie},nop,nop>"));
    x.stack("S. 0:0(0) ack 11 <mss 1460,sackOK,TS val * ecr 700,nop,wscale 10>");
    x.accept().write(b"x").stack("P. 1:2(1) ack 11 <nop,nop,TS val * ecr 700>");
    // A window is scaled in everything but a SYN.
    x.peer(". 11:11(0) ack 2 win 1000 <nop,nop,TS val 701 ecr *>").state_is("ESTABLISHED");
    let info = x.info();
    assert_eq!((info.snd_wnd, info.snd_mss, info.rcv_wscale), (128_000, 1388, 10));
}

#[test]
fn a_lost_syn_ack_is_sent_again_and_what_followed_only_after_the_handshake() {
    let (mut x, _) = opening();
    x.write(b"answer").stack("P. 1:7(6) ack 11");
    assert_eq!(x.until("S. 0:0(0) ack 11 <mss 1460>"), secs(1));
    // The peer's plain SYN came later than the SYN-ACK: it is answered, too.
    x.after(ms(600)).peer("S 0:0(0) <mss 1460>").stack("S. 0:0(0) ack 11");
    x.peer(". 11:11(0) ack 1").state_is("ESTABLISHED").quiet();
    // Nothing was timed: three seconds (RFC 6298 §5.7).
    assert_eq!(x.until("P. 1:7(6) ack 11"), secs(3));
    x.peer(". 11:11(0) ack 7").reads(10);
}

#[test]
fn a_client_that_stays_silent_is_given_up() {
    let mut x = server(1).config(|config| config.tcp_synack_retries = 2).listening();
    let cookie = ask(&mut x);
    x.peer(&format!("S 0:10(10) <mss 1460,FO {cookie}>")).stack("S. 0:0(0) ack 11");
    x.accept().until("S. 0:0(0) ack 11");
    x.until("S. 0:0(0) ack 11");
    x.quiet_for(secs(4)).state_is("CLOSED");
    x.reads(10).read_fails(Errno::ETIMEDOUT);
    // It does not count any more.
    x.on_port(41_000).peer(&format!("S 0:10(10) <mss 1460,FO {cookie}>")).stack("S. 0:0(0) ack 11");
}

#[test]
fn only_an_acknowledgment_of_the_syn_completes_it() {
    let (mut x, _) = opening();
    x.peer(". 11:11(0) ack 0").stack("R 0:0(0)");
    x.peer(". 11:11(0) ack 2").stack("R 2:2(0)");
    x.state_is("SYN-RECEIVED");
    x.peer("R 500:500(0)").stack(". 1:1(0) ack 11");
    x.state_is("SYN-RECEIVED");
    x.peer("R 11:11(0)").quiet().state_is("CLOSED");
    x.reads(10).read_fails(Errno::ECONNRESET);
}

#[test]
fn the_user_may_close_before_the_handshake_is_complete() {
    let (mut x, _) = opening();
    x.reads(10).write(b"bye").stack("P. 1:4(3) ack 11");
    x.close().stack("F. 4:4(0) ack 11");
    x.peer(". 11:11(0) ack 5").state_is("FIN-WAIT-2");
    x.peer("F. 11:11(0) ack 5").stack(". 5:5(0) ack 12");
    x.state_is("TIME-WAIT");
    assert_eq!(x.counter("TcpCurrEstab"), 0);
}

/// conformance: 7413-4.2-pending
#[test]
fn above_the_limit_syns_are_taken_the_ordinary_way() {
    let mut x = server(1).listening();
    let cookie = ask(&mut x);
    let syn = format!("S 0:10(10) <mss 1460,FO {cookie}>");
    x.peer(&syn).stack("S. 0:0(0) ack 11");
    x.on_port(41_000).peer(&syn).stack("S. 0:0(0) ack 1 <mss 1460>");
    assert_eq!(x.counter("TcpExtTCPFastOpenListenOverflow"), 1);
    // One that completes makes room. One that is reset does so a minute later.
    x.on_port(40_000).peer(". 11:11(0) ack 1");
    x.on_port(41_001).peer(&syn).stack("S. 0:0(0) ack 11");
    x.peer("R 11:11(0)").quiet();
    x.on_port(41_002).peer(&syn).stack("S. 0:0(0) ack 1");
    x.skip(secs(60)).on_port(41_003).peer(&syn).stack("S. 0:0(0) ack 11");
}

/// conformance: 7413-4.1.2-cookie
#[test]
fn a_cookie_lives_for_two_secrets() {
    let mut x = server(16).listening();
    let old = ask(&mut x);
    x.skip(secs(12 * 3600));
    // The secret before: good, and replaced.
    x.on_port(41_000).peer(&format!("S 0:10(10) <mss 1460,FO {old}>"));
    let new = cookie_of(&x.stack("S. 0:0(0) ack 11 <mss 1460,FO *,nop,nop>")).expect("matched");
    assert_ne!(old, new);
    assert_eq!(x.counter("TcpExtTCPFastOpenPassiveAltKey"), 1);
    x.on_port(41_001).peer(&format!("S 0:10(10) <mss 1460,FO {new}>")).stack("S. 0:0(0) ack 11 <mss 1460>");
    x.skip(secs(12 * 3600));
    x.on_port(41_002).peer(&format!("S 0:10(10) <mss 1460,FO {old}>")).stack("S. 0:0(0) ack 1 <...>");
}

/// conformance: 7413-2-syn-data-idem
#[test]
fn a_repeated_syn_gives_its_text_once_to_each_connection() {
    let (mut x, cookie) = opening();
    let syn = format!("S 0:10(10) <mss 1460,FO {cookie}>");
    x.after(secs(0)).peer(&syn).stack("S. 0:0(0) ack 11 <mss 1460>");
    x.reads(10).reads_nothing();
    x.peer("R 11:11(0)").quiet();
    // A duplicate of an old SYN is a new connection to whoever has asked for this.
    x.again(1_000_000).peer(&syn).stack("S. 0:0(0) ack 11");
    x.accept().reads(10);
}

#[test]
fn settings_do_without_cookies_and_without_asking() {
    let mut x = server(16).config(|config| config.tcp_fastopen = 0x203).listening();
    x.peer("S 0:10(10) <mss 1460>").stack("S. 0:0(0) ack 11 <mss 1460>");
    x.accept().reads(10);
    let mut x = Setup::new().config(|config| config.tcp_fastopen = 0x403).listening();
    ask(&mut x);
}

#[test]
fn under_a_flood_there_is_no_fast_open() {
    let mut x = server(16).listening();
    let cookie = ask(&mut x);
    x.host.config_mut().tcp_syncookies = 2;
    x.peer(&format!("S 0:10(10) <mss 1460,FO {cookie}>")).stack("S. 0:0(0) ack 1 <mss 1460>");
    assert_eq!(x.counter("TcpExtTCPFastOpenPassive"), 0);
}
