//! Filters of packets: what the hooks cannot see.

use cgsandbox_bpf::Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use cgsandbox_bpf::Size::{Byte, Double, Half, Word};
use cgsandbox_bpf::{Assembler, Call, Label, Program, Size};

use super::place::{Places, tell4, tell6};
use super::{by_reach, finish, if_service, net, own_number, socket, start};
use crate::loopback::interface::LO;
use crate::loopback::record::{MARK, NUMBER, offset};

/// `struct __sk_buff`.
mod packet {
    pub const MARK: i16 = 8;
    pub const PROTOCOL: i16 = 16;
    pub const INTERFACE: i16 = 40;
    pub const DATA: i16 = 76;
    pub const END: i16 = 80;
    pub const SOCKET: i16 = 168;
}

const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMP: u32 = 1;
const ICMP6: u32 = 58;
/// Flags of TCP.
const SYN: u32 = 0x02;
const RST: u32 = 0x04;
const ACK: u32 = 0x10;
const V4_HEADER: u16 = u16::from_ne_bytes([0x08, 0x00]);
const V6_HEADER: u16 = u16::from_ne_bytes([0x86, 0xdd]);

/// An address of a packet.
#[derive(Clone, Copy)]
enum End {
    Source,
    Destination,
}

/// Where a packet goes whose addresses are not looked at.
struct Ways<'a> {
    /// One that is not IP.
    other: Label,
    /// One that is too short.
    short: Label,
    /// One of these protocols.
    protocols: (&'a [u32], Label),
}

/// The packet's header in R2, its length made sure of; what it is in R9 and where its payload
/// begins at R10 - 16. Then tells one of its addresses.
fn tell_packet(a: &mut Assembler, end: End, ways: &Ways<'_>, places: &Places) {
    let (at4, at6) = match end {
        End::Source => (12, 8),
        End::Destination => (16, 24),
    };
    let protocols = |a: &mut Assembler| {
        let (protocols, label) = ways.protocols;
        protocols.iter().for_each(|protocol| a.if_is(R9, *protocol, label));
    };
    let six = a.label();
    a.load(Word, R1, R6, packet::PROTOCOL);
    a.load(Word, R2, R6, packet::DATA);
    a.load(Word, R3, R6, packet::END);
    a.if_is(R1, V6_HEADER.into(), six);
    a.if_not(R1, V4_HEADER.into(), ways.other);

    a.copy(R1, R2);
    a.add(R1, 20);
    a.if_above(R1, R3, ways.short);
    a.load(Byte, R9, R2, 9);
    protocols(a);
    a.load(Byte, R1, R2, 0);
    a.and(R1, 0xf);
    a.shift_left(R1, 2);
    a.store(Word, R10, -16, R1);
    // tell4 needs R1 and R2.
    a.load(Word, R4, R2, at4);
    a.copy(R8, R4);
    tell4(a, places);

    a.place(six);
    a.copy(R1, R2);
    a.add(R1, 40);
    a.if_above(R1, R3, ways.short);
    a.load(Byte, R9, R2, 6);
    protocols(a);
    a.store_number(Word, R10, -16, 40);
    tell6(a, R2, at6, places, None);
}

/// A half or a byte of the payload, at `at` in it, into R1.
fn load_payload(a: &mut Assembler, size: Size, at: i32, refuse: Label) {
    a.copy(R1, R6);
    a.load(Word, R2, R10, -16);
    a.add(R2, at);
    a.copy(R3, R10);
    a.add(R3, -8);
    a.set(R4, if size == Byte { 1 } else { 2 });
    a.call(Call::SkbLoadBytes);
    a.if_not(R0, 0, refuse);
    a.load(size, R1, R10, -8);
}

