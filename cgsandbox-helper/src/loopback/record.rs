//! What the programs know of a user: one value in the storage of the user's cgroup.

use super::address::{Address, Pool};

/// How many ports of the system's a user may be given.
pub const MOST_SERVICES: usize = 16;

/// In bytes.
pub const SIZE: usize = 88;

/// Where its fields are, for the programs.
pub mod offset {
    /// The user's IPv4 address, in network order.
    pub const V4: i16 = 0;
    /// The user's number, in the machine's order; in [`MARK`]'s byte the mark's.
    pub const MARKED: i16 = 4;
    /// The user's IPv6 address, in network order.
    pub const V6: i16 = 8;
    /// The pool's first address, in network order.
    pub const POOL: i16 = 24;
    /// The pool's mask, in network order.
    pub const MASK: i16 = 28;
    /// The prefix's first half, in network order.
    pub const PREFIX: i16 = 32;
    /// Not 0: who binds to all addresses gets the user's own.
    pub const WILDCARD_IS_OWN: i16 = 40;
    /// Not 0: the host's network namespace, by its cookie.
    pub const NAMESPACE: i16 = 48;
    /// The ports of the system's services, in network order; 0 where there is none.
    pub const SERVICES: i16 = 56;
}

/// The first byte of the mark on a sandbox's packets on `lo`; the rest is the user's number.
/// Not one that an administrator is likely to give.
pub const MARK: u32 = 0xC6 << 24;

/// What of a mark is the number.
pub const NUMBER: u32 = 0x00FF_FFFF;

/// A user's private localhost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The user's addresses.
    pub address: Address,
    /// What they are from.
    pub pool: Pool,
    /// Whether a server on all addresses is one on the user's own.
    pub wildcard_is_own: bool,
    /// The host's network namespace; none where the kernel cannot tell.
    pub namespace: Option<u64>,
    /// The ports of the system's localhost that stay reachable.
    pub services: Vec<u16>,
}

impl Record {
    /// As the programs read it.
    pub fn to_bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: i16, field: &[u8]| {
            let at = at.unsigned_abs().into();
            bytes[at..][..field.len()].copy_from_slice(field);
        };
        put(offset::V4, &self.address.v4.octets());
        put(offset::MARKED, &(MARK | self.address.number).to_ne_bytes());
        put(offset::V6, &self.address.v6.octets());
        put(offset::POOL, &self.pool.v4.first().octets());
        put(offset::MASK, &self.pool.v4.mask().to_be_bytes());
        put(offset::PREFIX, &self.pool.v6.octets()[..8]);
        put(offset::WILDCARD_IS_OWN, &u32::from(self.wildcard_is_own).to_ne_bytes());
        put(offset::NAMESPACE, &self.namespace.unwrap_or(0).to_ne_bytes());
        for (port, at) in self.services.iter().zip((offset::SERVICES..).step_by(2)) {
            put(at, &port.to_be_bytes());
        }
        bytes
    }
}

/// One entry of the map of who may reach whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As the policy says.
    Granted = 1,
    /// Only what answers: the other one may reach this one.
    Answers = 2,
    /// Nothing, though one of the two is open to anybody else.
    Refused = 3,
}

/// In the place of a sender's number: anybody. It is no user's.
pub const ANYBODY: u32 = 0;

/// The key under which the map has what `sender` may send to `owner`, by their numbers.
pub fn reach_key(owner: u32, sender: u32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&owner.to_ne_bytes());
    key[4..].copy_from_slice(&sender.to_ne_bytes());
    key
}

/// The owner and the sender of a key.
pub fn reach_of_key(key: [u8; 8]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = key;
    (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
}
