//! The addresses that users with a private localhost have on this machine's `lo`.

use crate::etc::User;
use crate::program::output_of;
use std::net::Ipv6Addr;

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

pub(crate) fn remove_from_lo(user: &User) {
    if left_on_lo(user).is_some() {
        let address = format!("{}/128", v6(user.uid));
        output_of(&["ip", "-6", "address", "delete", &address, "dev", "lo"]);
    }
}
