//! The user's cgroup, written through cgroupfs: unified v2, hybrid and v1.
//!
//! `<mount>/<cgroup_root>/user-UID/` carries the limits in every hierarchy that is
//! used, `user-UID/session-ID/` below it the processes of one login. On v2 no process
//! is ever put into an inner node, as the kernel demands (`cgroup-v2.rst`, "No Internal
//! Process Constraint").
//!
//! Everything here is root's own: no path component comes from a user, and no file is
//! writable by one.

mod attribute;
mod directory;
mod file;
mod hierarchy;
mod limit;
mod membership;
mod tree;

pub use attribute::{Attribute, Unfit, attributes, session_attributes};
pub use file::{read as read_file, read_number};
pub use hierarchy::{Controller, Hierarchy, Version, find, mounted, unescape};
pub use limit::{apply as apply_limits, apply_to_session, stands};
pub use membership::Membership;
pub use tree::{Owner, Tree};
