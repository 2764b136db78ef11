//! A program that uses PAM as sshd does, and reports what a module did to it.
//!
//! `pam-host DIRECTORY USER OPTION... -- STEP...`. It runs in a mount namespace of its own, whose
//! `/dev`, `/run`, `/etc/passwd` and `/etc/nsswitch.conf` come from DIRECTORY, and writes its
//! report there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use libc::{c_char, c_int, c_void};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Gid, Uid};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

const NOBODY: u32 = 65534;
const PAM_SILENT: c_int = 0x8000;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    unused: c_int,
}

type Converse = extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Converse,
    data: *mut c_void,
}

/// Rust's standard library panics where it cannot ask for the time.
static CLOCK_IS_BROKEN: AtomicBool = AtomicBool::new(false);

/// In the place of the C library's, in this program and what it loads.
// SAFETY: it has the signature of clock_gettime(2), and does what that does.
#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    if CLOCK_IS_BROKEN.load(Ordering::Relaxed) {
        return -1;
    }
    // SAFETY: the caller's pointer is as good for the kernel as for the C library.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int }
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        directory: *const c_char,
        pam: *mut *mut c_void,
    ) -> c_int;
    fn pam_set_item(pam: *mut c_void, item: c_int, value: *const c_void) -> c_int;
    fn pam_authenticate(pam: *mut c_void, flags: c_int) -> c_int;
    fn pam_setcred(pam: *mut c_void, flags: c_int) -> c_int;
    fn pam_acct_mgmt(pam: *mut c_void, flags: c_int) -> c_int;
    fn pam_chauthtok(pam: *mut c_void, flags: c_int) -> c_int;
    fn pam_open_session(pam: *mut c_void, flags: c_int) -> c_int;
    fn pam_close_session(pam: *mut c_void, flags: c_int) -> c_int;
    fn pam_end(pam: *mut c_void, status: c_int) -> c_int;
}

fn main() {
    // A module that hangs is to fail its test, not to hang it.
    nix::unistd::alarm::set(60);
    let mut words = std::env::args_os().skip(1);
    let directory = PathBuf::from(words.next().unwrap());
    let user = words.next().unwrap();
    let words: Vec<OsString> = words.collect();
    let (options, steps) = words.split_at(words.iter().position(|word| word == "--").unwrap());
    let options: Vec<Vec<u8>> = options.iter().map(|word| word.clone().into_vec()).collect();
    let has = |option: &str| options.iter().any(|word| word == option.as_bytes());
    if !has("prepared") {
        let module = options.iter().find_map(|word| word.strip_prefix(b"module=")).unwrap();
        prepare(&directory, Path::new(OsStr::from_bytes(module)), has("as=nobody"));
        let error = std::process::Command::new("/proc/self/exe")
            .args([directory.as_os_str(), &user, "prepared".as_ref()])
            .args(&words)
            .exec();
        panic!("exec: {error}");
    }
    let mut host = Host::start(directory, user, &options);
    for step in &steps[1..] {
        host.take(step.to_str().unwrap());
    }
    host.finish();
}

/// Makes the view that the module is to see, and gives up the privileges that it is not to have.
fn prepare(directory: &Path, module: &Path, as_nobody: bool) {
    let none = None::<&str>;
    let real_root = Uid::effective().is_root();
    if real_root {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
    } else {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
            .expect("without root, these tests need user namespaces");
        map_ids(&format!("0 {uid} 1"), &format!("0 {gid} 1"));
    }
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let bind = |from: &Path, to: &Path| {
        mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
            .unwrap_or_else(|error| panic!("bind {} to {}: {error}", from.display(), to.display()));
    };
    // By mounts, not copies: they may lie where nobody may look, and a fresh copy may be busy.
    bind(module, &directory.join("module.so"));
    bind(
        &std::env::current_exe().unwrap().with_file_name("fake-helper"),
        &directory.join("helper"),
    );
    bind(Path::new("/dev/null"), &directory.join("dev/null"));
    for (ours, place) in [("dev", "/dev"), ("run", "/run"), ("passwd", "/etc/passwd")] {
        bind(&directory.join(ours), Path::new(place));
    }
    bind(&directory.join("nsswitch.conf"), Path::new("/etc/nsswitch.conf"));
    if as_nobody && real_root {
        nix::unistd::setgroups(&[]).unwrap();
        nix::unistd::setgid(Gid::from_raw(NOBODY)).unwrap();
        nix::unistd::setuid(Uid::from_raw(NOBODY)).unwrap();
    } else if as_nobody {
        unshare(CloneFlags::CLONE_NEWUSER).unwrap();
        map_ids(&format!("{NOBODY} 0 1"), &format!("{NOBODY} 0 1"));
    }
}