/// What comes in: `rules::arrives`.
pub(super) fn ingress() -> Program {
    let mut a = Assembler::new();
    let (allow, refuse, marked) = (a.label(), a.label(), a.label());
    let (systems, network) = (a.label(), a.label());
    start(&mut a);
    a.load(Word, R1, R6, packet::INTERFACE);
    a.if_not(R1, LO, network);
    // R8, and kept at R10 - 12: the sender's number, 0 for who is in no sandbox.
    a.load(Word, R8, R6, packet::MARK);
    a.load(Word, R1, R7, offset::MARKED);
    a.if_same(R8, R1, allow);
    a.copy(R1, R8);
    a.and(R1, !NUMBER);
    a.and(R8, NUMBER);
    a.if_is(R1, MARK, marked);
    a.set(R8, 0);
    a.place(marked);
    a.store(Word, R10, -12, R8);

    let places = Places::new(&mut a);
    let ways = Ways { other: allow, short: refuse, protocols: (&[ICMP, ICMP6], allow) };
    tell_packet(&mut a, End::Destination, &ways, &places);

    a.place(places.anothers);
    a.jump(refuse);

    a.place(places.localhost);
    a.load(Word, R8, R10, -12);
    a.if_not(R8, 0, refuse);
    a.if_is(R9, UDP, systems);
    a.if_not(R9, TCP, refuse);
    // The kernel's word that nobody listens, to a socket that was bound to all addresses.
    load_payload(&mut a, Byte, 13, refuse);
    a.and(R1, RST);
    a.if_not(R1, 0, allow);
    a.place(systems);
    load_payload(&mut a, Half, 0, refuse);
    a.copy(R9, R1);
    if_service(&mut a, allow);
    a.jump(refuse);

    a.place(places.own);
    a.place(places.wildcard);
    a.place(places.elsewhere);
    a.load(Word, R8, R10, -12);
    a.if_is(R8, 0, allow);
    own_number(&mut a, R1);
    a.copy(R2, R8);
    let answers = a.label();
    by_reach(&mut a, allow, answers, refuse);
    a.place(answers);
    a.if_is(R9, UDP, allow);
    a.if_not(R9, TCP, refuse);
    load_payload(&mut a, Byte, 13, refuse);
    // SYN without ACK opens a connection.
    a.and(R1, SYN | ACK);
    a.if_is(R1, SYN, refuse);
    a.jump(allow);

    // The kernel keeps 127.0.0.0/8 and ::1 from the network, and not even these always.
    a.place(network);
    let ways = Ways { other: allow, short: refuse, protocols: (&[], allow) };
    for end in [End::Source, End::Destination] {
        let places = Places::new(&mut a);
        tell_packet(&mut a, end, &ways, &places);
        a.place(places.own);
        a.place(places.anothers);
        a.place(places.localhost);
        a.jump(refuse);
        a.place(places.wildcard);
        a.place(places.elsewhere);
    }

    finish(a, allow, refuse)
}

/// Goes on where the source is one of the user's: `rules::may_come_from`.
fn check_source(a: &mut Assembler, allow: Label, refuse: Label) {
    let ways = Ways { other: allow, short: refuse, protocols: (&[], allow) };
    let (sources, places) = (Places::new(a), Places::new(a));
    let (six, fine) = (a.label(), a.label());
    tell_packet(a, End::Source, &ways, &sources);
    a.place(sources.anothers);
    a.jump(refuse);

    a.place(sources.localhost);
    tell_packet(a, End::Destination, &ways, &places);
    a.place(places.elsewhere);
    a.load(Word, R1, R6, packet::PROTOCOL);
    a.if_is(R1, V6_HEADER.into(), six);
    // R8 is the address: one of many, or of all.
    a.if_is(R8, u32::MAX, fine);
    a.copy(R1, R8);
    a.and(R1, net([0xf0, 0, 0, 0]));
    a.if_is(R1, net([0xe0, 0, 0, 0]), fine);
    a.jump(refuse);
    a.place(six);
    a.load(Word, R2, R6, packet::DATA);
    a.load(Word, R3, R6, packet::END);
    a.copy(R1, R2);
    a.add(R1, 40);
    a.if_above(R1, R3, refuse);
    a.load(Byte, R1, R2, 24);
    a.if_not(R1, 0xff, refuse);

    for known in [sources.own, sources.wildcard, sources.elsewhere] {
        a.place(known);
    }
    for known in [places.own, places.wildcard, places.anothers, places.localhost, fine] {
        a.place(known);
    }
}

/// What goes out to `lo`: marked, and then `rules::leaves`.
pub(super) fn egress() -> Program {
    let mut a = Assembler::new();
    let (allow, refuse) = (a.label(), a.label());
    a.load(Word, R2, R1, packet::INTERFACE);
    a.if_not(R2, LO, allow);
    start(&mut a);
    a.load(Word, R1, R7, offset::MARKED);
    a.store(Word, R6, packet::MARK, R1);
    check_source(&mut a, allow, refuse);
    let (places, all) = (Places::new(&mut a), Places::new(&mut a));
    let asked = a.label();
    let ways = Ways { other: allow, short: refuse, protocols: (&[TCP, UDP, ICMP, ICMP6], asked) };
    tell_packet(&mut a, End::Destination, &ways, &places);

    // These have been asked for their destination before, unless something else is in them:
    // SCTP travels in UDP where it is told to.
    a.place(asked);
    a.if_not(R9, UDP, allow);
    a.load(Double, R1, R6, packet::SOCKET);
    a.if_null(R1, allow);
    a.call(Call::SkFullsock);
    a.if_null(R0, allow);
    a.load(Word, R1, R0, socket::PROTOCOL);
    a.if_is(R1, UDP, allow);
    let ways = Ways { other: allow, short: refuse, protocols: (&[], allow) };
    tell_packet(&mut a, End::Destination, &ways, &all);
    for places in [&places, &all] {
        a.place(places.localhost);
        a.place(places.anothers);
    }
    a.jump(refuse);

    for places in [&places, &all] {
        a.place(places.own);
        a.place(places.wildcard);
        a.place(places.elsewhere);
    }
    finish(a, allow, refuse)
}
