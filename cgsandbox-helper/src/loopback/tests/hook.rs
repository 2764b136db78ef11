//! bind, connect, sendto, and what shows addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cgsandbox_bpf::AttachType;

use super::interpreter::Machine;
use super::{
    ENTRIES, HOST, PORTS, addresses, addresses_of_packets, machine, machine_with, program, record,
};
use crate::loopback::programs::ALL;
use crate::loopback::record::Record;
use crate::loopback::rules::{self, How, Verdict};

pub fn ask(machine: &mut Machine, address: IpAddr, port: u16, kind: u32) {
    match address {
        IpAddr::V4(v4) => machine.put(4, &v4.octets()),
        IpAddr::V6(v6) => machine.put(8, &v6.octets()),
    }
    machine.put(24, &port.to_be_bytes());
    machine.put(32, &kind.to_ne_bytes());
}

pub fn answer(machine: &Machine, asked: IpAddr) -> IpAddr {
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

pub fn check(
    record: &Record,
    asked: IpAddr,
    verdict: Verdict,
    result: u64,
    now: IpAddr,
    what: &str,
) {
    let (wanted, address) = match verdict {
        Verdict::AsAsked => (1, asked),
        Verdict::Own => (1, own(record, asked)),
        Verdict::Refused => (0, asked),
    };
    assert_eq!((result, now), (wanted, address), "{what} {asked}: {verdict:?}");
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
            for ((at, kind, how), entry) in
                ways.into_iter().flat_map(|way| ENTRIES.map(|it| (way, it)))
            {
                let mut machine = machine_with(&record, entry);
                ask(&mut machine, asked, port, kind);
                let result = machine.run(&program(at));
                let place = rules::place(&record, asked);
                let verdict = rules::reach(&record, place, port, how, entry);
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
                match source {
                    IpAddr::V4(address) => machine.put(40, &address.octets()),
                    IpAddr::V6(address) => machine.put(44, &address.octets()),
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
