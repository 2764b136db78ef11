//! This machine's own localhost, and the addresses that users with a private one have on `lo`.

use crate::etc::User;
use crate::program::output_of;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

/// The number at the end of both of a user's addresses, by default.
fn number(user: &User) -> u32 {
    user.uid % (1 << 22)
}

/// The IPv4 address that the documentation promises.
pub fn v4(uid: u32) -> String {
    let [_, b, c, d] = (uid % (1 << 22)).to_be_bytes();
    format!("127.{}.{c}.{d}", 64 + b)
}

/// The IPv6 address that the documentation promises.
pub fn v6(uid: u32) -> String {
    let [a, b, c, d] = (uid % (1 << 22)).to_be_bytes().map(u16::from);
    Ipv6Addr::new(0xfd63, 0x6773, 0x6278, 0, 0, 0, a << 8 | b, c << 8 | d).to_string()
}

/// What there is of the user on `lo`.
pub(crate) fn left_on_lo(user: &User) -> Option<String> {
    let number = format!("fd6367736278000000000000{:08x}", number(user));
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    table.lines().find(|line| line.starts_with(&number)).map(|line| format!("address {line}"))
}

/// The IPv6 addresses that somebody has on the host that this thread is on.
pub(crate) fn claimed() -> Vec<String> {
    let claims = std::fs::read_dir("/run/cgsandbox/loopback/address").into_iter().flatten();
    let targets = claims.flatten().filter_map(|claim| std::fs::read_link(claim.path()).ok());
    let v6 = |target: PathBuf| Some(target.to_str()?.split_once(' ')?.1.to_owned());
    targets.filter_map(v6).collect()
}

pub(crate) fn remove_from_lo(addresses: &[String]) {
    for address in addresses {
        let address = format!("{address}/128");
        output_of(&["ip", "-6", "address", "delete", &address, "dev", "lo"]);
    }
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

/// What the machine's own processes are answered there.
pub fn machine_asks(address: &str, port: u16) -> String {
    let mut answer = String::new();
    let mut connection = TcpStream::connect((address, port)).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// An address of this machine that is not localhost.
pub fn interface_address() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: this only chooses a way.
    match socket.connect("192.0.2.1:9") {
        Ok(()) => socket.local_addr().unwrap().ip().to_string(),
        Err(_) => panic!("this machine has no address but localhost"),
    }
}
