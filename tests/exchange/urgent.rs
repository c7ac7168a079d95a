//! Urgent data (RFC 9293 §3.8.5, RFC 6093).

use super::common::exchange::Setup;
use super::common::{Errno, Exchange, ms};
use tunstack::host::{MsgFlags, Opt, Readiness};

/// Established, urgent data in line.
fn inline() -> Exchange {
    let mut x = Setup::new().quick().established();
    x.set(Opt::OobInline(true));
    x
}

/// conformance: 6093-5-inline, 6093-3.2-no-oob
#[test]
fn in_line_no_octet_is_lost_and_the_order_stays() {
    let mut x = inline();
    x.peer("PU. 1:4(3) ack 1 urg 3 \"abc\"");
    x.stack(". 1:1(0) ack 4");
    x.peer("P. 4:6(2) ack 1 \"de\"");
    x.stack(". 1:1(0) ack 6");
    // A read stops at the mark, once.
    let mut got = Vec::new();
    while let Ok(part) = x.try_read(100) {
        assert!(!part.is_empty());
        got.extend(part);
    }
    assert_eq!(got, b"abcde");
}

/// The pointer names the octet after the urgent data: of "abc" with pointer 2 the urgent octet is b.
///
/// conformance: 6093-4-pointer
#[test]
fn the_pointer_names_the_octet_after_the_urgent_one() {
    let mut x = Setup::new().quick().established();
    x.peer("PU. 1:4(3) ack 1 urg 2 \"abc\"");
    x.stack(". 1:1(0) ack 4");
    assert!(x.ready().contains(Readiness::PRIORITY));
    assert_eq!(x.try_recv(1, MsgFlags::OOB), Ok(b"b".to_vec()));
    assert_eq!(x.try_read(100), Ok(b"a".to_vec()), "a read ends before the mark");
    assert_eq!(x.try_read(100), Ok(b"c".to_vec()));
}

/// conformance: 6093-4-pointer
#[test]
fn what_we_send_points_after_the_urgent_octet() {
    let mut x = Setup::new().quick().established();
    x.write_with(b"abc", MsgFlags::OOB);
    x.stack("PU. 1:4(3) ack 1 urg 3 \"abc\"");
    x.peer(". 1:1(0) ack 4");
    x.write(b"de");
    x.stack("P. 4:6(2) ack 1 \"de\"");
}

/// conformance: 6093-3.4-middlebox
#[test]
fn a_pointer_of_zero_or_a_cleared_flag_leaves_plain_data() {
    for text in ["PU. 1:4(3) ack 1 urg 0 \"abc\"", "P. 1:4(3) ack 1 urg 3 \"abc\""] {
        let mut x = Setup::new().quick().established();
        x.peer(text);
        x.stack(". 1:1(0) ack 4");
        assert!(!x.ready().contains(Readiness::PRIORITY));
        assert_eq!(x.try_recv(1, MsgFlags::OOB), Err(Errno::EINVAL));
        assert_eq!(x.try_read(100), Ok(b"abc".to_vec()), "{text}");
    }
}

/// The mark may lie far ahead of what has arrived: it is a place in the stream, not a length.
///
/// conformance: 6093-4-pointer
#[test]
fn the_mark_may_come_before_its_octet() {
    let mut x = Setup::new().quick().established();
    x.peer("U. 1:4(3) ack 1 urg 6 \"abc\"");
    x.stack(". 1:1(0) ack 4");
    assert_eq!(x.try_recv(1, MsgFlags::OOB), Err(Errno::EAGAIN));
    assert_eq!(x.try_read(100), Ok(b"abc".to_vec()));
    x.peer("P. 4:8(4) ack 1 \"defg\"");
    x.stack(". 1:1(0) ack 8");
    assert_eq!(x.try_recv(1, MsgFlags::OOB), Ok(b"f".to_vec()));
    assert_eq!(x.try_read(100), Ok(b"de".to_vec()));
    assert_eq!(x.try_read(100), Ok(b"g".to_vec()));
    x.quiet_for(ms(100));
}

/// The mark moves forward across 2^32 by sequence arithmetic.
#[test]
fn the_mark_survives_the_wrap_of_sequence_numbers() {
    let mut x = Setup::new().quick().peer_isn(u32::MAX - 2).established();
    x.peer("PU. 1:7(6) ack 1 urg 5 \"abcdef\"");
    x.stack(". 1:1(0) ack 7");
    assert_eq!(x.try_recv(1, MsgFlags::OOB), Ok(b"e".to_vec()));
    assert_eq!(x.try_read(100), Ok(b"abcd".to_vec()));
    assert_eq!(x.try_read(100), Ok(b"f".to_vec()));
}
