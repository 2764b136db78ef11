//! What stands in for sshd: a small process that forks one for each login.
//!
//! It runs inside the host, takes orders on stdin and answers on stdout, a line each:
//!
//! ```text
//! run COUNT GAP_MS   COUNT logins one after another, each opened after a pause; a line for each
//! hold USER          a login that stays until this process ends; one line
//! ```

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use crate::pam::Pam;

/// The soft limit of open files that sshd's processes have: modules that close what they
/// might have inherited go by it, or by the hard one.
const OPEN_FILES: u64 = 1024;

/// What one login came to; on the wire its fields in this order, with blanks between.
#[derive(Debug, Clone)]
pub struct Login {
    /// How long it took to open the session.
    pub open: Duration,
    /// How long it took to close it; zero for one that is held.
    pub close: Duration,
    /// What `pam_open_session` returned.
    pub code: i32,
    /// Whether the process was in other cgroups afterwards.
    pub moved: bool,
    /// The peak memory of the largest process that it started, in kB (getrusage(2)).
    pub largest_child: u64,
}

impl Login {
    /// From a line.
    pub fn parse(line: &str) -> Self {
        let fields: Vec<u64> = line
            .split_whitespace()
            .map(|field| {
                field.parse().unwrap_or_else(|_| panic!("no answer of a caller: {line:?}"))
            })
            .collect();
        let [open, close, code, moved, largest_child] = fields[..] else {
            panic!("no answer of a caller: {line:?}")
        };
        Login {
            open: Duration::from_nanos(open),
            close: Duration::from_nanos(close),
            code: i32::try_from(code).expect("a PAM code"),
            moved: moved != 0,
            largest_child,
        }
    }

    fn say(&self) {
        let mut line = String::new();
        let (open, close) = (self.open.as_nanos(), self.close.as_nanos());
        let moved = u8::from(self.moved);
        writeln!(line, "{open} {close} {} {moved} {}", self.code, self.largest_child)
            .expect("a string takes everything");
        std::io::stdout().write_all(line.as_bytes()).expect("the bench reads");
    }
}

/// What a login does.
enum Operation {
    /// Opens a session through this PAM service.
    Pam { service: String, user: String },
    /// Enters a fresh cgroup below this directory.
    Write { below: PathBuf },
}

/// Serves until stdin ends. `words` are `pam SERVICE USER` or `write DIRECTORY`.
pub fn serve(words: &[&str]) {
    let operation = match words {
        ["pam", service, user] => {
            Operation::Pam { service: (*service).to_owned(), user: (*user).to_owned() }
        }
        ["write", below] => Operation::Write { below: PathBuf::from(below) },
        _ => panic!("a caller is started by the bench only"),
    };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("can't ask for rlimits");
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES.min(hard), hard).expect("can't set an rlimit");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("can't read orders");
        match *line.split(' ').collect::<Vec<_>>() {
            ["run", count, gap] => {
                let gap = Duration::from_millis(gap.parse().expect("a number"));
                for _ in 0..count.parse().expect("a number") {
                    run(&operation, gap);
                }
            }
            ["hold", user] => hold(&operation, user),
            _ => panic!("no such order: {line:?}"),
        }
    }
}

fn run(operation: &Operation, gap: Duration) {
    match operation {
        Operation::Pam { service, user } => {
            in_child(|| through_pam(service, user, gap).say())();
        }
        Operation::Write { below } => {
            let fresh = below.join("fresh");
            std::fs::create_dir(&fresh).expect("can't make a cgroup");
            in_child(|| by_write(&fresh, gap).say())();
            remove_cgroup(&fresh);
        }
    }
}

/// A process that is past its end may still count for a moment.
fn remove_cgroup(cgroup: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = std::fs::remove_dir(cgroup) {
        assert!(Instant::now() < deadline, "can't remove {}: {error}", cgroup.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Forks a process that does `job`; returns what waits for its end.
fn in_child(job: impl FnOnce()) -> impl FnOnce() {
    // SAFETY: this process has one thread.
    match unsafe { fork() }.expect("can't fork") {
        ForkResult::Child => {
            job();
            std::process::exit(0);
        }
        ForkResult::Parent { child } => move || {
            let status = waitpid(child, None).expect("can't wait");
            assert!(matches!(status, WaitStatus::Exited(_, 0)), "a login died: {status:?}");
        },
    }
}

fn through_pam(service: &str, user: &str, gap: Duration) -> Login {
    let mut pam = Pam::start(service, user)
        .unwrap_or_else(|code| panic!("pam_start({service:?}) returned {code}"));
    let mut login = timed_open(&mut pam, gap);
    let start = Instant::now();
    let code = pam.close_session();
    login.close = start.elapsed();
    // A module that failed to open may well refuse to close.
    assert!(login.code != 0 || code == 0, "pam_close_session({service:?}) returned {code}");
    login.largest_child = largest_child();
    login
}

fn timed_open(pam: &mut Pam, gap: Duration) -> Login {
    let before = own_cgroups();
    std::thread::sleep(gap);
    let start = Instant::now();
    let code = pam.open_session();
    let open = start.elapsed();
    let moved = own_cgroups() != before;
    Login { open, close: Duration::ZERO, code, moved, largest_child: largest_child() }
}

fn by_write(cgroup: &Path, gap: Duration) -> Login {
    let procs = cgroup.join("cgroup.procs");
    let before = own_cgroups();
    std::thread::sleep(gap);
    let start = Instant::now();
    let procs = OpenOptions::new().write(true).open(procs);
    procs.and_then(|mut procs| procs.write_all(b"0")).expect("can't enter a cgroup");
    let open = start.elapsed();
    let moved = own_cgroups() != before;
    Login { open, close: Duration::ZERO, code: 0, moved, largest_child: 0 }
}

fn hold(operation: &Operation, user: &str) {
    let Operation::Pam { service, .. } = operation else { panic!("only PAM holds sessions") };
    let started = in_child(|| {
        let mut pam = Pam::start(service, user)
            .unwrap_or_else(|code| panic!("pam_start({service:?}) returned {code}"));
        timed_open(&mut pam, Duration::ZERO).say();
        loop {
            std::thread::park();
        }
    });
    // It ends with the host.
    drop(started);
}

fn own_cgroups() -> String {
    std::fs::read_to_string("/proc/thread-self/cgroup").expect("no /proc/thread-self/cgroup")
}

fn largest_child() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("can't ask for the usage of children");
    u64::try_from(usage.max_rss()).unwrap_or_default()
}
