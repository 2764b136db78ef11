//! Random users, addresses and packets: the programs and the model agree on each.

use std::net::IpAddr;

use cgsandbox_bpf::AttachType;
use cgsandbox_fuzz::Fuzz;

use super::filter::check_filters;
use super::hook::{answer, ask, check};
use super::{
    ASKER, BARRED, FRIEND, HOST, OPEN, OWN, STRANGER, addresses, entry, machine, program, record,
};
use crate::loopback::address::Pool;
use crate::loopback::claim::Claim;
use crate::loopback::record::Record;
use crate::loopback::rules::{self, How, Packet};
use crate::state::State;

/// Reads who has which address, for the targets that make up the state.
pub(crate) fn claims(state: &State) {
    let own = Claim::of(state, 1000).unwrap();
    for claim in Claim::all(state).unwrap().into_iter().chain(own) {
        let number = u128::from(claim.address.v6) & u128::from(u64::MAX);
        assert_eq!(u128::from(claim.address.number), number);
    }
    assert!(own.is_none_or(|claim| claim.uid == 1000));
}

/// What an input is read as, byte by byte; zeros where it ends.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next())
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::from(self.next()) % all.len()]
    }

    /// One of the known kinds, its neighbour, or any at all.
    fn address(&mut self, known: &[IpAddr]) -> IpAddr {
        match self.next() % 8 {
            0 => IpAddr::from(self.array::<4>()),
            1 => IpAddr::from(self.array::<16>()),
            2 => {
                let [_, b, c, d] = self.array();
                IpAddr::from([127, b, c, d])
            }
            3 => {
                let mut octets = Pool::default().v6.octets();
                let at = usize::from(self.next()) % 16;
                octets[at] ^= self.next();
                octets[12..].copy_from_slice(&self.array::<4>());
                IpAddr::from(octets)
            }
            4 => match self.of(known) {
                IpAddr::V4(v4) => {
                    IpAddr::from((u32::from(v4) ^ 1 << (self.next() % 32)).to_be_bytes())
                }
                IpAddr::V6(v6) => {
                    IpAddr::from((u128::from(v6) ^ 1 << (self.next() % 128)).to_be_bytes())
                }
            },
            _ => self.of(known),
        }
    }

    fn port(&mut self, record: &Record) -> u16 {
        match self.next() % 3 {
            0 if !record.services.is_empty() => self.of(&record.services),
            1 => self.of(&[0, 1, 80, 65535]),
            _ => u16::from_be_bytes(self.array()),
        }
    }

    fn record(&mut self) -> Record {
        let services = (0..self.next() % 17).map(|_| u16::from_be_bytes(self.array()).max(1));
        let services = services.collect();
        Record { wildcard_is_own: self.next() & 1 == 1, services, ..record() }
    }
}

#[test]
fn programs_and_model_agree_on_random_calls() {
    let known = addresses();
    let all = [0_u8; 32].iter().zip(0..=255).map(|(_, byte)| byte).collect::<Vec<u8>>();
    Fuzz::target("bpf").seed(all).longest(256).run(|input| {
        let mut bytes = Bytes(input);
        let record = bytes.record();
        let asked = bytes.address(&known);
        let port = bytes.port(&record);
        let place = rules::place(&record, asked);
        use AttachType::{
            Inet4Bind, Inet4Connect, Inet4Getsockname, Inet6Bind, Inet6Connect, Inet6Getsockname,
            Udp4Sendmsg, Udp6Sendmsg,
        };
        let [bind, connect, send, show] = match asked {
            IpAddr::V4(_) => [Inet4Bind, Inet4Connect, Udp4Sendmsg, Inet4Getsockname],
            IpAddr::V6(_) => [Inet6Bind, Inet6Connect, Udp6Sendmsg, Inet6Getsockname],
        };
        let verdict = rules::bind(&record, place, port);
        let mut asking = machine(&record);
        ask(&mut asking, asked, port, 1);
        let result = asking.run(&program(bind));
        check(&record, asked, verdict, result, answer(&asking, asked), "bind");
        for (at, kind, how) in [
            (connect, 1, How::ConnectStream),
            (connect, 2, How::ConnectDatagrams),
            (send, 2, How::SendTo),
        ] {
            let verdict = rules::reach(&record, place, port, how, entry);
            let mut asking = machine(&record);
            ask(&mut asking, asked, port, kind);
            let result = asking.run(&program(at));
            check(&record, asked, verdict, result, answer(&asking, asked), "reach");
            let mut elsewhere = machine(&record);
            elsewhere.namespace = HOST + 1 + u64::from(bytes.next());
            ask(&mut elsewhere, asked, port, kind);
            assert_eq!(elsewhere.run(&program(at)), 1, "another network namespace");
            assert_eq!(answer(&elsewhere, asked), asked);
        }
        let mut shown = machine(&record);
        ask(&mut shown, asked, port, 1);
        assert_eq!(shown.run(&program(show)), 1);
        assert_eq!(answer(&shown, asked), rules::shown(&record, asked));
        let arrives = packet(&mut bytes, &record, &known);
        (format!("{place:?}").len(), verdict as u8, arrives, port != 0)
    });
}

/// A packet of any kind, in and out of the sandbox.
fn packet(bytes: &mut Bytes<'_>, record: &Record, known: &[IpAddr]) -> Option<bool> {
    let (from, to) = (bytes.address(known), bytes.address(known));
    // A mapped address is a matter of sockets: no packet has one.
    let is_mapped = |it: IpAddr| matches!(it, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    if from.is_ipv4() != to.is_ipv4() || is_mapped(from) || is_mapped(to) {
        return None;
    }
    let protocol = match bytes.next() % 4 {
        0 => bytes.next(),
        at => [6, 6, 17, 1][usize::from(at)],
    };
    let [on_lo, flags] = bytes.array();
    let is_tcp = protocol == 6;
    let packet = Packet {
        on_lo: on_lo % 4 != 0,
        from,
        to,
        protocol,
        from_port: bytes.port(record),
        opens: is_tcp && flags % 3 == 1,
        resets: is_tcp && flags % 3 == 2,
        wraps: protocol == 17 && flags & 1 == 1,
        sender: bytes.of(&[
            None,
            Some(OWN),
            Some(FRIEND),
            Some(ASKER),
            Some(STRANGER),
            Some(OPEN),
            Some(BARRED),
        ]),
    };
    Some(check_filters(record, &packet, bytes.next() % 11, entry))
}
