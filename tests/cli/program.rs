//! Running the command and talking with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A copy of the command that every user may run, wherever the build directory is. It lives as long as the parent of
/// the tests.
pub struct Copy(Option<PathBuf>);

impl Copy {
    pub fn new() -> Copy {
        if std::env::args().any(|word| word == "--child") {
            return Copy(None);
        }
        let path = path_for(std::process::id());
        std::fs::copy(env!("CARGO_BIN_EXE_tunstack"), &path).expect("room in the temporary directory");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("our file");
        Copy(Some(path))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Left behind at worst, in a directory for that.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn path_for(parent: u32) -> PathBuf {
    std::env::temp_dir().join(format!("tunstack-cli-{parent}"))
}

/// `tunstack` with these arguments, its words separated by blanks.
pub fn tunstack(arguments: &str) -> Command {
    let parent = rustix::process::getppid().expect("the tests").as_raw_nonzero().get();
    let mut command = Command::new(path_for(parent.cast_unsigned()));
    command.args(arguments.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub output: String,
    pub error: String,
}

/// Runs `tunstack` to its end.
pub fn run(arguments: &str) -> Said {
    run_with(arguments, b"")
}

/// The same with something on its standard input.
pub fn run_with(arguments: &str, input: &[u8]) -> Said {
    let mut command = tunstack(arguments);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("built");
    // A command that does not read its input closes it.
    let _ = child.stdin.take().expect("piped").write_all(input);
    let output = child.wait_with_output().expect("our child");
    Said {
        code: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `tunstack` refuses `arguments` with exit code 2 and this one sentence.
#[track_caller]
pub fn refuses(arguments: &str, sentence: &str) {
    let said = run(arguments);
    assert_eq!(
        (said.error.as_str(), said.code),
        (format!("tunstack: {sentence}\n").as_str(), Some(2)),
        "{arguments}"
    );
    assert_eq!(said.output, "", "{arguments}");
}

/// A `tunstack` that runs beside the test.
pub struct Running {
    child: Child,
    error: BufReader<std::process::ChildStderr>,
}

impl Running {
    /// Starts it and waits until it says a line with `ready` in it on standard error.
    pub fn start(arguments: &str, ready: &str) -> Running {
        Running::from(tunstack(arguments), ready)
    }

    pub fn from(mut command: Command, ready: &str) -> Running {
        let mut child = command.spawn().expect("built");
        let error = BufReader::new(child.stderr.take().expect("piped"));
        let mut running = Running { child, error };
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let n = running.error.read_line(&mut line).expect("a pipe can be read");
            all += &line;
            assert!(n > 0, "ended before it said {ready:?}: {all}");
            if line.contains(ready) {
                return running;
            }
        }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input.
    pub fn input(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("piped")
    }

    /// Sends a signal, as `kill` does.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("our child");
    }

    /// Waits for its end; what it said on standard output, and then on standard error.
    pub fn end(mut self) -> (ExitStatus, String, String) {
        let mut output = String::new();
        let mut error = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut output).expect("text");
        }
        self.error.read_to_string(&mut error).expect("text");
        (self.child.wait().expect("our child"), output, error)
    }

    /// Ends it with SIGTERM; it must do so in good order.
    #[track_caller]
    pub fn stop(self) -> String {
        self.signal(rustix::process::Signal::TERM);
        let (status, _, error) = self.end();
        assert!(status.success(), "{status} {error}");
        error
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already ended, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `condition` holds, for ten seconds at most.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