fn map_ids(uids: &str, gids: &str) {
    // A nested namespace has this set already and does not let it be set again.
    let _ = std::fs::write("/proc/self/setgroups", "deny");
    std::fs::write("/proc/self/uid_map", uids).unwrap();
    std::fs::write("/proc/self/gid_map", gids).unwrap();
}

type Messages = Vec<String>;

struct Host {
    directory: PathBuf,
    options: Vec<Vec<u8>>,
    user: CString,
    flags: c_int,
    pam: *mut c_void,
    /// Messages from the module, in its order. libpam holds a pointer to it.
    messages: Box<Messages>,
    before: BTreeSet<String>,
    report: String,
}

impl Host {
    fn start(directory: PathBuf, user: OsString, options: &[Vec<u8>]) -> Self {
        let mut host = Host {
            directory,
            options: options.to_vec(),
            user: CString::new(user.into_vec()).unwrap(),
            flags: 0,
            pam: null_mut(),
            messages: Box::default(),
            before: BTreeSet::new(),
            report: String::new(),
        };
        for option in options {
            become_hostile(&String::from_utf8_lossy(option), &mut host.flags);
        }
        host.begin();
        host.before = state();
        host
    }

    fn value(&self, key: &str) -> Option<CString> {
        let value = self.options.iter().find_map(|word| word.strip_prefix(key.as_bytes()))?;
        Some(CString::new(value).unwrap())
    }

    fn begin(&mut self) {
        let conversation =
            Conversation { converse, data: (&raw mut *self.messages).cast::<c_void>() };
        let confdir =
            CString::new(self.directory.join("pam.d").into_os_string().into_vec()).unwrap();
        let service = self.value("service=").unwrap_or(c"svc".to_owned());
        // SAFETY: all pointers are live; libpam copies what it keeps, and `messages` is boxed.
        unsafe {
            let started = pam_start_confdir(
                service.as_ptr(),
                self.user.as_ptr(),
                &conversation,
                confdir.as_ptr(),
                &mut self.pam,
            );
            assert_eq!(started, 0, "pam_start_confdir");
            for (item, key) in [(3, "tty="), (4, "rhost=")] {
                if let Some(value) = self.value(key) {
                    assert_eq!(pam_set_item(self.pam, item, value.as_ptr().cast()), 0);
                }
            }
            if self.value("no-user").is_some() {
                assert_eq!(pam_set_item(self.pam, 2, null()), 0);
            }
        }
    }

    fn take(&mut self, step: &str) {
        let start = Instant::now();
        // SAFETY: the handle is live until pam_end, after which `begin` makes another.
        let code = unsafe {
            match step {
                "authenticate" => pam_authenticate(self.pam, self.flags),
                "setcred" => pam_setcred(self.pam, self.flags),
                "account" => pam_acct_mgmt(self.pam, self.flags),
                "password" => pam_chauthtok(self.pam, self.flags),
                "open" => pam_open_session(self.pam, self.flags),
                "close" => pam_close_session(self.pam, self.flags),
                "again" => {
                    let ended = pam_end(self.pam, 0);
                    self.begin();
                    ended
                }
                "last-fds" => {
                    // Modules are loaded by now. The next fd is the first that is free.
                    let next = nix::unistd::dup(std::io::stdin()).unwrap().as_raw_fd() as u64;
                    let limit = libc::rlimit { rlim_cur: next + 2, rlim_max: next + 2 };
                    let set = libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
                    self.before = state();
                    set
                }
                "break-return" => {
                    refuse(libc::SYS_setns, libc::EPERM);
                    0
                }
                "open-without-a-clock" => {
                    CLOCK_IS_BROKEN.store(true, Ordering::Relaxed);
                    let code = pam_open_session(self.pam, self.flags);
                    CLOCK_IS_BROKEN.store(false, Ordering::Relaxed);
                    code
                }
                "close-in-child" => in_child(|| pam_close_session(self.pam, self.flags)),
                "end-in-child" => in_child(|| pam_end(self.pam, 0)),
                _ => panic!("unknown step {step}"),
            }
        };
        let ms = start.elapsed().as_millis();
        let view = if self.directory.join("view/inside").exists() { "user" } else { "host" };
        writeln!(self.report, "step {step} code {code} ms {ms} view {view}").unwrap();
        for text in std::mem::take(&mut *self.messages) {
            writeln!(self.report, "message {text}").unwrap();
        }
        let now = state();
        for line in self.before.symmetric_difference(&now) {
            let sign = if now.contains(line) { '+' } else { '-' };
            writeln!(self.report, "changed {sign} {line}").unwrap();
        }
    }

