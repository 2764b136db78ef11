//! Which addresses are whose: a function of the uid, unless the configuration says otherwise.
//!
//! A user's number is the uid modulo the size of the pool; the IPv4 address is the pool's first
//! plus that number, the IPv6 address the prefix with that number at its end. So both are known
//! without asking anything, and the same after every reboot.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What the users' addresses are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// IPv4, inside 127.0.0.0/8.
    pub v4: Network4,
    /// IPv6, a /64 of unique local addresses (RFC 4193).
    pub v6: Ipv6Addr,
}

/// An IPv4 network of at least four and at most 2^22 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network4 {
    first: u32,
    bits: u32,
}

/// What one user's `localhost` comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The user's number in the pool, from 1 on.
    pub number: u32,
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

/// 127.0.0.1 and the rest of the first /10 stay the system's.
const MOST_BITS: u32 = 22;

impl Default for Pool {
    fn default() -> Self {
        Pool {
            v4: Network4 { first: u32::from(Ipv4Addr::new(127, 64, 0, 0)), bits: MOST_BITS },
            // "cgsbx" in hexadecimal: it never leaves the machine, so it need not be random.
            v6: Ipv6Addr::new(0xfd63, 0x6773, 0x6278, 0, 0, 0, 0, 0),
        }
    }
}

impl Network4 {
    /// From `ADDRESS/LENGTH`; none where that is not such a network inside 127.0.0.0/8 that
    /// leaves 127.0.0.0/10 alone.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, length) = text.split_once('/')?;
        let first = u32::from(first.parse::<Ipv4Addr>().ok()?);
        let bits = 32_u32.checked_sub(length.parse().ok()?)?;
        let network = Network4 { first, bits };
        let fits = (2..=MOST_BITS).contains(&bits)
            && first & !network.mask() == 0
            && first >> 24 == 127
            && first >> MOST_BITS != 127 << (24 - MOST_BITS);
        fits.then_some(network)
    }

    /// The bits that all its addresses share.
    pub fn mask(self) -> u32 {
        u32::MAX << self.bits
    }

    /// Its first address, which nobody gets.
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(self.first)
    }

    /// How many addresses it has.
    pub fn size(self) -> u32 {
        1 << self.bits
    }
}

impl fmt::Display for Network4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first(), 32 - self.bits)
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/64", self.v4, self.v6)
    }
}

impl Pool {
    /// What [`Pool`] is displayed as.
    pub fn parse(text: &str) -> Option<Self> {
        let (v4, v6) = text.split_once(' ')?;
        Some(Pool { v4: Network4::parse(v4)?, v6: parse_prefix(v6)? })
    }

    /// The addresses of a uid; none for the uids whose number would be 0.
    pub fn of_uid(&self, uid: u32) -> Option<Address> {
        self.numbered(uid % self.v4.size())
    }

    /// The addresses that go with an IPv4 address of the pool.
    pub fn of_v4(&self, v4: Ipv4Addr) -> Option<Address> {
        let number = u32::from(v4) ^ self.v4.first;
        if number >= self.v4.size() { None } else { self.numbered(number) }
    }

    fn numbered(&self, number: u32) -> Option<Address> {
        (number > 0).then(|| Address {
            number,
            v4: Ipv4Addr::from(self.v4.first | number),
            v6: Ipv6Addr::from(u128::from(self.v6) | u128::from(number)),
        })
    }
}

/// A /64 of unique local addresses, as `PREFIX::/64`.
pub fn parse_prefix(text: &str) -> Option<Ipv6Addr> {
    let prefix: Ipv6Addr = text.strip_suffix("/64")?.parse().ok()?;
    let fits = u128::from(prefix) << 64 == 0 && prefix.octets()[0] == 0xfd;
    fits.then_some(prefix)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_users_addresses_follow_from_the_uid() {
        let pool = Pool::default();
        let address = pool.of_uid(1000).unwrap();
        assert_eq!(address.v4.to_string(), "127.64.3.232");
        assert_eq!(address.v6.to_string(), "fd63:6773:6278::3e8");
        assert_eq!(pool.of_v4(address.v4), Some(address));
        assert_eq!(
            pool.of_uid((1 << 22) + 1000),
            Some(address),
            "the pool is used up: a collision"
        );
        assert_eq!(pool.of_uid(1 << 22), None);
        assert_eq!(pool.of_uid(u32::MAX - 1).unwrap().v4.to_string(), "127.127.255.254");
        assert_eq!(pool.of_v4(Ipv4Addr::new(127, 0, 0, 1)), None);
        assert_eq!(pool.of_v4(Ipv4Addr::new(127, 128, 0, 1)), None);
        assert_eq!(pool.of_v4(Ipv4Addr::new(127, 64, 0, 0)), None);
        assert_eq!(Pool::parse(&pool.to_string()), Some(pool));
    }

    #[test]
    fn a_pool_is_inside_of_localhost_and_leaves_the_systems_alone() {
        for good in ["127.64.0.0/10", "127.200.0.0/16", "127.255.255.0/24", "127.192.0.0/10"] {
            assert_eq!(Network4::parse(good).unwrap().to_string(), good);
        }
        let bad = [
            "127.0.0.0/8",
            "127.0.0.0/10",
            "127.0.0.0/24",
            "127.63.0.0/16",
            "10.0.0.0/16",
            "127.64.0.1/10",
            "127.64.0.0",
            "127.64.0.0/33",
            "127.64.0.0/31",
            "127.64.0.0/9",
            "",
        ];
        for bad in bad {
            assert_eq!(Network4::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_unique_local() {
        assert!(parse_prefix("fd00:1:2:3::/64").is_some());
        for bad in ["fe80::/64", "fd00::/48", "fd00::1/64", "2001:db8::/64", "fc00::/64", "fd00::"]
        {
            assert_eq!(parse_prefix(bad), None, "{bad}");
        }
    }
}
