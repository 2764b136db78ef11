//! Starts the helper with nothing of the host's in it, and leaves nothing of it in the host.

use crate::clone::vfork;
use crate::log::{Failure, Result, failed};
use libc::{SYS_rt_sigaction, SYS_rt_sigprocmask};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::os::{fd::AsRawFd, unix::net::UnixDatagram, unix::process::ExitStatusExt};
use std::time::{Duration, Instant};
use std::{io, process::ExitStatus, ptr::null};

/// A running helper. Dropped, it is killed and reaped.
pub struct Helper {
    pub socket: UnixDatagram,
    /// None once it is reaped: the number may be another's by then.
    pid: Option<Pid>,
    /// The host's, back when this is dropped; until then no handler of its reaps the helper.
    sigchld: [u64; 4],
}

impl Helper {
    /// Starts `path` with `verb` as its argument.
    pub fn start(path: &str, verb: &CStr) -> Result<Self> {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, kind, flags, None).map_err(failed)?;
        let (program, socket_fd) = (CString::new(path).map_err(failed)?, theirs.as_raw_fd());
        let mut launch = Launch(program.as_ptr(), verb.as_ptr(), socket_fd, 0);
        let mut stack = Box::<[u128]>::new_uninit_slice(2048);
        let sigchld = signals(SYS_rt_sigaction, libc::SIGCHLD, [0; 4]);
        let mut helper = Helper { socket: socket.into(), pid: None, sigchld };
        // A handler of the host's that ran in the child would run on the host's memory.
        let mask = signals(SYS_rt_sigprocmask, libc::SIG_SETMASK, [u64::MAX; 4]);
        // SAFETY: `become_helper` makes system calls only, and ends in exec or _exit.
        let started = unsafe { vfork(become_helper, (&raw mut launch).cast(), &mut stack) };
        signals(SYS_rt_sigprocmask, libc::SIG_SETMASK, mask);
        helper.pid = Pid::from_raw(started.map_err(|error| Failure::of("start", path, error))?);
        match launch.3 {
            0 => Ok(helper),
            errno => Err(Failure::of("start", path, io::Error::from_raw_os_error(errno))),
        }
    }

    /// How it exited, if it has by the deadline; soon, for the end of its socket has been seen.
    pub fn reap(&mut self, deadline: Instant) -> io::Result<ExitStatus> {
        let pid = self.pid.ok_or(io::ErrorKind::NotFound)?;
        for turn in 0.. {
            match waitpid(Some(pid), WaitOptions::NOHANG).transpose() {
                Some(end) => {
                    // Also where a thread of the host's was faster.
                    self.pid = None;
                    return Ok(end.map(|(_, status)| ExitStatus::from_raw(status.as_raw()))?);
                }
                None if Instant::now() >= deadline => break,
                // A sleep takes several times what is left of a helper that exits.
                None if turn < 200 => std::thread::yield_now(),
                None => std::thread::sleep(Duration::from_micros(100)),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Asked once before, for the number of one that is reaped may be another's.
        if let (Err(_), Some(pid)) = (self.reap(Instant::now()), self.pid) {
            let _ = kill_process(pid, Signal::KILL);
            // Bounded: what is stuck in the kernel does not die.
            let _ = self.reap(Instant::now() + Duration::from_millis(500));
        }
        signals(SYS_rt_sigaction, libc::SIGCHLD, self.sigchld);
    }
}

/// rt_sigaction(2) or rt_sigprocmask(2), which take the same, in the kernel's own terms: all zeros
/// are SIG_DFL, what was returned is restored to the bit, and no signal is refused, as by glibc's.
fn signals(call: c_long, which: c_int, new: [u64; 4]) -> [u64; 4] {
    let mut before = [0; 4];
    // SAFETY: both hold the kernel's struct, of 32 bytes or less, and a signal set, of 8.
    unsafe { libc::syscall(call, which, &new, &mut before, 8) };
    before
}

/// The program, its argument, its end of the socket; and why the child did not become it, if not 0.
struct Launch(*const c_char, *const c_char, c_int, c_int);

/// The child, from clone(2) to exec. As after vfork(2) it runs on the host's memory, which spares a
/// copy of that, while the host waits: system calls only, and none that glibc would have the
/// host's threads join in, or be cancelled at.
extern "C" fn become_helper(launch: *mut c_void) -> c_int {
    // SAFETY: `start` gives it a `Launch` of live C strings. The rest are numbers.
    unsafe {
        let Launch(program, verb, socket, errno) = &mut *launch.cast();
        let open_to_write = |path: &CStr| -> c_int {
            libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_WRONLY) as c_int
        };
        let mut must = |done: bool| {
            if !done {
                *errno = *libc::__errno_location();
                libc::_exit(127)
            }
        };
        if libc::geteuid() == 0 {
            // A set-uid host such as su(1) has the real ids of its caller, who could signal this.
            must(libc::syscall(libc::SYS_setgid, 0) == 0);
            must(libc::syscall(libc::SYS_setgroups, 0, null::<c_void>()) == 0);
            must(libc::syscall(libc::SYS_setuid, 0) == 0);
        }
        // A group of its own: the terminal's ^C and ^Z are for the host, which waits for this.
        must(libc::setpgid(0, 0) == 0);
        // To be ignored (1) discards what has come; then the default (0), then the mask.
        for action in [[1, 0, 0, 0], [0; 4]] {
            (1..=64).for_each(|signal| _ = signals(SYS_rt_sigaction, signal, action));
        }
        signals(SYS_rt_sigprocmask, libc::SIG_SETMASK, [0; 4]);
        libc::umask(0o077);
        must(libc::chdir(c"/".as_ptr()) == 0);
        // Where pam_selinux came first, exec would go into the user's context; to write nothing
        // clears that (setexeccon(3)). Elsewhere it fails and does not matter.
        let attribute = open_to_write(c"/proc/thread-self/attr/exec");
        libc::syscall(libc::SYS_write, attribute, null::<c_void>(), 0);
        // Out of the way of 0 to 2, which the host may have had closed.
        let void = open_to_write(c"/dev/null");
        let high = [*socket, void, void].map(|fd| libc::fcntl(fd, libc::F_DUPFD, 3));
        must(high[2] >= 0);
        (0..).zip(high).for_each(|(fd, high)| must(libc::dup2(high, fd) == fd));
        if libc::syscall(libc::SYS_close_range, 3, i32::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0 {
            // Linux before 5.11. The bound is that of pam_modutil_sanitize_helper_fds(3).
            (3..=65535).for_each(|fd| _ = libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC));
        }
        let argv = [c"cgsandbox-helper".as_ptr(), *verb, null()];
        must(libc::execve(*program, argv.as_ptr(), argv[2..].as_ptr()) == 0);
        libc::_exit(127)
    }
}
