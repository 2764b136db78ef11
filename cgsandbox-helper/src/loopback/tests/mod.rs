//! The programs against the rules, for addresses of every kind.
#![allow(clippy::unwrap_used, clippy::panic)]

mod interpreter;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cgsandbox_bpf::{AttachType, Program};

use super::address::Pool;
use super::programs::{ALL, VERSION};
use super::record::{MARK, Reach, Record, SIZE, reach_key};
use super::rules::{self, How, Packet, Verdict};
use interpreter::Machine;

const OWN: u32 = 1000;
const FRIEND: u32 = 1001;
const ASKER: u32 = 1002;
const STRANGER: u32 = 1003;
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

/// What the user `OWN` may send to others, or others to it.
fn granted(other: u32) -> Option<Reach> {
    match other {
        FRIEND => Some(Reach::Granted),
        ASKER => Some(Reach::Answers),
        _ => None,
    }
}

fn machine(record: &Record) -> Machine {
    let mut reach = BTreeMap::new();
    for other in [FRIEND, ASKER] {
        let value = granted(other).unwrap() as u8;
        reach.insert(reach_key(other, OWN), value);
        reach.insert(reach_key(OWN, other), value);
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
    for uid in [OWN, FRIEND, ASKER, STRANGER] {
        let address = pool.of_uid(uid).unwrap();
        v4.push(address.v4);
        v6.push(address.v6);
    }
    v6.extend(v4.iter().map(Ipv4Addr::to_ipv6_mapped));
    v4.into_iter().map(IpAddr::from).chain(v6.into_iter().map(IpAddr::from)).collect()
}

const PORTS: [u16; 6] = [0, 53, 5432, 8080, 13568, 65535];

fn ask(machine: &mut Machine, address: IpAddr, port: u16, kind: u32) {
    match address {
        IpAddr::V4(v4) => machine.put(4, &v4.octets()),
        IpAddr::V6(v6) => machine.put(8, &v6.octets()),
    }
    machine.put(24, &port.to_be_bytes());
    machine.put(32, &kind.to_ne_bytes());
}

fn answer(machine: &Machine, asked: IpAddr) -> IpAddr {
    match asked {
        IpAddr::V4(_) => <[u8; 4]>::try_from(&machine.context[4..8]).unwrap().into(),
        IpAddr::V6(_) => <[u8; 16]>::try_from(&machine.context[8..24]).unwrap().into(),
    }
}

/// The address of one's own in the clothes of `asked`.
fn own(record: &Record, asked: IpAddr) -> IpAddr {
    match asked {
        IpAddr::V4(_) => record.address.v4.into(),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            record.address.v4.to_ipv6_mapped().into()
        }
        IpAddr::V6(_) => record.address.v6.into(),
    }
}

fn check(record: &Record, asked: IpAddr, verdict: Verdict, result: u64, now: IpAddr, what: &str) {
    let (wanted, address) = match verdict {
        Verdict::AsAsked => (1, asked),
        Verdict::Own => (1, own(record, asked)),
        Verdict::Refused => (0, asked),
    };
    assert_eq!((result, now), (wanted, address), "{what} {asked}: {verdict:?}");
}

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
fn bind_does_as_the_rules_say() {
    for wildcard_is_own in [false, true] {
        let record = Record { wildcard_is_own, ..record() };
        for asked in addresses() {
            for port in PORTS {
                let at =
                    if asked.is_ipv4() { AttachType::Inet4Bind } else { AttachType::Inet6Bind };
                let mut machine = machine(&record);
                ask(&mut machine, asked, port, 1);
                let result = machine.run(&program(at));
                let verdict = rules::bind(&record, rules::place(&record, asked), port);
                let now = answer(&machine, asked);
                check(&record, asked, verdict, result, now, &format!("bind to port {port} of"));
            }
        }
    }
}

