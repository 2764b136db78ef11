//! A throw-away host with a real sshd whose PAM stack has the one line of pam_cgsandbox.
//!
//! ```no_run
//! use cgsandbox_rig::Host;
//!
//! let host = Host::build().user("alice").policy("[profile.default]\ntasks_max = 20\n").start();
//! assert_eq!(host.ssh("alice").cmd("id -un").run().ok(), "alice");
//! ```
//!
//! The host is a mount namespace and a pid namespace over the machine's own files: `/etc`
//! and `/usr` are overlays, `/run`, `/home`, `/root`, `/tmp`, `/dev` and `/var/log` are
//! fresh. What the host changes is gone with it, its processes are killed by the kernel
//! with its init, and its init goes when the test does, however that ends. Only cgroups are
//! the machine's: they lie under a root of the host's own, which the host removes.
//!
//! The kernel, the cgroup hierarchies and the loopback network are the real ones; IPv6 addresses of
//! the host's users go from `lo` with the host. The rig
//! needs root. Its calls panic: what they report is that a test can't go on.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod boot;
mod builder;
mod cgroup;
mod container;
mod dev;
mod etc;
mod host;
mod landing;
pub mod loopback;
mod machine;
mod namespace;
mod process;
mod program;
mod session;
mod ssh;
mod syslog;
mod time;

pub use builder::{Builder, Propagation};
pub use cgroup::{Hierarchies, Hierarchy};
pub use container::Processes;
pub use host::Host;
pub use machine::lacks;
pub use process::Process;
pub use program::{Output, Running};
pub use session::Session;
pub use ssh::Ssh;
pub use time::{eventually, patience};
