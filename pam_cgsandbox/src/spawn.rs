//! Starts the helper with nothing of the host's in it, and leaves nothing of it in the host.

use crate::log::{Failure, Result, failed};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::unix::{net::UnixDatagram, process::CommandExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{io, mem::zeroed, ptr::null_mut};

/// A running helper. Dropped, it is killed and reaped.
pub struct Helper {
    pub socket: UnixDatagram,
    child: Child,
    /// Dropped after the helper is reaped.
    _sigchld: HostSigchld,
}

impl Helper {
    /// Starts `path` with `verb` as its argument.
    pub fn start(path: &str, verb: &str) -> Result<Self> {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, kind, flags, None).map_err(failed)?;
        let mut command = Command::new(path);
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: the terminal's ^C is for the host, which then closes the socket.
        command.arg0("cgsandbox-helper").arg(verb).env_clear().current_dir("/").process_group(0);
        if rustix::process::geteuid().is_root() {
            // A set-uid host such as su(1) has its caller's real ids.
            command.uid(0).gid(0);
        }
        // SAFETY: `shed_host` makes system calls only. For its sake std forks, and not vforks.
        unsafe { command.pre_exec(shed_host) };
        let _sigchld = HostSigchld(sigaction(libc::SIGCHLD, [0; 4]));
        let child = command.spawn().map_err(|error| Failure::of("start", path, error))?;
        Ok(Helper { socket: socket.into(), child, _sigchld })
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

/// The host's SIGCHLD, back when dropped; in between, at the default, nobody else reaps the helper.
struct HostSigchld([u64; 4]);

impl Drop for HostSigchld {
    fn drop(&mut self) {
        sigaction(libc::SIGCHLD, self.0);
    }
}

/// rt_sigaction(2) in its own terms, where all zeros are SIG_DFL: what it returned is restored to
/// the bit, and no signal is refused, as by glibc's. `new` is zeros or has been returned by it.
fn sigaction(signal: i32, new: [u64; 4]) -> [u64; 4] {
    let mut before = [0; 4];
    // SAFETY: both hold the kernel's struct, of 32 bytes or less; its signal set has 8.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &new, &mut before, 8) };
    before
}

/// Sheds what the helper would inherit. Runs between fork and exec: system calls only.
fn shed_host() -> io::Result<()> {
    (1..=64).for_each(|signal| _ = sigaction(signal, [0; 4]));
    // SAFETY: numbers, C strings and live plain data.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, &zeroed(), null_mut());
        if libc::syscall(libc::SYS_close_range, 3, i32::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
            // Linux before 5.11. The bound is that of pam_modutil_sanitize_helper_fds(3).
            for fd in 3..=65535 {
                libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
        // Where pam_selinux came first, exec would go into the user's context; to write nothing
        // clears that (setexeccon(3)). Elsewhere it fails and does not matter.
        let flags = libc::O_WRONLY | libc::O_CLOEXEC;
        libc::write(libc::open(c"/proc/thread-self/attr/exec".as_ptr(), flags), null_mut(), 0);
        libc::umask(0o077);
    }
    Ok(())
}