#[test]
fn connect_and_sendto_do_as_the_rules_say() {
    let record = record();
    use AttachType::{Inet4Connect, Inet6Connect, Udp4Sendmsg, Udp6Sendmsg};
    for asked in addresses() {
        for port in PORTS {
            let [connect, send] = match asked {
                IpAddr::V4(_) => [Inet4Connect, Udp4Sendmsg],
                IpAddr::V6(_) => [Inet6Connect, Udp6Sendmsg],
            };
            use How::{ConnectDatagrams, ConnectStream, SendTo};
            let ways =
                [(connect, 1, ConnectStream), (connect, 2, ConnectDatagrams), (send, 2, SendTo)];
            for (at, kind, how) in ways {
                let mut machine = machine(&record);
                ask(&mut machine, asked, port, kind);
                let result = machine.run(&program(at));
                let place = rules::place(&record, asked);
                let verdict = rules::reach(&record, place, port, how, granted);
                let what = format!("{at:?} of kind {kind} to port {port} of");
                let now = answer(&machine, asked);
                check(&record, asked, verdict, result, now, &what);
                // Whoever reaches a sandbox comes from the own address.
                let from_own = match place {
                    rules::Place::Own | rules::Place::Anothers(_) => result == 1,
                    _ => verdict == Verdict::Own,
                };
                let bound = machine.bound.map(|bytes| match bytes.len() {
                    16 => IpAddr::from(<[u8; 4]>::try_from(&bytes[4..8]).unwrap()),
                    28 => IpAddr::from(<[u8; 16]>::try_from(&bytes[8..24]).unwrap()),
                    other => panic!("{other} bytes"),
                });
                let wanted = (from_own && at == connect).then(|| own(&record, asked));
                assert_eq!(bound, wanted, "{what} {asked}");
                if verdict == Verdict::Own && at == Udp4Sendmsg {
                    assert_eq!(
                        machine.context[40..44],
                        record.address.v4.octets(),
                        "{what} {asked}"
                    );
                }
            }
        }
    }
}

#[test]
fn sockets_of_other_network_namespaces_are_left_alone() {
    let record = record();
    for (_, at, build) in ALL {
        use AttachType::{
            Inet4Bind, Inet4Connect, Inet6Bind, Inet6Connect, Udp4Sendmsg, Udp6Sendmsg,
        };
        if ![Inet4Bind, Inet6Bind, Inet4Connect, Inet6Connect, Udp4Sendmsg, Udp6Sendmsg]
            .contains(&at)
        {
            continue;
        }
        for asked in addresses() {
            let mut machine = Machine { namespace: HOST + 1, ..machine(&record) };
            ask(&mut machine, asked, 5432, 1);
            let before = machine.context.clone();
            assert_eq!(machine.run(&build()), 1);
            assert_eq!((machine.context, machine.bound), (before, None), "{at:?} {asked}");
        }
    }
}

#[test]
fn programs_are_shown_the_address_that_they_asked_for() {
    use AttachType::{
        Inet4Getpeername, Inet4Getsockname, Inet6Getpeername, Inet6Getsockname, Udp4Recvmsg,
        Udp6Recvmsg,
    };
    let record = record();
    for asked in addresses() {
        let all = match asked {
            IpAddr::V4(_) => [Inet4Getpeername, Inet4Getsockname, Udp4Recvmsg],
            IpAddr::V6(_) => [Inet6Getpeername, Inet6Getsockname, Udp6Recvmsg],
        };
        for at in all {
            let mut machine = machine(&record);
            ask(&mut machine, asked, 8080, 1);
            assert_eq!(machine.run(&program(at)), 1, "the kernel takes nothing else");
            assert_eq!(answer(&machine, asked), rules::shown(&record, asked), "{at:?} {asked}");
        }
    }
}