    fn finish(mut self) {
        // SAFETY: the handle is live and not used again.
        unsafe { pam_end(self.pam, 0) };
        let left = state();
        for line in self.before.symmetric_difference(&left) {
            writeln!(self.report, "left {line}").unwrap();
        }
        std::fs::write(self.directory.join("report"), &self.report).unwrap();
    }
}

/// What `wait(2)` says of a child that does `call` on the handle that it inherited.
fn in_child(call: impl FnOnce() -> c_int) -> c_int {
    // SAFETY: this program has no other thread where these steps are used.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => std::process::exit(call()),
        nix::unistd::ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            nix::sys::wait::WaitStatus::Exited(_, code) => code,
            other => panic!("{other:?}"),
        },
    }
}

extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    // SAFETY: as pam_conv(3) says; `data` is the Vec that `begin` passed.
    unsafe {
        assert_eq!(count, 1);
        let message = &**messages;
        let text = CStr::from_ptr(message.text).to_string_lossy();
        (*data.cast::<Messages>()).push(format!("{} {text}", message.style));
        *responses = libc::calloc(1, size_of::<Response>()).cast();
    }
    0
}

static SIGCHLDS_REAPED: AtomicU32 = AtomicU32::new(0);

extern "C" fn reap_all(_: c_int) {
    // SAFETY: waitpid(2) is async-signal-safe.
    while unsafe { libc::waitpid(-1, null_mut(), libc::WNOHANG) } > 0 {
        SIGCHLDS_REAPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes this process one that a careless module would break.
fn become_hostile(option: &str, flags: &mut c_int) {
    let (key, value) = option.split_once('=').unwrap_or((option, ""));
    match (key, value) {
        ("silent", _) => *flags |= PAM_SILENT,
        ("sigchld", "ignore") => disposition(libc::SIGCHLD, libc::SIG_IGN, 0),
        ("sigchld", "no-zombies") => disposition(libc::SIGCHLD, libc::SIG_DFL, libc::SA_NOCLDWAIT),
        ("sigchld", "handler") => {
            let flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
            disposition(libc::SIGCHLD, reap_all as *const () as usize, flags);
        }
        ("signals", "odd") => {
            disposition(libc::SIGTERM, libc::SIG_IGN, 0);
            disposition(libc::SIGHUP, reap_all as *const () as usize, libc::SA_NODEFER);
            disposition(libc::SIGRTMIN() + 3, libc::SIG_IGN, 0);
            // SAFETY: an initialised set of one signal.
            unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigaddset(&mut set, libc::SIGUSR1);
                libc::sigprocmask(libc::SIG_SETMASK, &set, null_mut());
            }
        }
        ("stdio", "closed") => {
            for fd in 0..=2 {
                // SAFETY: nothing of this process uses its standard fds from here on.
                unsafe { libc::close(fd) };
            }
        }
        ("fds", number) => {
            for _ in 0..number.parse().unwrap() {
                // SAFETY: a C string. The fd has no close-on-exec flag and is leaked on purpose.
                assert!(unsafe { libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY) } >= 0);
            }
        }
        ("fd", number) => {
            let number: c_int = number.parse().unwrap();
            // SAFETY: fds that this process owns; the new one is leaked on purpose.
            let made = unsafe { libc::dup2(libc::open(c"/".as_ptr(), 0), number) };
            assert_eq!(made, number);
        }
        ("thread", _) => {
            std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(3600)));
        }
        ("umask", _) => {
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits(0o123).unwrap());
        }
        ("cwd", path) => std::env::set_current_dir(path).unwrap(),
        ("chroot", _) => {
            // Another mount of the same tree, but for a mark that tells the two apart.
            let (none, root) = (None::<&str>, "/srv");
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some("/"), root, none, bind, none).unwrap();
            mount(Some("tmpfs"), "/srv/mnt", Some("tmpfs"), MsFlags::empty(), none).unwrap();
            std::fs::write("/srv/mnt/chroot", "").unwrap();
            std::os::unix::fs::chroot(root).unwrap();
            std::env::set_current_dir("/").unwrap();
        }
        ("real-uid", uid) => {
            // As of a set-uid program: real ids of the caller, effective ids of root.
            nix::unistd::setgroups(&[Gid::from_raw(NOBODY)])
                .expect("only root has two ids in one process: run this test as root");
            let (gid, root) = (Gid::from_raw(uid.parse().unwrap()), Gid::from_raw(0));
            nix::unistd::setresgid(gid, root, root).unwrap();
            let (uid, root) = (Uid::from_raw(uid.parse().unwrap()), Uid::from_raw(0));
            nix::unistd::setresuid(uid, root, root).unwrap();
        }
        // As a kernel before Linux 5.9.
        ("no-close-range", _) => refuse(libc::SYS_close_range, libc::ENOSYS),
        _ => {}
    }
}

