//! Hooks at a socket's calls: which address it is to be, and which it is shown.

use cgsandbox_bpf::Register::{R0, R1, R2, R3, R6, R7, R8, R9, R10};
use cgsandbox_bpf::Size::{Double, Half, Word};
use cgsandbox_bpf::{Assembler, Call, Label, Program};

use super::place::{LAST_OF_LOCALHOST6, MAPPED, Places, tell4, tell6};
use super::{by_reach, finish, if_service, net, own_number, socket, start};
use crate::loopback::record::offset;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
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

const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;
const SOCK_STREAM: u32 = 1;
const LOCALHOST4: u32 = net([127, 0, 0, 1]);

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
    finish(a, allow, refuse)
}

pub(super) fn bind(family: Family) -> Program {
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

pub(super) fn reach(asked: Family, action: Action) -> Program {
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
        let answers = a.label();
        by_reach(a, source, answers, refuse);
        a.place(answers);
        if action == Action::Connect {
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
pub(super) fn show(family: Family) -> Program {
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
