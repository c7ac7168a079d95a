//! Runs each test in a child process, as the user and with the device node that it asks for.

use std::ffi::CString;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tunstack::link::netns::{Privilege, enter_private};

/// Longest time that a test may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Exit status of a child that skips its test.
const SKIPPED: i32 = 77;
/// The user and group that tests run as when not as the one who started them.
pub const NOBODY: u32 = 65534;

/// Who runs a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever started the tests.
    Me,
    /// Root; skipped for others.
    Root,
    /// Another user without any right; needs root to become that one.
    Nobody,
}

/// The device node that a test finds. All but `AsIs` need root to prepare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    AsIs,
    /// Everybody may open it.
    Open,
    /// Only root may open it.
    Closed,
    /// There is none.
    Missing,
}

/// A test: its name, under which circumstances it runs, and what it does.
#[derive(Clone, Copy)]
pub struct Test {
    pub name: &'static str,
    pub who: Who,
    pub node: Node,
    pub run: fn(),
}

/// A test of whoever started the tests.
pub const fn test(name: &'static str, run: fn()) -> Test {
    Test { name, who: Who::Me, node: Node::AsIs, run }
}

/// A test of this user with this node.
pub const fn test_as(name: &'static str, who: Who, node: Node, run: fn()) -> Test {
    Test { name, who, node, run }
}

/// Ends the test without a result.
pub fn skip(reason: &str) -> ! {
    println!("skip: {reason}");
    std::process::exit(SKIPPED)
}

/// Enters a private namespace; skips the test where that or opening the device node is not allowed.
pub fn private() -> Privilege {
    let privilege = enter_private().unwrap_or_else(|error| skip(&error.to_string()));
    match std::fs::File::options().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => privilege,
        Err(error) => skip(&format!("/dev/net/tun: {error}")),
    }
}

/// Runs `ip` with these words, or skips the test where it is not installed.
pub fn ip(words: &str) -> String {
    match Command::new("ip").args(words.split_whitespace()).output() {
        Ok(output) => {
            let problem = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "ip {words}: {problem}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Err(error) => skip(&format!("ip cannot be run ({error}): apt install iproute2")),
    }
}

/// This test binary, to be run as `--child NAME` of a helper in `netns`.
pub fn this_program() -> PathBuf {
    std::env::current_exe().expect("/proc is there")
}

pub fn main(tests: &[Test]) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, ..] = &words[..]
        && flag == "--child"
    {
        let test = tests.iter().find(|test| test.name == name).expect("a known test");
        (test.run)();
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let exact = words.iter().any(|word| word == "--exact");
    let matches = |name: &str| {
        wanted.is_empty() || wanted.iter().any(|word| if exact { name == *word } else { name.contains(word) })
    };
    let chosen: Vec<&Test> = tests.iter().filter(|test| matches(test.name)).collect();
    if words.iter().any(|word| word == "--list") {
        chosen.iter().for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    let ignored_only = words.iter().any(|word| word == "--ignored");
    run_all(if ignored_only { &[] } else { &chosen })
}

fn run_all(tests: &[&Test]) -> ExitCode {
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    let copy = Copy::new();
    let (mut failed, mut skipped) = (Vec::new(), 0);
    let start = Instant::now();
    println!("\nrunning {} tests", tests.len());
    for test in tests {
        match run_one(test, &copy.0) {
            Verdict::Passed => println!("test {} ... ok", test.name),
            Verdict::Skipped(reason) => {
                skipped += 1;
                println!("test {} ... skipped: {reason}", test.name);
                if strict {
                    failed.push(test.name);
                }
            }
            Verdict::Failed(output) => {
                println!("test {} ... FAILED\n{output}", test.name);
                failed.push(test.name);
            }
        }
    }
    let passed = tests.len() - skipped - failed.len().min(tests.len() - skipped);
    // The words of Rust's own test runner, for whoever adds them up.
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed; {skipped} ignored; 0 measured; 0 filtered out; finished in {:.2}s",
        failed.len(),
        start.elapsed().as_secs_f64()
    );
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {failed:?}{}", if strict { " (with CI=true a skipped test fails)" } else { "" });
    ExitCode::FAILURE
}

enum Verdict {
    Passed,
    Skipped(String),
    Failed(String),
}

