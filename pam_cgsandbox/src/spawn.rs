//! Starts the helper with nothing of the host's in it, and leaves nothing of it in the host.

use crate::log::Failure;
use cgsandbox_protocol::SOCKET_FD;
use libc::{CLOSE_RANGE_CLOEXEC, FD_CLOEXEC, sigaction, sigset_t};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::unix::{net::UnixDatagram, process::CommandExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs::File, io, mem::zeroed, os::fd::AsRawFd, ptr::null_mut};

/// A running helper. Dropped, it is killed and reaped.
pub struct Helper {
    pub socket: UnixDatagram,
    child: Child,
    /// Dropped after the helper is reaped.
    _signals: HostSignals,
}

impl Helper {
    /// Starts `path` with `verb` as its argument.
    pub fn start(path: &str, verb: &str) -> Result<Self, Failure> {
        Self::spawn(path, verb).map_err(|error| Failure::of("start", path, error))
    }

    fn spawn(path: &str, verb: &str) -> io::Result<Self> {
        // Where the host has closed its standard fds, what is opened below must not become one.
        let mut low = vec![File::open("/dev/null")?];
        while low.last().is_some_and(|file| file.as_raw_fd() <= SOCKET_FD) {
            low.push(File::open("/dev/null")?);
        }
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (socket, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        let fd = theirs.as_raw_fd();
        let mut command = Command::new(path);
        command.arg0("cgsandbox-helper").arg(verb).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // The terminal's ^C is for the host, which then closes the socket.
        command.process_group(0);
        if rustix::process::geteuid().is_root() {
            // A set-uid host such as su(1) has its caller's real ids.
            command.uid(0).gid(0);
        }
        // SAFETY: `shed_host` only makes system calls, as the child of a threaded host must. Its
        // presence makes std fork, so nothing that the child changes shows in the host.
        unsafe { command.pre_exec(move || shed_host(fd)) };
        let signals = HostSignals::hold();
        Ok(Helper { socket: socket.into(), child: command.spawn()?, _signals: signals })
    }

    /// How it exited; `TimedOut` if it has not by the deadline.
    pub fn reap(&mut self, deadline: Instant) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            // A pidfd to wait for takes Linux 5.3; and the end is near when this is called.
            std::thread::sleep(left(deadline)?.min(Duration::from_micros(50)));
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Neither touches a helper that is reaped already. Bounded: what is stuck in the kernel
        // does not even die, and the login must not wait for it.
        let _ = self.child.kill();
        let _ = self.reap(Instant::now() + Duration::from_millis(500));
    }
}

/// The time until `deadline`; `TimedOut` when there is none.
pub fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// What the host does with signals; dropped, it does so again. Meanwhile SIGCHLD is at its
/// default: neither the host's handler nor, where the host ignores it, the kernel may reap the
/// helper. Other signals wait: no handler may run in the child, or half-way into the sandbox.
struct HostSignals {
    sigchld: sigaction,
    mask: sigset_t,
}

impl HostSignals {
    fn hold() -> Self {
        // SAFETY: live plain data; an all-zero sigaction is SIG_DFL, no flags, an empty mask.
        unsafe {
            let (default, mut sigchld): (sigaction, sigaction) = zeroed();
            let (mut others, mut mask): (sigset_t, sigset_t) = zeroed();
            libc::sigfillset(&mut others);
            libc::sigdelset(&mut others, libc::SIGCHLD);
            libc::pthread_sigmask(libc::SIG_SETMASK, &others, &mut mask);
            libc::sigaction(libc::SIGCHLD, &default, &mut sigchld);
            HostSignals { sigchld, mask }
        }
    }
}

impl Drop for HostSignals {
    fn drop(&mut self) {
        // SAFETY: both are as the two calls in `hold` returned them.
        unsafe {
            libc::sigaction(libc::SIGCHLD, &self.sigchld, null_mut());
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask, null_mut());
        }
    }
}

/// Sheds what the helper would inherit. Runs between fork and exec: system calls only.
fn shed_host(socket: i32) -> io::Result<()> {
    // SAFETY: numbers, C strings and live plain data; an all-zero sigaction is SIG_DFL.
    unsafe {
        if libc::syscall(libc::SYS_close_range, SOCKET_FD, i32::MAX, CLOSE_RANGE_CLOEXEC) != 0 {
            // Linux before 5.11. The bound is that of pam_modutil_sanitize_helper_fds(3).
            for fd in SOCKET_FD..=65535 {
                libc::fcntl(fd, libc::F_SETFD, FD_CLOEXEC);
            }
        }
        if libc::dup2(socket, SOCKET_FD) < 0 {
            return Err(io::Error::last_os_error());
        }
        // Where pam_selinux came first, exec would go into the user's context. Writing nothing
        // clears that (setexeccon(3)); without SELinux there is no such file, or it refuses.
        let flags = libc::O_WRONLY | libc::O_CLOEXEC;
        libc::write(libc::open(c"/proc/thread-self/attr/exec".as_ptr(), flags), null_mut(), 0);
        libc::umask(0o077);
        let (default, none): (sigaction, sigset_t) = zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            libc::sigaction(signal, &default, null_mut());
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, null_mut());
    }
    Ok(())
}