/// A packet's bytes; `options` of four bytes each in an IPv4 header.
fn bytes(packet: &Packet, options: u8) -> Vec<u8> {
    let mut header = match (packet.to, packet.from) {
        (IpAddr::V4(to), IpAddr::V4(from)) => {
            let mut header = vec![0; 20 + 4 * usize::from(options)];
            header[0] = 0x45 + options;
            header[9] = packet.protocol;
            header[12..16].copy_from_slice(&from.octets());
            header[16..20].copy_from_slice(&to.octets());
            header
        }
        (IpAddr::V6(to), IpAddr::V6(from)) => {
            let mut header = vec![0; 40];
            header[6] = packet.protocol;
            header[8..24].copy_from_slice(&from.octets());
            header[24..40].copy_from_slice(&to.octets());
            header
        }
        _ => panic!("two families in one packet"),
    };
    let mut payload = [0; 20];
    payload[..2].copy_from_slice(&packet.from_port.to_be_bytes());
    payload[13] = match (packet.opens, packet.resets) {
        (true, _) => 0x02,
        (_, true) => 0x14,
        _ => 0x12,
    };
    header.extend(payload);
    header
}

fn filter(record: &Record, packet: &Packet, options: u8) -> Machine {
    let mut machine = machine(record);
    let interface: u32 = if packet.on_lo { 1 } else { 2 };
    machine.socket = vec![0; 80];
    machine.socket[12] = if packet.wraps { 132 } else { packet.protocol };
    machine.packet = bytes(packet, options);
    let kind: [u8; 2] = if packet.to.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
    machine.put(8, &packet.sender.map_or(0, |sender| MARK | sender).to_ne_bytes());
    machine.put(16, &kind);
    machine.put(40, &interface.to_ne_bytes());
    machine
}

/// Over `lo`, from somebody's program.
fn packet(to: IpAddr, protocol: u8, sender: Option<u32>) -> Packet {
    let from = match to {
        IpAddr::V4(_) => IpAddr::from([10, 0, 0, 5]),
        IpAddr::V6(_) => "2001:db8::5".parse().unwrap(),
    };
    Packet {
        on_lo: true,
        from,
        to,
        protocol,
        from_port: 8080,
        opens: false,
        resets: false,
        wraps: false,
        sender,
    }
}

/// Those that packets have.
fn addresses_of_packets() -> Vec<IpAddr> {
    let mut all = addresses();
    all.retain(|address| !matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()));
    all
}

fn check_filters(record: &Record, packet: &Packet, options: u8) -> bool {
    let (ingress, egress) = (program(AttachType::InetIngress), program(AttachType::InetEgress));
    let arrives = rules::arrives(record, packet, granted);
    let result = filter(record, packet, options).run(&ingress);
    assert_eq!(result, u64::from(arrives), "arrives: {packet:?}");
    let mut machine = filter(record, packet, options);
    let before = machine.context[8..12].to_vec();
    let leaves = rules::leaves(record, packet);
    assert_eq!(machine.run(&egress), u64::from(leaves), "leaves: {packet:?}");
    let mark = match packet.on_lo {
        true => (MARK | OWN).to_ne_bytes().to_vec(),
        false => before,
    };
    assert_eq!(machine.context[8..12], mark, "{packet:?}");
    arrives
}

#[test]
fn filters_let_through_what_the_rules_say() {
    let record = record();
    let mut count = [0, 0];
    for to in addresses_of_packets() {
        for protocol in [1, 6, 17, 58, 132, 0] {
            for from_port in PORTS {
                for sender in [None, Some(OWN), Some(FRIEND), Some(ASKER), Some(STRANGER)] {
                    let plain = Packet { from_port, ..packet(to, protocol, sender) };
                    let tcp = protocol == 6;
                    let packets = [
                        plain,
                        Packet { opens: tcp, ..plain },
                        Packet { resets: tcp, ..plain },
                        Packet { wraps: protocol == 17, ..plain },
                    ];
                    for (packet, options) in packets.iter().zip([0, 10, 1, 0]) {
                        count[usize::from(check_filters(&record, packet, options))] += 1;
                    }
                }
            }
        }
    }
    assert!(count[0] > 1000 && count[1] > 1000, "{count:?}");
}

