//! `tunstack bench`: everything is measured, and written where it should be.

use crate::harness::{Test, skip, test};
use crate::world::{eventually, feed, succeeded, tunstack};
use std::process::Stdio;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    test("bench::measures_everybody", measures_everybody),
    test("bench::leaves_no_server_behind", leaves_no_server_behind),
];

fn measures_everybody() {
    let out = std::env::temp_dir().join(format!("tunstack-bench-{}", std::process::id()));
    let words = format!("bench --quick --seconds 0.1 --connections 1000 --out {}", out.display());
    let output = feed(&mut tunstack(&words), b"").expect("built with the tests");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if complaint.contains("private namespace") || complaint.contains("/dev/net/tun") {
        skip(complaint.trim());
    }
    let table = succeeded(output, &words);
    for (ending, wanted) in [("json", "\"rounds\": ["), ("svg", "</svg>")] {
        let file = std::path::PathBuf::from(format!("{}.{ending}", out.display()));
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let _ = std::fs::remove_file(&file);
        assert!(text.contains(wanted), "{text}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    for name in ["smoltcp", "plain TUN", "offload TUN"] {
        let missing = format!("{name} cannot be measured to the end");
        assert!(!complaint.contains(&missing), "{complaint}\n{table}");
    }
    // A kernel without veth is a machine to be told of, no failure of ours.
    if !complaint.contains("kernel-veth cannot be measured") {
        let row = table.lines().find(|line| line.starts_with("connections/s")).unwrap_or_default();
        assert_eq!(row.matches('x').count(), 3, "three are compared with the kernel: {table}");
    }
    let beside = table.split("plain TUN / smoltcp").nth(1).unwrap_or_default();
    assert_eq!(
        beside.lines().filter(|line| line.ends_with('x')).count(),
        4,
        "two of bulk, two of many: {table}"
    );
}

/// Whatever ends it, even what no program can catch.
fn leaves_no_server_behind() {
    let out = std::env::temp_dir().join(format!("tunstack-bench-ended-{}", std::process::id()));
    let words = format!("bench --seconds 60 --connections 0 --only plain --out {}", out.display());
    let mut bench = tunstack(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("built");
    let children = format!("/proc/{0}/task/{0}/children", bench.id());
    // One that nobody has waited for yet is gone as well.
    let running = |pid: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
    };
    let mut server = String::new();
    for _ in 0..1000 {
        server = std::fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
        if !server.is_empty() || bench.try_wait().expect("our child").is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    if server.is_empty() {
        skip("no server was started: no private namespace here");
    }
    bench.kill().expect("our child");
    bench.wait().expect("our child");
    eventually("the server is gone", || !running(&server));
}
