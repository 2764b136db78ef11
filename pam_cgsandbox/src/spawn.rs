//! Starts the helper with nothing of the host's in it, and leaves nothing of it in the host.

use crate::failure::Failure;
use crate::handoff::Deadline;
use cgsandbox_protocol::SOCKET_FD;
use libc::{c_int, sigaction, sigset_t};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::fs::{File, read_dir};
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::{net::UnixDatagram, process::CommandExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr::null_mut;
use std::time::Duration;

/// A running helper. Dropped, it is killed and reaped.
pub struct Helper {
    pub socket: UnixDatagram,
    child: Child,
    /// Dropped after the helper is reaped.
    _sigchld: DefaultSigchld,
}

impl Helper {
    /// Starts `path` with `verb` as its argument.
    pub fn start(path: &str, verb: &str) -> Result<Self, Failure> {
        Self::spawn(path, verb).map_err(|error| Failure::of("start", path, error))
    }

    fn spawn(path: &str, verb: &str) -> io::Result<Self> {
        // Where the host has closed its standard fds, what is opened below must not become one.
        let mut low = vec![File::open("/dev/null")?];
        while low.last().is_some_and(|fd| fd.as_raw_fd() <= SOCKET_FD) {
            low.push(File::open("/dev/null")?);
        }
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        let (socket, highest) = (theirs.as_raw_fd(), highest_fd());
        let mut command = Command::new(path);
        command.arg0("cgsandbox-helper").arg(verb).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: `shed_host` makes system calls only, as the child of a threaded host must. That
        // it is there makes std fork: what the child changes never shows in the host.
        unsafe { command.pre_exec(move || shed_host(socket, highest)) };
        let sigchld = DefaultSigchld::set();
        let blocked = AllSignalsBlocked::set();
        let child = command.spawn();
        drop(blocked);
        Ok(Helper { socket: UnixDatagram::from(ours), child: child?, _sigchld: sigchld })
    }

    /// How it exited; `TimedOut` if it has not by the deadline.
    pub fn reap(&mut self, deadline: &Deadline) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            // pidfds, which could be polled, are as young as Linux 5.3; its end is near anyway.
            std::thread::sleep(deadline.left()?.min(Duration::from_micros(50)));
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // A helper that has exited and been reaped is left alone by both.
        let _ = self.child.kill();
        // Bounded: a process stuck in the kernel does not even die, and the login must not wait.
        let _ = self.reap(&Deadline::after(Duration::from_millis(500)));
    }
}

/// SIGCHLD at its default, so that neither a handler of the host's nor, where the host ignores
/// it, the kernel reaps the helper. Dropped, it is as before.
struct DefaultSigchld(sigaction);

impl DefaultSigchld {
    fn set() -> Self {
        // SAFETY: an all-zero sigaction is SIG_DFL, no flags, an empty mask; both are live.
        unsafe {
            let (default, mut before): (sigaction, sigaction) = zeroed();
            libc::sigaction(libc::SIGCHLD, &default, &mut before);
            DefaultSigchld(before)
        }
    }
}

impl Drop for DefaultSigchld {
    fn drop(&mut self) {
        // SAFETY: the value is what sigaction(2) returned.
        unsafe { libc::sigaction(libc::SIGCHLD, &self.0, null_mut()) };
    }
}

/// No handler of the host's may run in the child. Dropped, the mask is as before.
struct AllSignalsBlocked(sigset_t);

impl AllSignalsBlocked {
    fn set() -> Self {
        // SAFETY: plain data, written before it is read.
        unsafe {
            let (mut all, mut before): (sigset_t, sigset_t) = zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            AllSignalsBlocked(before)
        }
    }
}

impl Drop for AllSignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the value is what pthread_sigmask(3) returned.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, null_mut()) };
    }
}

fn highest_fd() -> RawFd {
    let number =
        |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    // 1 << 20: no fd is above the default of fs.nr_open.
    read_dir("/proc/self/fd").ok().and_then(|fds| fds.filter_map(number).max()).unwrap_or(1 << 20)
}

/// Sheds what the helper would inherit. Runs between fork and exec: system calls only.
fn shed_host(socket: RawFd, highest: RawFd) -> io::Result<()> {
    // SAFETY: numbers, C strings and live plain data; an all-zero sigaction is SIG_DFL.
    unsafe {
        let all = (SOCKET_FD, c_int::MAX, libc::CLOSE_RANGE_CLOEXEC);
        if libc::syscall(libc::SYS_close_range, all.0, all.1, all.2) != 0 {
            // Linux before 5.11.
            (SOCKET_FD..=highest)
                .for_each(|fd| drop(libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC)));
        }
        check(libc::dup2(socket, SOCKET_FD))?;
        // A set-uid host such as su(1) has its caller's ids. Raw calls: glibc's would signal
        // threads, which fork did not copy.
        if libc::geteuid() == 0 && (libc::getuid(), libc::getgid(), libc::getegid()) != (0, 0, 0) {
            check(libc::syscall(libc::SYS_setgroups, 0, null_mut::<libc::gid_t>()) as c_int)?;
            check(libc::syscall(libc::SYS_setgid, 0) as c_int)?;
            check(libc::syscall(libc::SYS_setuid, 0) as c_int)?;
        }
        // Where pam_selinux came first, exec would go into the user's context. Writing nothing
        // clears that (setexeccon(3)); the file is absent where there is no SELinux.
        let context =
            libc::open(c"/proc/thread-self/attr/exec".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        libc::write(context, null_mut(), 0);
        libc::umask(0o077);
        // The terminal's ^C and hang-up are the host's; it then closes the socket.
        libc::setsid();
        let (default, none): (sigaction, sigset_t) = zeroed();
        (1..=libc::SIGRTMAX())
            .for_each(|signal| drop(libc::sigaction(signal, &default, null_mut())));
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, null_mut());
    }
    Ok(())
}

fn check(returned: c_int) -> io::Result<()> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