#[test]
fn the_network_is_nobodys_localhost() {
    let record = record();
    let mut count = [0, 0];
    for from in addresses_of_packets() {
        for to in addresses_of_packets().into_iter().filter(|to| to.is_ipv4() == from.is_ipv4()) {
            let packet = Packet { on_lo: false, from, ..packet(to, 6, None) };
            count[usize::from(check_filters(&record, &packet, 0))] += 1;
        }
    }
    assert!(count[0] > 100 && count[1] > 100, "{count:?}");
}

#[test]
fn nobody_sends_in_anothers_name() {
    let record = record();
    let service: [(AttachType, IpAddr); 2] = [
        (AttachType::Udp4Sendmsg, Ipv4Addr::LOCALHOST.into()),
        (AttachType::Udp6Sendmsg, Ipv6Addr::LOCALHOST.into()),
    ];
    let network: [(AttachType, IpAddr); 2] = [
        (AttachType::Udp4Sendmsg, [192, 0, 2, 1].into()),
        (AttachType::Udp6Sendmsg, "2001:db8::1".parse().unwrap()),
    ];
    let connected: [(AttachType, IpAddr); 2] = [
        (AttachType::Udp4Sendmsg, Ipv4Addr::UNSPECIFIED.into()),
        (AttachType::Udp6Sendmsg, Ipv6Addr::UNSPECIFIED.into()),
    ];
    for ((at, to), port) in service
        .into_iter()
        .zip([53; 2])
        .chain(network.into_iter().zip([9; 2]))
        .chain(connected.into_iter().zip([0; 2]))
    {
        for source in addresses_of_packets().into_iter().filter(|it| it.is_ipv4() == to.is_ipv4()) {
            for bound in [source, to, "0.0.0.0".parse().unwrap()] {
                let mut machine = machine(&record);
                machine.socket = vec![0; 80];
                ask(&mut machine, to, port, 2);
                for (address, v4, v6) in [(source, 40, 44)] {
                    match address {
                        IpAddr::V4(address) => machine.put(v4, &address.octets()),
                        IpAddr::V6(address) => machine.put(v6, &address.octets()),
                    }
                }
                let bound = match (bound, to) {
                    (IpAddr::V4(address), IpAddr::V4(_)) => {
                        machine.socket[24..28].copy_from_slice(&address.octets());
                        bound
                    }
                    (IpAddr::V6(address), IpAddr::V6(_)) => {
                        machine.socket[28..44].copy_from_slice(&address.octets());
                        bound
                    }
                    // Bound to nothing.
                    _ => Ipv6Addr::UNSPECIFIED.into(),
                };
                let wanted = rules::may_send_from(&record, source, bound);
                let result = machine.run(&program(at));
                assert_eq!(result, u64::from(wanted), "to {to} from {source}, bound to {bound}");
            }
        }
    }
}

#[test]
fn another_mark_than_ours_is_nobodys() {
    let record = record();
    let packet = Packet { opens: true, ..packet(record.address.v4.into(), 6, None) };
    for (mark, wanted) in [(0, 1), (STRANGER, 1), (MARK | STRANGER, 0), (0xC5 << 24 | STRANGER, 1)]
    {
        let mut machine = filter(&record, &packet, 0);
        machine.put(8, &mark.to_ne_bytes());
        assert_eq!(machine.run(&program(AttachType::InetIngress)), wanted, "{mark:#x}");
    }
}

#[test]
fn a_truncated_packet_does_not_pass() {
    let record = record();
    let on_lo = Packet { opens: true, ..packet(record.address.v4.into(), 6, Some(ASKER)) };
    let from_network = Packet { on_lo: false, ..on_lo };
    use AttachType::{InetEgress, InetIngress};
    for (at, packet, length) in [
        (InetIngress, on_lo, 30),
        (InetIngress, on_lo, 19),
        (InetIngress, from_network, 19),
        (InetEgress, on_lo, 19),
    ] {
        let mut machine = filter(&record, &packet, 0);
        machine.packet.truncate(length);
        assert_eq!(machine.run(&program(at)), 0, "{at:?} {length}");
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
