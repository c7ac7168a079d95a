//! `tunstack bench`: everything is measured, and written where it should be.

use crate::harness::{Test, skip, test};
use crate::world::{feed, succeeded, tunstack};

pub const TESTS: &[Test] = &[test("bench::measures_everybody", measures_everybody)];

fn measures_everybody() {
    let out = std::env::temp_dir().join(format!("tunstack-bench-{}", std::process::id()));
    let words = format!("bench --quick --seconds 0.1 --connections 100 --out {}", out.display());
    let output = feed(&mut tunstack(&words), b"").expect("built with the tests");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if complaint.contains("private namespace") || complaint.contains("/dev/net/tun") {
        skip(complaint.trim());
    }
    let table = succeeded(output, &words);
    for (ending, wanted) in [("json", "\"rounds\": ["), ("svg", "</svg>")] {
        let file = out.with_extension(ending);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let _ = std::fs::remove_file(&file);
        assert!(text.contains(wanted), "{text}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    for name in ["smoltcp", "plain TUN", "offload TUN"] {
        let missing = format!("{name} cannot be measured");
        assert!(!complaint.contains(&missing), "{complaint}\n{table}");
    }
    // A kernel without veth is a machine to be told of, no failure of ours.
    if !complaint.contains("kernel-veth cannot be measured") {
        let row = table.lines().find(|line| line.starts_with("connections/s")).unwrap_or_default();
        assert_eq!(row.matches('x').count(), 3, "three are compared with the kernel: {table}");
    }
}
