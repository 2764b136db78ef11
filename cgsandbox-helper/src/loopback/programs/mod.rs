//! The programs, in instructions. What they decide is in `rules`, under the same names.
//!
//! ```text
//! place     what an address is, for all of them
//! hook      bind, connect, sendto and what shows addresses: a socket's call is asked about
//! filter    ingress and egress: a packet is looked at
//! ```
//!
//! All of them keep to this: R6 is the context that the kernel gives, R7 the user's
//! `Record`. Addresses and ports stay in network order.

mod filter;
mod hook;
mod place;

use std::ffi::CStr;

use cgsandbox_bpf::Register::{R0, R1, R2, R6, R7, R9, R10};
use cgsandbox_bpf::Size::{Byte, Half, Word};
use cgsandbox_bpf::{Assembler, AttachType, Call, Label, Map, Program, Register};

use super::record::{ANYBODY, MOST_SERVICES, NUMBER, Reach, offset};
use hook::{Action, Family};

/// The map with each user's record.
pub const RECORDS: Map = Map(0);
/// The map of who may reach whom.
pub const REACH: Map = Map(1);

/// A program, its name in the kernel, and its place in a cgroup.
pub type Named = (&'static CStr, AttachType, fn() -> Program);

/// All of them. Those that only show addresses come first: until all are attached nothing is
/// changed that they could not show.
pub const ALL: [Named; 14] = [
    (c"cgsbx_sockname4", AttachType::Inet4Getsockname, || hook::show(Family::V4)),
    (c"cgsbx_sockname6", AttachType::Inet6Getsockname, || hook::show(Family::V6)),
    (c"cgsbx_peername4", AttachType::Inet4Getpeername, || hook::show(Family::V4)),
    (c"cgsbx_peername6", AttachType::Inet6Getpeername, || hook::show(Family::V6)),
    (c"cgsbx_recvmsg4", AttachType::Udp4Recvmsg, || hook::show(Family::V4)),
    (c"cgsbx_recvmsg6", AttachType::Udp6Recvmsg, || hook::show(Family::V6)),
    (c"cgsbx_ingress", AttachType::InetIngress, filter::ingress),
    (c"cgsbx_egress", AttachType::InetEgress, filter::egress),
    (c"cgsbx_bind4", AttachType::Inet4Bind, || hook::bind(Family::V4)),
    (c"cgsbx_bind6", AttachType::Inet6Bind, || hook::bind(Family::V6)),
    (c"cgsbx_connect4", AttachType::Inet4Connect, || hook::reach(Family::V4, Action::Connect)),
    (c"cgsbx_connect6", AttachType::Inet6Connect, || hook::reach(Family::V6, Action::Connect)),
    (c"cgsbx_sendmsg4", AttachType::Udp4Sendmsg, || hook::reach(Family::V4, Action::Send)),
    (c"cgsbx_sendmsg6", AttachType::Udp6Sendmsg, || hook::reach(Family::V6, Action::Send)),
];

/// Tells these programs and their records from those of another build: a digest, which a test holds
/// against them, for a login has no time to.
pub const VERSION: &str = "15ed38ad12e293f1";

/// `struct bpf_sock`.
mod socket {
    pub const PROTOCOL: i16 = 12;
    pub const SOURCE4: i16 = 24;
    pub const SOURCE6: i16 = 28;
}

/// R6 and R7, as all programs have them.
fn start(a: &mut Assembler) {
    a.copy(R6, R1);
    a.map(R1, RECORDS);
    a.set(R2, 0);
    a.call(Call::GetLocalStorage);
    a.copy(R7, R0);
}

/// The two ends that a program which may refuse has.
fn finish(mut a: Assembler, allow: Label, refuse: Label) -> Program {
    a.place(allow);
    a.end(1);
    a.place(refuse);
    a.end(0);
    a.finish()
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

/// Goes on by what the sender in R2 may send to the owner in R1, both numbers: `rules::allowed`.
fn by_reach(a: &mut Assembler, granted: Label, answers: Label, refuse: Label) {
    let (no_pair, not_open) = (a.label(), a.label());
    a.store(Word, R10, -8, R1);
    a.store(Word, R10, -4, R2);
    look_up(a, -8);
    a.if_null(R0, no_pair);
    a.load(Byte, R1, R0, 0);
    a.if_is(R1, Reach::Granted as u32, granted);
    a.if_is(R1, Reach::Answers as u32, answers);
    a.jump(refuse);

    // Who lets in anybody has no pairs for that.
    a.place(no_pair);
    a.load(Word, R1, R10, -8);
    a.store(Word, R10, -24, R1);
    a.store_number(Word, R10, -20, ANYBODY.cast_signed());
    look_up(a, -24);
    a.if_null(R0, not_open);
    a.jump(granted);
    a.place(not_open);
    a.load(Word, R1, R10, -4);
    a.store(Word, R10, -24, R1);
    look_up(a, -24);
    a.if_null(R0, refuse);
    a.jump(answers);
}

/// R0 is what the map of who may reach whom has under the key at `R10 + at`; null for nothing.
fn look_up(a: &mut Assembler, at: i32) {
    a.map(R1, REACH);
    a.copy(R2, R10);
    a.add(R2, at);
    a.call(Call::MapLookup);
}

/// The user's own number.
fn own_number(a: &mut Assembler, to: Register) {
    a.load(Word, to, R7, offset::MARKED);
    a.and(to, NUMBER);
}

/// Four bytes in network order, as a word of memory.
const fn net(bytes: [u8; 4]) -> u32 {
    u32::from_ne_bytes(bytes)
}
