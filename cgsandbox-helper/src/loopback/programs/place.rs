//! What an address is to a user: `rules::place`, as a jump.

use cgsandbox_bpf::Register::{R1, R2, R7, R8};
use cgsandbox_bpf::Size::Word;
use cgsandbox_bpf::{Assembler, Label, Register};

use super::net;
use crate::loopback::record::offset;

pub(super) const LAST_OF_LOCALHOST6: u32 = net([0, 0, 0, 1]);
pub(super) const MAPPED: u32 = net([0, 0, 255, 255]);

/// Where an address leads that has been told apart by [`tell4`] or [`tell6`].
pub(super) struct Places {
    pub own: Label,
    pub wildcard: Label,
    pub anothers: Label,
    pub localhost: Label,
    pub elsewhere: Label,
}

impl Places {
    pub fn new(a: &mut Assembler) -> Self {
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

/// Tells what the IPv4 address in R8 is.
pub(super) fn tell4(a: &mut Assembler, places: &Places) {
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
pub(super) fn tell6(
    a: &mut Assembler,
    base: Register,
    at: i16,
    places: &Places,
    mapped: Option<Label>,
) {
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