fn disposition(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: an all-zero sigaction is valid; the handler is a constant or async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &action, null_mut()), 0);
    }
}

/// Lets a system call fail with `errno`.
fn refuse(call: libc::c_long, errno: c_int) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        // The call's number is the first field of `struct seccomp_data`.
        instruction(LOAD, 0, 0, 0),
        instruction(JUMP_IF_EQUAL, 0, 1, call as u32),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter is live and says its own length.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter), 0);
    }
}

/// Everything of this process that a module must leave as it was, one fact a line.
fn state() -> BTreeSet<String> {
    let mut state = BTreeSet::new();
    let fds: Vec<OsString> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    for fd in fds {
        // The listing's own fd is closed by now.
        if let Ok(target) = std::fs::read_link(Path::new("/proc/self/fd").join(&fd)) {
            let info = std::fs::read_to_string(Path::new("/proc/self/fdinfo").join(&fd)).unwrap();
            let flags = info.lines().find(|line| line.starts_with("flags")).unwrap();
            state.insert(format!("fd {} {} {flags}", fd.display(), target.display()));
        }
    }
    let facts = ["Uid", "Gid", "Groups", "Umask", "SigQ", "SigPnd", "ShdPnd", "SigBlk", "SigIgn"];
    let facts = [&facts[..], &["SigCgt", "NoNewPrivs", "Seccomp", "Threads", "CapEff"]].concat();
    for line in std::fs::read_to_string("/proc/self/status").unwrap().lines() {
        let key = line.split(':').next().unwrap();
        if facts.contains(&key) && key != "SigQ" {
            state.insert(line.to_owned());
        }
    }
    for signal in 1..=64 {
        // SAFETY: an all-zero sigaction is valid and is only written to.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, null(), &mut action) == 0 {
                let (handler, flags) = (action.sa_sigaction, action.sa_flags);
                let mask = (1..=64).filter(|n| libc::sigismember(&action.sa_mask, *n) == 1);
                state.insert(format!(
                    "signal {signal} {handler} {flags} {:?}",
                    mask.collect::<Vec<_>>()
                ));
            }
        }
    }
    for (key, value) in std::env::vars_os() {
        state.insert(format!("environment {}={}", key.display(), value.display()));
    }
    for limit in std::fs::read_to_string("/proc/self/limits").unwrap().lines() {
        state.insert(limit.to_owned());
    }
    for link in ["cwd", "root", "ns/mnt"] {
        let target = std::fs::read_link(Path::new("/proc/self").join(link)).unwrap();
        state.insert(format!("{link} {}", target.display()));
    }
    state.insert(format!("chroot {}", Path::new("/mnt/chroot").exists()));
    let children = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Err(nix::errno::Errno::ECHILD) => "none".to_owned(),
        other => format!("{other:?}"),
    };
    state.insert(format!("children {children}"));
    state.insert(format!("reaped by SIGCHLD {}", SIGCHLDS_REAPED.load(Ordering::Relaxed)));
    state
}
