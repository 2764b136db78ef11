//! The programs against the rules, for addresses of every kind: each kind of program in a file of
//! its own, and here what all have in common.
#![allow(clippy::unwrap_used, clippy::panic)]

mod filter;
mod fuzz;
mod hook;
mod interpreter;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cgsandbox_bpf::{AttachType, Program};

use super::address::Pool;
use super::programs::{ALL, VERSION};
use super::record::{ANYBODY, Reach, Record, SIZE, reach_key};
pub(crate) use fuzz::claims;
use interpreter::Machine;

const OWN: u32 = 1000;
const FRIEND: u32 = 1001;
const ASKER: u32 = 1002;
const STRANGER: u32 = 1003;
/// Lets in anybody.
const OPEN: u32 = 1004;
/// Lets in anybody but `OWN`, and is not let in by it.
const BARRED: u32 = 1005;
const HOST: u64 = 7;

fn record() -> Record {
    let pool = Pool::default();
    Record {
        address: pool.of_uid(OWN).unwrap(),
        pool,
        wildcard_is_own: false,
        namespace: Some(HOST),
        services: vec![53, 5432],
    }
}

/// The entries of the map of who may reach whom, where `OWN` itself does not let in anybody.
fn entry(owner: u32, sender: u32) -> Option<Reach> {
    match (owner, sender) {
        (OWN, FRIEND) | (FRIEND, OWN) => Some(Reach::Granted),
        (OWN, ASKER) | (ASKER, OWN) => Some(Reach::Answers),
        (OWN, BARRED) | (BARRED, OWN) => Some(Reach::Refused),
        (OPEN | BARRED, ANYBODY) => Some(Reach::Granted),
        _ => None,
    }
}

/// The same where it does.
fn entry_of_open(owner: u32, sender: u32) -> Option<Reach> {
    if (owner, sender) == (OWN, ANYBODY) { Some(Reach::Granted) } else { entry(owner, sender) }
}

/// Both.
const ENTRIES: [fn(u32, u32) -> Option<Reach>; 2] = [entry, entry_of_open];

fn machine(record: &Record) -> Machine {
    machine_with(record, entry)
}

fn machine_with(record: &Record, entry: fn(u32, u32) -> Option<Reach>) -> Machine {
    let mut reach = BTreeMap::new();
    let all = [ANYBODY, OWN, FRIEND, ASKER, STRANGER, OPEN, BARRED];
    for (owner, sender) in all.iter().flat_map(|owner| all.map(|sender| (*owner, sender))) {
        if let Some(value) = entry(owner, sender) {
            reach.insert(reach_key(owner, sender), value as u8);
        }
    }
    Machine {
        context: vec![0; 192],
        record: record.to_bytes().to_vec(),
        reach,
        namespace: HOST,
        ..Machine::default()
    }
}

fn program(at: AttachType) -> Program {
    ALL.into_iter().find(|(_, there, _)| *there == at).unwrap().2()
}

/// Addresses of every kind, and the neighbours of each.
fn addresses() -> Vec<IpAddr> {
    let pool = Pool::default();
    let mut v4: Vec<Ipv4Addr> = [
        "0.0.0.0",
        "0.0.0.1",
        "127.0.0.0",
        "127.0.0.1",
        "127.0.0.2",
        "127.0.0.53",
        "127.0.1.1",
        "127.63.255.255",
        "127.64.0.0",
        "127.64.0.1",
        "127.127.255.255",
        "127.128.0.0",
        "127.255.255.255",
        "126.255.255.255",
        "128.0.0.1",
        "10.0.0.5",
        "192.168.1.1",
        "224.0.0.251",
        "223.255.255.255",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect();
    let mut v6: Vec<Ipv6Addr> = [
        "::",
        "::1",
        "::2",
        "0:0:0:1::1",
        "fe80::1",
        "feff::1",
        "ff02::fb",
        "2001:db8::1",
        "fd63:6773:6278::",
        "fd63:6773:6278::1",
        "fd63:6773:6278:0:0:1:0:3e8",
        "fd63:6773:6278:0:1::3e8",
        "fd63:6773:6278:1::3e8",
        "fd63:6773:6279::3e8",
        "::127.0.0.1",
        "::1:0:0",
        "64:ff9b::7f00:1",
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect();
    for uid in [OWN, FRIEND, ASKER, STRANGER, OPEN, BARRED] {
        let address = pool.of_uid(uid).unwrap();
        v4.push(address.v4);
        v6.push(address.v6);
    }
    v6.extend(v4.iter().map(Ipv4Addr::to_ipv6_mapped));
    v4.into_iter().map(IpAddr::from).chain(v6.into_iter().map(IpAddr::from)).collect()
}

/// Those that packets have: a mapped one is a matter of sockets.
fn addresses_of_packets() -> Vec<IpAddr> {
    let mut all = addresses();
    all.retain(|address| !matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()));
    all
}

const PORTS: [u16; 6] = [0, 53, 5432, 8080, 13568, 65535];

#[test]
fn the_version_is_that_of_the_programs() {
    let mut text = String::new();
    for (name, at, build) in ALL {
        let encoded = build().instructions.iter().map(|one| one.encode()).collect::<Vec<u64>>();
        text += &format!("{name:?} {} {encoded:x?}\n", at as u32);
    }
    text += &format!("{SIZE}");
    // FNV-1a: DefaultHasher may be another with the next compiler.
    let digest = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    // What stands in network order is another number on other machines.
    if cfg!(target_endian = "little") {
        assert_eq!(VERSION, format!("{digest:016x}"), "set VERSION to this");
    }
}

#[test]
fn every_instruction_can_be_reached_as_the_verifier_wants() {
    for (name, _, build) in ALL {
        let instructions = build().instructions;
        let mut reached = vec![false; instructions.len()];
        let mut next = vec![0];
        while let Some(at) = next.pop() {
            if std::mem::replace(&mut reached[at], true) {
                continue;
            }
            let one = instructions[at];
            let target = (at + 1).checked_add_signed(one.offset.into()).unwrap();
            match one.opcode {
                0x95 => {}
                0x05 => next.push(target),
                // The second half of a map's address is no instruction of its own.
                0x18 => {
                    reached[at + 1] = true;
                    next.push(at + 2);
                }
                0x15 | 0x16 | 0x1e | 0x2d | 0x56 | 0x5d | 0x5e => next.extend([at + 1, target]),
                _ => next.push(at + 1),
            }
        }
        let dead = reached.iter().position(|reached| !reached);
        assert_eq!(dead, None, "{name:?}");
    }
}
