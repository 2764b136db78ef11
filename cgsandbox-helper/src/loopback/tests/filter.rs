//! Packets to and from a sandbox.

use std::net::IpAddr;

use cgsandbox_bpf::AttachType;

use super::interpreter::Machine;
use super::{
    ASKER, BARRED, ENTRIES, FRIEND, OPEN, OWN, PORTS, STRANGER, addresses_of_packets, entry,
    machine_with, program, record,
};
use crate::loopback::record::{MARK, Reach, Record};
use crate::loopback::rules::{self, Packet, Place};

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

type Entries = fn(u32, u32) -> Option<Reach>;

fn filter(record: &Record, packet: &Packet, options: u8, entry: Entries) -> Machine {
    let mut machine = machine_with(record, entry);
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

pub fn check_filters(record: &Record, packet: &Packet, options: u8, entry: Entries) -> bool {
    let (ingress, egress) = (program(AttachType::InetIngress), program(AttachType::InetEgress));
    let arrives = rules::arrives(record, packet, entry);
    let result = filter(record, packet, options, entry).run(&ingress);
    assert_eq!(result, u64::from(arrives), "arrives: {packet:?}");
    let mut machine = filter(record, packet, options, entry);
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
                let senders = [OWN, FRIEND, ASKER, STRANGER, OPEN, BARRED].map(Some);
                for sender in [None].into_iter().chain(senders) {
                    let plain = Packet { from_port, ..packet(to, protocol, sender) };
                    let tcp = protocol == 6;
                    let packets = [
                        plain,
                        Packet { opens: tcp, ..plain },
                        Packet { resets: tcp, ..plain },
                        Packet { wraps: protocol == 17, ..plain },
                    ];
                    for (packet, options) in packets.iter().zip([0, 10, 1, 0]) {
                        for entry in ENTRIES {
                            let arrives = check_filters(&record, packet, options, entry);
                            count[usize::from(arrives)] += 1;
                        }
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
            count[usize::from(check_filters(&record, &packet, 0, entry))] += 1;
        }
    }
    assert!(count[0] > 100 && count[1] > 100, "{count:?}");
}

#[test]
fn nothing_leaves_in_anothers_name() {
    let record = record();
    let mut left = [0, 0];
    for from in addresses_of_packets() {
        for to in addresses_of_packets().into_iter().filter(|to| to.is_ipv4() == from.is_ipv4()) {
            for protocol in [1, 17, 132] {
                let packet = Packet { from, ..packet(to, protocol, Some(OWN)) };
                check_filters(&record, &packet, 0, entry);
                let is_anothers = matches!(rules::place(&record, from), Place::Anothers(_));
                let leaves = rules::leaves(&record, &packet);
                assert!(!(leaves && is_anothers), "{packet:?}");
                left[usize::from(leaves)] += 1;
            }
        }
    }
    assert!(left[0] > 100 && left[1] > 100, "{left:?}");
    // To many the kernel itself sends from there.
    for (from, many, one) in
        [("127.0.0.1", "239.1.2.3", "10.0.0.5"), ("::1", "ff02::fb", "2001:db8::1")]
    {
        let to = |to: &str| Packet {
            from: from.parse().unwrap(),
            ..packet(to.parse().unwrap(), 17, Some(OWN))
        };
        for (to, leaves) in [(to(many), true), (to(one), false)] {
            check_filters(&record, &to, 0, entry);
            assert_eq!(rules::leaves(&record, &to), leaves, "{to:?}");
        }
    }
}

#[test]
fn another_mark_than_ours_is_nobodys() {
    let record = record();
    let packet = Packet { opens: true, ..packet(record.address.v4.into(), 6, None) };
    for (mark, wanted) in [(0, 1), (STRANGER, 1), (MARK | STRANGER, 0), (0xC5 << 24 | STRANGER, 1)]
    {
        let mut machine = filter(&record, &packet, 0, entry);
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
        let mut machine = filter(&record, &packet, 0, entry);
        machine.packet.truncate(length);
        assert_eq!(machine.run(&program(at)), 0, "{at:?} {length}");
    }
}
