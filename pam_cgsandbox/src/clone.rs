//! Starts the helper's process where no user can limit, freeze or count it: in a cgroup of ours.
//!
//! clone(2) of the C library cannot name a cgroup; the system call clone3(2) can
//! (`CLONE_INTO_CGROUP`, Linux 5.7, cgroup v2). Such a child never was in its parent's cgroup: not
//! even a user who has used up all tasks keeps it from starting, and the kernel waits for no grace
//! period, as it may when a running process is moved.

use cgsandbox_protocol::HELPER_CGROUPS;
use libc::{CLONE_VFORK, CLONE_VM, c_int, c_void};
use rustix::fs::{Mode, OFlags, open};
use std::io::{Error, Result};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

/// As in the kernel's `linux/sched.h`; libc's constant is too small for it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// What the child runs. It must not return.
pub type Child = extern "C" fn(*mut c_void) -> c_int;

/// Starts `child` on `stack` as after vfork(2): on this process's memory, while the calling thread
/// waits until the child execs or ends. The pid of the child.
///
/// Where the host has no cgroup for it, or the kernel refuses that one, the child begins where this
/// process is.
///
/// # Safety
/// `child` must be sound to run on this process's memory with `argument`, and must call exec or
/// `_exit`.
pub unsafe fn vfork(
    child: Child,
    argument: *mut c_void,
    stack: &mut [MaybeUninit<u128>],
) -> Result<c_int> {
    // SAFETY: the caller's promises; both return when the child has left `stack`.
    unsafe {
        match into_ours(child, argument, stack) {
            Some(pid) => Ok(pid),
            None => {
                let top = stack.as_mut_ptr_range().end.cast();
                let pid = libc::clone(child, top, CLONE_VM | CLONE_VFORK | libc::SIGCHLD, argument);
                if pid < 0 { Err(Error::last_os_error()) } else { Ok(pid) }
            }
        }
    }
}

/// The same in the cgroup for helpers, which only root can make; none where that cannot be.
///
/// # Safety
/// As [`vfork`].
unsafe fn into_ours(
    child: Child,
    argument: *mut c_void,
    stack: &mut [MaybeUninit<u128>],
) -> Option<c_int> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let cgroup = HELPER_CGROUPS.iter().find_map(|path| open(*path, flags, Mode::empty()).ok())?;
    // SAFETY: all zeros are a valid clone_args (clone(2)).
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = (CLONE_VM | CLONE_VFORK) as u64 | CLONE_INTO_CGROUP;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.stack = stack.as_mut_ptr() as u64;
    arguments.stack_size = size_of_val(stack) as u64;
    arguments.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: `arguments` describes a stack that the child has to itself; the rest is the caller's.
    let pid = unsafe { clone3(&arguments, child, argument) };
    (pid > 0).then_some(pid as c_int)
}

/// clone3(2) for a child with a stack of its own, which runs `child`. In the machine's own words,
/// for a function of the C library would return in the child, to what is not on the new stack.
///
/// # Safety
/// As [`vfork`]; and `arguments` must name a stack that nothing else uses until the child has left it.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
unsafe fn clone3(arguments: &libc::clone_args, child: Child, argument: *mut c_void) -> i64 {
    let result;
    // SAFETY: the parent comes out with its registers and stack as they were, but for what is named
    // here. The child has rsp at the end of its own stack, and never comes back.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") arguments,
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") argument,
            in("r13") child,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(arguments: &libc::clone_args, child: Child, argument: *mut c_void) -> i64 {
    let result;
    // SAFETY: as above, with sp for rsp.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") arguments => result,
            in("x1") size_of::<libc::clone_args>(),
            in("x20") argument,
            in("x21") child,
        );
    }
    result
}

/// Other processors have no words here: the child begins where this process is.
#[cfg(not(any(
    all(target_arch = "x86_64", target_pointer_width = "64"),
    target_arch = "aarch64"
)))]
unsafe fn clone3(_: &libc::clone_args, _: Child, _: *mut c_void) -> i64 {
    -i64::from(libc::ENOSYS)
}