fn run_one(test: &Test, program: &Path) -> Verdict {
    let root = rustix::process::geteuid().is_root();
    if !root && (test.who != Who::Me || test.node != Node::AsIs) {
        return Verdict::Skipped("needs root to change user or device node".to_owned());
    }
    let mut command = Command::new(program);
    command.args(["--child", test.name]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (who, node) = (test.who, test.node);
    // SAFETY: the closure makes system calls only, on strings that were made before.
    unsafe {
        let names = Names::new();
        command.pre_exec(move || prepare(who, node, &names));
    }
    let child = match command.spawn() {
        Ok(child) => child,
        // A machine on which even root may not mount.
        Err(error) if test.node != Node::AsIs => {
            return Verdict::Skipped(format!("preparing the node: {error}"));
        }
        Err(error) => return Verdict::Failed(format!("cannot start: {error}")),
    };
    let (status, output) = wait(child);
    match status.and_then(|status| status.code()) {
        Some(0) => Verdict::Passed,
        Some(SKIPPED) => {
            let reason = output.lines().rev().find_map(|line| line.strip_prefix("skip: "));
            Verdict::Skipped(reason.unwrap_or("no reason given").to_owned())
        }
        Some(_) => Verdict::Failed(output),
        None => Verdict::Failed(format!("{output}\nkilled, or longer than {LIMIT:?}")),
    }
}

/// Reads all that the child says and waits for its end, at most for [`LIMIT`].
fn wait(mut child: Child) -> (Option<std::process::ExitStatus>, String) {
    let mut pipes: [Box<dyn Read + Send>; 2] =
        [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
    let started = Instant::now();
    std::thread::scope(|scope| {
        let readers = pipes.each_mut().map(|pipe| {
            scope.spawn(move || {
                let mut text = Vec::new();
                pipe.read_to_end(&mut text).expect("a pipe can be read");
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        let status = loop {
            match child.try_wait().expect("our child") {
                Some(status) => break Some(status),
                None if started.elapsed() > LIMIT => {
                    child.kill().expect("our child");
                    child.wait().expect("our child");
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        (status, readers.map(|reader| reader.join().expect("reads only")).concat())
    })
}

/// A copy of this program that every user may run, wherever the build directory is.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Copy {
        let path = std::env::temp_dir().join(format!("tunstack-device-{}", std::process::id()));
        std::fs::copy(this_program(), &path).expect("room in the temporary directory");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("our file");
        Copy(path)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Left behind at worst, in a directory for that.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Strings for system calls in the child.
struct Names {
    root: CString,
    tmpfs: CString,
    directory: CString,
    node: CString,
}

impl Names {
    fn new() -> Names {
        let text = |text: &str| CString::new(text).expect("no zero in it");
        Names {
            root: text("/"),
            tmpfs: text("tmpfs"),
            directory: text("/dev/net"),
            node: text("/dev/net/tun"),
        }
    }
}

/// Between fork and exec: puts the node in place in a mount namespace that ends with the child, and changes the user.
fn prepare(who: Who, node: Node, names: &Names) -> std::io::Result<()> {
    let check = |result: i32| if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    // SAFETY: system calls on zero-terminated strings that outlive them.
    unsafe {
        if node != Node::AsIs {
            check(libc::unshare(libc::CLONE_NEWNS))?;
            let (none, flags) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
            check(libc::mount(none, names.root.as_ptr(), none, flags, none.cast()))?;
            check(libc::mount(
                names.tmpfs.as_ptr(),
                names.directory.as_ptr(),
                names.tmpfs.as_ptr(),
                0,
                none.cast(),
            ))?;
            check(libc::chmod(names.directory.as_ptr(), 0o755))?;
        }
        let mode = match node {
            Node::AsIs | Node::Missing => None,
            Node::Open => Some(0o666),
            Node::Closed => Some(0o600),
        };
        if let Some(mode) = mode {
            check(libc::mknod(names.node.as_ptr(), libc::S_IFCHR | mode, libc::makedev(10, 200)))?;
            check(libc::chmod(names.node.as_ptr(), mode))?;
        }
        if who == Who::Nobody {
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setresgid(NOBODY, NOBODY, NOBODY))?;
            check(libc::setresuid(NOBODY, NOBODY, NOBODY))?;
        }
    }
    Ok(())
}
