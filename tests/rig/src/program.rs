//! Programs that run as root inside the host.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::time::patience;

/// What a program needs to find others; everything else is left out of its environment.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Held for reading while a process is being started, for writing while a file is open that
/// may be executed: a process just forked still has every file open that its parent had, and
/// the kernel executes nothing that is open for writing.
static STARTING: RwLock<()> = RwLock::new(());

/// Starts a process. Everything in the rig is started here.
pub fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let _guard = STARTING.read().expect("no panic under lock");
    command.spawn()
}

/// Runs a program to its end where the calling thread is.
pub fn output_of(argv: &[&str]) -> std::process::Output {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).env_clear().env("PATH", PATH).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child =
        spawn(&mut command).unwrap_or_else(|error| panic!("can't run {}: {error}", argv[0]));
    child.wait_with_output().expect("can't wait for a child")
}

/// Runs `write` while no process is being started.
pub fn with_nothing_starting<T>(write: impl FnOnce() -> T) -> T {
    let _guard = STARTING.write().expect("no panic under lock");
    write()
}

/// A program about to run inside the host, as root, with a minimal environment.
pub struct Program<'host> {
    host: &'host Host,
    argv: Vec<String>,
    environment: Vec<(String, String)>,
    stdin: Vec<u8>,
    limit: Duration,
}

/// What a program left.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status; -1 when a signal ended it.
    pub status: i32,
    /// Its stdout, with other bytes than UTF-8 replaced.
    pub stdout: String,
    /// Its stderr, likewise.
    pub stderr: String,
    /// Its stdout, byte by byte.
    pub bytes: Vec<u8>,
}

impl Output {
    /// Its stdout without surrounding white space. Panics unless it exited with 0.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.status, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout.trim()
    }

    /// What it said on stdout and stderr. Panics if it exited with 0.
    #[track_caller]
    pub fn refused(&self) -> String {
        assert_ne!(self.status, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl<'host> Program<'host> {
    pub(crate) fn new(host: &'host Host, argv: Vec<String>) -> Self {
        Program { host, argv, environment: Vec::new(), stdin: Vec::new(), limit: patience(30.0) }
    }

    /// Another argument.
    pub fn arg(mut self, argument: &str) -> Self {
        self.argv.push(argument.to_owned());
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// What it reads from stdin; then end of file.
    pub fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }

    /// How long [`Program::run`] waits: [`patience`]`(seconds)`, not the usual 30.
    pub fn within(mut self, seconds: f64) -> Self {
        self.limit = patience(seconds);
        self
    }

    /// Runs it to its end. Panics when it takes too long.
    #[track_caller]
    pub fn run(self) -> Output {
        let (limit, input) = (self.limit, self.stdin.clone());
        let mut running = self.start();
        running.send(&input);
        running.finish(limit)
    }

    /// Starts it; its stdin stays open.
    pub fn start(self) -> Running {
        let Program { host, argv, environment, .. } = self;
        let name = argv.join(" ");
        let argv = [host.launcher(), argv.as_slice()].concat();
        let child = host.inside(move || {
            let mut command = Command::new(&argv[0]);
            command
                .args(&argv[1..])
                .env_clear()
                .env("PATH", PATH)
                .env("HOME", "/root")
                .env("TERM", "xterm")
                .env("LC_ALL", "C.UTF-8")
                .envs(environment)
                .current_dir("/root")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            spawn(&mut command).unwrap_or_else(|error| panic!("can't start {}: {error}", argv[0]))
        });
        Running::watch(name, child)
    }
}

/// A program that has been started. Dropping it kills it.
pub struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Collector,
    stderr: Collector,
}

impl Running {
    /// A child of the caller's, with its three streams piped; `name` is for messages.
    pub fn watch(name: String, mut child: Child) -> Self {
        let stdin = child.stdin.take();
        let stdout = Collector::of(child.stdout.take().expect("stdout is piped"));
        let stderr = Collector::of(child.stderr.take().expect("stderr is piped"));
        Running { name, child, stdin, stdout, stderr }
    }

    /// Writes to its stdin. That it has closed its stdin is no error.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
        }
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Whether it has not exited yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("can't wait for a child").is_none()
    }

    /// Closes its stdin and waits for its end, at most `limit`. Panics after that.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Output {
        self.stdin = None;
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("can't wait for a child") {
                break status;
            }
            if Instant::now() > deadline {
                panic!(
                    "{} runs for more than {limit:?}\nstdout: {}\nstderr: {}",
                    self.name,
                    self.stdout(),
                    self.stderr()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        self.output(status)
    }

    /// Kills it and returns what it had written.
    pub fn kill(mut self) -> Output {
        let _ = self.child.kill();
        let status = self.child.wait().expect("can't wait for a child");
        self.output(status)
    }

    fn output(&mut self, status: ExitStatus) -> Output {
        let bytes = self.stdout.rest();
        Output {
            status: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&bytes).into_owned(),
            stderr: String::from_utf8_lossy(&self.stderr.rest()).into_owned(),
            bytes,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Neither fails for a child that has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a pipe to its end, beside everything else.
struct Collector {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Collector {
    fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut chunk = [0; 64 * 1024];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                shared.lock().expect("no panic under lock").extend_from_slice(&chunk[..length]);
            }
        });
        Collector { bytes, thread }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no panic under lock")).into_owned()
    }

    /// Everything, once its writer is gone. A daemon may have kept the pipe: then what there
    /// is after a second.
    fn rest(&self) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(1);
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.bytes.lock().expect("no panic under lock").clone()
    }
}
