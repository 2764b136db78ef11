//! Starts the helper with nothing of the host's in it, and leaves nothing of it in the host.

use crate::log::{Failure, Result};
use cgsandbox_protocol::SOCKET_FD;
use libc::{CLOSE_RANGE_CLOEXEC, FD_CLOEXEC, SYS_close_range, SYS_rt_sigaction, sigset_t};
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
    pub fn start(path: &str, verb: &str) -> Result<Self> {
        // What is opened below must not get a low fd that the host has closed.
        let _low = [(); SOCKET_FD as usize + 1].map(|()| File::open("/dev/null"));
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (socket, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        let (fd, mut command) = (theirs.as_raw_fd(), Command::new(path));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: the terminal's ^C is for the host, which then closes the socket.
        command.arg0("cgsandbox-helper").arg(verb).env_clear().current_dir("/").process_group(0);
        if rustix::process::geteuid().is_root() {
            // A set-uid host such as su(1) has its caller's real ids.
            command.uid(0).gid(0);
        }
        // SAFETY: `shed_host` only makes system calls. Its presence makes std fork, not vfork:
        // nothing that the child changes shows in the host.
        unsafe { command.pre_exec(move || shed_host(fd)) };
        let signals = HostSignals::hold();
        let child = command.spawn().map_err(|error| Failure::of("start", path, error))?;
        Ok(Helper { socket: socket.into(), child, _signals: signals })
    }

    /// How it exited, if it has by the deadline.
    pub fn reap(&mut self, deadline: Instant) -> io::Result<ExitStatus> {
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            // A pidfd to wait for takes Linux 5.3; and the end is near when this is called.
            std::thread::sleep(Duration::from_micros(50));
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Neither touches one that is reaped. Bounded: what is stuck in the kernel does not die.
        let _ = self.child.kill();
        let _ = self.reap(Instant::now() + Duration::from_millis(500));
    }
}

/// What the host does with SIGCHLD, and what it blocks; dropped, it does so again. Meanwhile
/// neither its handler nor, where it ignores SIGCHLD, the kernel reaps the helper, and no other
/// handler runs in the child or half-way into the sandbox.
struct HostSignals(KernelSigaction, sigset_t);

/// rt_sigaction(2)'s own struct. glibc's sigaction would add a flag, and refuses two signals.
type KernelSigaction = [u64; 4];
const SIG_DFL: KernelSigaction = [0; 4];

impl HostSignals {
    fn hold() -> Self {
        let mut before = SIG_DFL;
        // SAFETY: live plain data; 8 is the size of the kernel's signal set.
        unsafe {
            let (mut others, mut mask): (sigset_t, sigset_t) = zeroed();
            libc::sigfillset(&mut others);
            libc::sigdelset(&mut others, libc::SIGCHLD);
            libc::pthread_sigmask(libc::SIG_SETMASK, &others, &mut mask);
            libc::syscall(SYS_rt_sigaction, libc::SIGCHLD, &SIG_DFL, &mut before, 8);
            HostSignals(before, mask)
        }
    }
}

impl Drop for HostSignals {
    fn drop(&mut self) {
        // SAFETY: both are as the two calls in `hold` returned them.
        unsafe {
            libc::syscall(SYS_rt_sigaction, libc::SIGCHLD, &self.0, null_mut::<u64>(), 8);
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.1, null_mut());
        }
    }
}

/// Sheds what the helper would inherit. Runs between fork and exec: system calls only.
fn shed_host(socket: i32) -> io::Result<()> {
    // SAFETY: numbers, C strings and live plain data.
    unsafe {
        if libc::syscall(SYS_close_range, SOCKET_FD, i32::MAX, CLOSE_RANGE_CLOEXEC) != 0 {
            // Linux before 5.11. The bound is that of pam_modutil_sanitize_helper_fds(3).
            for fd in SOCKET_FD..=65535 {
                libc::fcntl(fd, libc::F_SETFD, FD_CLOEXEC);
            }
        }
        if libc::dup2(socket, SOCKET_FD) < 0 {
            return Err(io::Error::last_os_error());
        }
        // Where pam_selinux came first, exec would go into the user's context; to write nothing
        // clears that (setexeccon(3)). Elsewhere it fails and does not matter.
        let flags = libc::O_WRONLY | libc::O_CLOEXEC;
        libc::write(libc::open(c"/proc/thread-self/attr/exec".as_ptr(), flags), null_mut(), 0);
        libc::umask(0o077);
        for signal in 1..=64 {
            libc::syscall(SYS_rt_sigaction, signal, &SIG_DFL, null_mut::<u64>(), 8);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &zeroed(), null_mut());
    }
    Ok(())
}
