//! What the tests of private localhost share.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, UdpSocket};
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

/// A socket of the machine's own, which answers "machine" and from whom it was asked.
pub fn machine_serves(address: &str) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let datagrams = UdpSocket::bind((address, port)).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let peer = connection.peer_addr().unwrap().ip();
            let _ = connection.write_all(format!("machine sees {peer} at its own").as_bytes());
            // What it was sent is read: a reset would take the answer with it.
            let _ = connection.shutdown(Shutdown::Write);
            let _ = connection.read_to_end(&mut Vec::new());
        }
    });
    std::thread::spawn(move || {
        loop {
            let mut buffer = [0; 100];
            let (_, peer) = datagrams.recv_from(&mut buffer).unwrap();
            let answer = format!("machine sees {} at its own", peer.ip());
            let _ = datagrams.send_to(answer.as_bytes(), peer);
        }
    });
    port
}
