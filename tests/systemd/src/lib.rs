//! A machine with systemd as PID 1, logind in its PAM stacks, and the one line in them.
//!
//! ```no_run
//! use cgsandbox_systemd_tests::Machine;
//!
//! let machine = Machine::build().user("alice").policy("[profile.default]\ntasks_max = 99\n").start();
//! assert_eq!(machine.ssh("alice").cmd("id -un").run().ok(), "alice");
//! assert_eq!(machine.tasks_max("alice"), Some(99));
//! ```
//!
//! Unlike the rig's hosts, which are many on one machine, this is the machine itself: its
//! `/etc`, its sshd, its logind, its PID 1. `tests/vm/run` boots one that nobody else needs;
//! anywhere else the tests refuse to run. They take turns, and each begins by taking back
//! what an earlier one may have left. The calls panic: what they report is that a test can't
//! go on.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod account;
mod builder;
mod command;
mod install;
mod journal;
mod leftovers;
mod limit;
mod login;
mod machine;
mod pam;
mod session;
mod sweep;
mod unit;

pub use builder::Builder;
pub use cgsandbox_rig::{Output, Process, Running, eventually, patience};
pub use install::PACKAGES;
pub use login::Login;
pub use machine::Machine;
pub use pam::{LINE, Place};
pub use session::Session;
