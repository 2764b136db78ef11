//! What the tests of private localhost share.

use std::sync::atomic::{AtomicU16, Ordering};

use cgsandbox_rig::{Builder, Host, Session};

pub const PRIVATE: &str = "[profile.default]\nloopback = \"private\"\n";

/// The first of a few ports that no other test has: servers on all addresses would meet. Each
/// file of tests has a `base` of its own.
pub fn unused_port_from(base: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    base + 8 * NEXT.fetch_add(1, Ordering::Relaxed)
}

pub fn build() -> Builder {
    Host::build().user("alice").user("bob").policy(PRIVATE)
}

/// A session that can run the probe.
pub fn session<'host>(host: &'host Host, user: &str) -> Session<'host> {
    host.write("/usr/local/bin/probe", include_str!("probe.py"));
    host.spawn_session(user)
}

pub fn probe(session: &mut Session<'_>, what: &str) -> String {
    session.sh(&format!("/usr/bin/python3 /usr/local/bin/probe {what}"))
}
