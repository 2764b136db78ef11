//! The programs, in instructions. What they decide is in `rules`, under the same names.
//!
//! All of them keep to this: R6 is the context that the kernel gives, R7 the user's
//! `Record`. Addresses and ports stay in network order.

use std::ffi::CStr;

use cgsandbox_bpf::Register::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use cgsandbox_bpf::Size::{Byte, Double, Half, Word};
use cgsandbox_bpf::{Assembler, AttachType, Call, Label, Map, Program, Register, Size};

use super::record::{MARK, MOST_SERVICES, NUMBER, Reach, offset};

/// The map with each user's record.
pub const RECORDS: Map = Map(0);
/// The map of who may reach whom.
pub const REACH: Map = Map(1);

/// A program, its name in the kernel, and its place in a cgroup.
pub type Named = (&'static CStr, AttachType, fn() -> Program);

/// All of them. Those that only show addresses come first: until all are attached nothing is
/// changed that they could not show.
pub const ALL: [Named; 14] = [
    (c"cgsbx_sockname4", AttachType::Inet4Getsockname, || show(Family::V4)),
    (c"cgsbx_sockname6", AttachType::Inet6Getsockname, || show(Family::V6)),
    (c"cgsbx_peername4", AttachType::Inet4Getpeername, || show(Family::V4)),
    (c"cgsbx_peername6", AttachType::Inet6Getpeername, || show(Family::V6)),
    (c"cgsbx_recvmsg4", AttachType::Udp4Recvmsg, || show(Family::V4)),
    (c"cgsbx_recvmsg6", AttachType::Udp6Recvmsg, || show(Family::V6)),
    (c"cgsbx_ingress", AttachType::InetIngress, ingress),
    (c"cgsbx_egress", AttachType::InetEgress, egress),
    (c"cgsbx_bind4", AttachType::Inet4Bind, || bind(Family::V4)),
    (c"cgsbx_bind6", AttachType::Inet6Bind, || bind(Family::V6)),
    (c"cgsbx_connect4", AttachType::Inet4Connect, || reach(Family::V4, Action::Connect)),
    (c"cgsbx_connect6", AttachType::Inet6Connect, || reach(Family::V6, Action::Connect)),
    (c"cgsbx_sendmsg4", AttachType::Udp4Sendmsg, || reach(Family::V4, Action::Send)),
    (c"cgsbx_sendmsg6", AttachType::Udp6Sendmsg, || reach(Family::V6, Action::Send)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Connect,
    Send,
}

/// `struct bpf_sock_addr`.
mod sock_addr {
    pub const IP4: i16 = 4;
    pub const IP6: i16 = 8;
    pub const PORT: i16 = 24;
    pub const TYPE: i16 = 32;
    pub const SOURCE4: i16 = 40;
    pub const SOURCE6: i16 = 44;
    pub const SOCKET: i16 = 64;
}

/// `struct bpf_sock`.
mod socket {
    pub const PROTOCOL: i16 = 12;
    pub const SOURCE4: i16 = 24;
    pub const SOURCE6: i16 = 28;
}

/// `struct __sk_buff`.
mod packet {
    pub const MARK: i16 = 8;
    pub const PROTOCOL: i16 = 16;
    pub const INTERFACE: i16 = 40;
    pub const DATA: i16 = 76;
    pub const END: i16 = 80;
    pub const SOCKET: i16 = 168;
}

/// `lo` has it in every network namespace.
const LO: u32 = 1;
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;
const SOCK_STREAM: u32 = 1;
const TCP: u32 = 6;
const UDP: u32 = 17;
const ICMP: u32 = 1;
const ICMP6: u32 = 58;
/// Flags of TCP.
const SYN: u32 = 0x02;
const RST: u32 = 0x04;
const ACK: u32 = 0x10;

/// Four bytes in network order, as a word of memory.
const fn net(bytes: [u8; 4]) -> u32 {
    u32::from_ne_bytes(bytes)
}

const LOCALHOST4: u32 = net([127, 0, 0, 1]);
const LAST_OF_LOCALHOST6: u32 = net([0, 0, 0, 1]);
const MAPPED: u32 = net([0, 0, 255, 255]);
const V4_HEADER: u16 = u16::from_ne_bytes([0x08, 0x00]);
const V6_HEADER: u16 = u16::from_ne_bytes([0x86, 0xdd]);

/// Where an address leads that has been told apart by [`tell4`] or [`tell6`].
struct Places {
    own: Label,
    wildcard: Label,
    anothers: Label,
    localhost: Label,
    elsewhere: Label,
}

impl Places {
    fn new(a: &mut Assembler) -> Self {
        let mut label = || a.label();
        Places {
            own: label(),
            wildcard: label(),
            anothers: label(),
            localhost: label(),
            elsewhere: label(),
        }
    }
}

/// R6 and R7, as all programs have them.
fn start(a: &mut Assembler) {
    a.copy(R6, R1);
    a.map(R1, RECORDS);
    a.set(R2, 0);
    a.call(Call::GetLocalStorage);
    a.copy(R7, R0);
}

/// Leaves sockets of other network namespaces alone: those have a localhost of their own.
fn only_of_the_host(a: &mut Assembler, otherwise: Label) {
    let unknown = a.label();
    a.load(Double, R9, R7, offset::NAMESPACE);
    a.if_null(R9, unknown);
    a.copy(R1, R6);
    a.call(Call::GetNetnsCookie);
    a.if_other_wide(R0, R9, otherwise);
    a.place(unknown);
}

/// Tells what the IPv4 address in R8 is.
fn tell4(a: &mut Assembler, places: &Places) {
    a.load(Word, R1, R7, offset::V4);
    a.if_same(R8, R1, places.own);
    a.if_is(R8, 0, places.wildcard);
    a.load(Word, R1, R7, offset::MASK);
    a.load(Word, R2, R7, offset::POOL);
    a.and_register(R1, R8);
    a.if_same(R1, R2, places.anothers);
    a.copy(R1, R8);
    a.and(R1, net([255, 0, 0, 0]));
    a.if_is(R1, net([127, 0, 0, 0]), places.localhost);
    a.jump(places.elsewhere);
}

/// Tells what the IPv6 address at `base + at` is; goes on at `mapped` with an IPv4 address
/// in R8 where it is one in IPv6's clothes.
fn tell6(a: &mut Assembler, base: Register, at: i16, places: &Places, mapped: Option<Label>) {
    let (not_own, not_zero, not_prefix) = (a.label(), a.label(), a.label());
    for word in [12, 8, 4, 0] {
        a.load(Word, R8, base, at + word);
        a.load(Word, R1, R7, offset::V6 + word);
        a.if_other(R8, R1, not_own);
    }
    a.jump(places.own);

    a.place(not_own);
    for word in [0, 4] {
        a.load(Word, R8, base, at + word);
        a.if_not(R8, 0, not_zero);
    }
    a.load(Word, R1, base, at + 8);
    a.load(Word, R8, base, at + 12);
    if let Some(mapped) = mapped {
        a.if_is(R1, MAPPED, mapped);
    }
    a.if_not(R1, 0, places.elsewhere);
    a.if_is(R8, 0, places.wildcard);
    a.if_is(R8, LAST_OF_LOCALHOST6, places.localhost);
    a.jump(places.elsewhere);

    a.place(not_zero);
    for word in [0, 4] {
        a.load(Word, R8, base, at + word);
        a.load(Word, R1, R7, offset::PREFIX + word);
        a.if_other(R8, R1, not_prefix);
    }
    a.jump(places.anothers);
    a.place(not_prefix);
    a.jump(places.elsewhere);
}

/// Goes on at `found` if the port in R9 is a service's.
fn if_service(a: &mut Assembler, found: Label) {
    let none = a.label();
    a.if_is(R9, 0, none);
    for at in (offset::SERVICES..).step_by(2).take(MOST_SERVICES) {
        a.load(Half, R1, R7, at);
        a.if_is(R1, 0, none);
        a.if_same(R9, R1, found);
    }
    a.place(none);
}

/// R0 is what the map has for packets to the number in R1 from that in R2; null for nothing.
fn look_up_reach(a: &mut Assembler) {
    a.store(Word, R10, -8, R1);
    a.store(Word, R10, -4, R2);
    a.map(R1, REACH);
    a.copy(R2, R10);
    a.add(R2, -8);
    a.call(Call::MapLookup);
}

/// The user's own number.
fn own_number(a: &mut Assembler, to: Register) {
    a.load(Word, to, R7, offset::MARKED);
    a.and(to, NUMBER);
}

/// Puts the user's own address into the context: as IPv6, or as IPv4 into the word at `at`.
fn put_own(a: &mut Assembler, family: Family, at: i16) {
    let (from, words): (i16, &[i16]) = match family {
        Family::V4 => (offset::V4, &[0]),
        Family::V6 => (offset::V6, &[0, 4, 8, 12]),
    };
    for word in words {
        a.load(Word, R1, R7, from + word);
        a.store(Word, R6, at + word, R1);
    }
}

/// What bind and reach have in common: an address told apart in its family, and the port in R9.
/// `act` gets the family that the address is in, and where its last or only word is.
fn decide(
    family: Family,
    act: impl Fn(&mut Assembler, Family, i16, &Places, Label, Label),
) -> Program {
    let mut a = Assembler::new();
    let (allow, refuse) = (a.label(), a.label());
    start(&mut a);
    only_of_the_host(&mut a, allow);
    a.load(Word, R9, R6, sock_addr::PORT);
    match family {
        Family::V4 => {
            let places = Places::new(&mut a);
            a.load(Word, R8, R6, sock_addr::IP4);
            tell4(&mut a, &places);
            act(&mut a, Family::V4, sock_addr::IP4, &places, allow, refuse);
        }
        Family::V6 => {
            let (places, mapped) = (Places::new(&mut a), a.label());
            tell6(&mut a, R6, sock_addr::IP6, &places, Some(mapped));
            act(&mut a, Family::V6, sock_addr::IP6, &places, allow, refuse);
            let places = Places::new(&mut a);
            a.place(mapped);
            tell4(&mut a, &places);
            act(&mut a, Family::V4, sock_addr::IP6 + 12, &places, allow, refuse);
        }
    }
    a.place(allow);
    a.end(1);
    a.place(refuse);
    a.end(0);
    a.finish()
}

fn bind(family: Family) -> Program {
    decide(family, |a, family, at, places, allow, refuse| {
        let own = a.label();
        a.place(places.localhost);
        if_service(a, refuse);
        a.place(own);
        put_own(a, family, at);
        a.jump(allow);

        a.place(places.wildcard);
        if_service(a, refuse);
        a.load(Word, R1, R7, offset::WILDCARD_IS_OWN);
        a.if_not(R1, 0, own);
        a.jump(allow);

        a.place(places.anothers);
        a.jump(refuse);

        a.place(places.own);
        a.place(places.elsewhere);
        a.jump(allow);
    })
}

fn reach(asked: Family, action: Action) -> Program {
    decide(asked, |a, family, at, places, allow, refuse| {
        // With another source than the program's own, or with the one that it has chosen.
        let (source, chosen) = (a.label(), a.label());
        a.place(places.wildcard);
        if action == Action::Send {
            // A socket that is connected, with control data: no destination was given.
            a.if_is(R9, 0, chosen);
        }
        a.place(places.localhost);
        if_service(a, chosen);
        put_own(a, family, at);
        a.jump(source);

        a.place(places.anothers);
        if family == Family::V4 {
            // R8 is in the pool, so this leaves the number.
            a.load(Word, R1, R7, offset::POOL);
            a.xor_register(R1, R8);
        } else {
            a.load(Word, R1, R6, at + 8);
            a.if_not(R1, 0, refuse);
            a.load(Word, R1, R6, at + 12);
        }
        a.from_network(R1);
        own_number(a, R2);
        look_up_reach(a);
        a.if_null(R0, refuse);
        if action == Action::Connect {
            a.load(Byte, R1, R0, 0);
            a.if_is(R1, Reach::Granted as u32, source);
            a.load(Word, R1, R6, sock_addr::TYPE);
            a.if_is(R1, SOCK_STREAM, refuse);
        }
        a.jump(source);

        a.place(places.own);
        a.place(source);
        match (action, asked, family) {
            (Action::Connect, ..) => bind_source(a, asked, family),
            (Action::Send, Family::V4, _) => put_own(a, Family::V4, sock_addr::SOURCE4),
            (Action::Send, Family::V6, Family::V6) => {
                put_own(a, Family::V6, sock_addr::SOURCE6);
            }
            // The kernel has sent these through IPv4's own.
            (Action::Send, Family::V6, Family::V4) => {}
        }
        a.jump(allow);

        a.place(chosen);
        a.place(places.elsewhere);
        if action == Action::Send {
            check_source(a, asked, allow, refuse);
        }
        a.jump(allow);
    })
}

/// Control data (IP_PKTINFO) choose any local address to send from: of localhosts they may choose
/// what the socket is bound to.
fn check_source(a: &mut Assembler, asked: Family, allow: Label, refuse: Label) {
    let (words, at, of_socket): (&[i16], i16, i16) = match asked {
        Family::V4 => (&[0], sock_addr::SOURCE4, socket::SOURCE4),
        Family::V6 => (&[0, 4, 8, 12], sock_addr::SOURCE6, socket::SOURCE6),
    };
    let differs = a.label();
    a.load(Double, R9, R6, sock_addr::SOCKET);
    a.if_null(R9, differs);
    for word in words {
        a.load(Word, R8, R6, at + word);
        a.load(Word, R1, R9, of_socket + word);
        a.if_other(R8, R1, differs);
    }
    a.jump(allow);

    a.place(differs);
    let places = Places::new(a);
    match asked {
        Family::V4 => {
            a.load(Word, R8, R6, at);
            tell4(a, &places);
        }
        Family::V6 => tell6(a, R6, at, &places, None),
    }
    a.place(places.localhost);
    a.place(places.anothers);
    a.jump(refuse);
    a.place(places.own);
    a.place(places.wildcard);
    a.place(places.elsewhere);
}

/// Has a connection come from the user's own address. One that is bound already keeps what it
/// has: the kernel refuses, which is not asked.
fn bind_source(a: &mut Assembler, socket: Family, address: Family) {
    let length = match socket {
        Family::V4 => {
            a.store_number(Half, R10, -16, AF_INET);
            a.store_number(Half, R10, -14, 0);
            a.load(Word, R1, R7, offset::V4);
            a.store(Word, R10, -12, R1);
            a.store_number(Double, R10, -8, 0);
            16
        }
        Family::V6 => {
            a.store_number(Half, R10, -32, AF_INET6);
            a.store_number(Half, R10, -30, 0);
            a.store_number(Word, R10, -28, 0);
            for word in [0, 4, 8, 12] {
                match (address, word) {
                    (Family::V6, _) => a.load(Word, R1, R7, offset::V6 + word),
                    (Family::V4, 12) => a.load(Word, R1, R7, offset::V4),
                    (Family::V4, 8) => a.set(R1, MAPPED),
                    (Family::V4, _) => a.set(R1, 0),
                }
                a.store(Word, R10, -24 + word, R1);
            }
            a.store_number(Double, R10, -8, 0);
            28
        }
    };
    a.copy(R1, R6);
    a.copy(R2, R10);
    a.add(R2, if socket == Family::V4 { -16 } else { -32 });
    a.set(R3, length);
    a.call(Call::Bind);
}

/// getsockname(2), getpeername(2), accept(2), recvfrom(2): one's own address is localhost.
fn show(family: Family) -> Program {
    let mut a = Assembler::new();
    let done = a.label();
    start(&mut a);
    let put = |a: &mut Assembler, at: i16, word: u32| {
        // A number cannot be stored into the context but from a register.
        a.set(R1, word);
        a.store(Word, R6, at, R1);
    };
    match family {
        Family::V4 => {
            a.load(Word, R8, R6, sock_addr::IP4);
            a.load(Word, R1, R7, offset::V4);
            a.if_other(R8, R1, done);
            put(&mut a, sock_addr::IP4, LOCALHOST4);
        }
        Family::V6 => {
            let (places, mapped) = (Places::new(&mut a), a.label());
            tell6(&mut a, R6, sock_addr::IP6, &places, Some(mapped));
            a.place(places.own);
            put(&mut a, sock_addr::IP6, 0);
            put(&mut a, sock_addr::IP6 + 4, 0);
            put(&mut a, sock_addr::IP6 + 8, 0);
            put(&mut a, sock_addr::IP6 + 12, LAST_OF_LOCALHOST6);
            a.jump(done);
            a.place(mapped);
            a.load(Word, R1, R7, offset::V4);
            a.if_other(R8, R1, done);
            put(&mut a, sock_addr::IP6 + 12, LOCALHOST4);
            for nothing in [places.wildcard, places.anothers, places.localhost, places.elsewhere] {
                a.place(nothing);
            }
        }
    }
    a.place(done);
    a.end(1);
    a.finish()
}

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
fn ingress() -> Program {
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
    look_up_reach(&mut a);
    a.if_null(R0, refuse);
    a.load(Byte, R1, R0, 0);
    a.if_is(R1, Reach::Granted as u32, allow);
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

    a.place(allow);
    a.end(1);
    a.place(refuse);
    a.end(0);
    a.finish()
}

/// What goes out to `lo`: marked, and then `rules::leaves`.
fn egress() -> Program {
    let mut a = Assembler::new();
    let (allow, refuse) = (a.label(), a.label());
    a.load(Word, R2, R1, packet::INTERFACE);
    a.if_not(R2, LO, allow);
    start(&mut a);
    a.load(Word, R1, R7, offset::MARKED);
    a.store(Word, R6, packet::MARK, R1);
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
    a.place(allow);
    a.end(1);
    a.place(refuse);
    a.end(0);
    a.finish()
}
