//! Who may reach whose address: what `loopback_peers` says of those who are logged in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::address::Address;
use super::claim::Claim;
use super::record::Reach;
use super::set::Set;
use crate::error::{Error, Result};
use crate::policy::{Policy, Subject};
use crate::state::{State, make_directory};
use crate::subject;

/// By owner and sender, in their numbers.
pub type Pairs = BTreeMap<(u32, u32), Reach>;

/// Who is logged in, as the programs know it.
struct Party<'a> {
    subject: &'a Subject,
    number: u32,
    /// Whether the programs let in anybody.
    is_open: bool,
}

/// Brings what the programs know of `subject` and everybody else who is logged in to what the
/// policy says now.
///
/// No lock is held: for a thousand users a directory may have to be asked. Of two who log in at
/// the same time each is to be seen, by its address, before it looks for others; so one sees the
/// other, and finds the same as the other would.
pub fn update(
    state: &State,
    set: &Set,
    policy: &Policy,
    subject: &Subject,
    address: Address,
) -> Result<()> {
    let number = address.number;
    let is_open = policy.peers_of(subject).is_some_and(|peers| peers.has_everybody());
    // First: what another login puts in from now on stays.
    let before = if note(state, PAIRS).exists() { set.pairs_of(number)? } else { Vec::new() };
    let mut wanted = Pairs::new();
    if policy.has_pairs() {
        remember(state, subject)?;
        let own = Party { subject, number, is_open };
        let others = Claim::all(state)?.into_iter().filter(|claim| claim.uid != subject.uid);
        for Claim { uid, address: Address { number, .. } } in others {
            if let Some(subject) = look_up(state, policy, uid) {
                let is_open = set.is_open(number)?;
                let other = Party { subject: &subject, number, is_open };
                wanted.extend(between(policy, &own, &other));
            }
        }
    }
    for (name, needed) in [(PAIRS, !wanted.is_empty()), (OPEN, is_open)] {
        let note = note(state, name);
        if needed && !note.exists() {
            std::fs::write(&note, "").map_err(Error::os("write", note.display()))?;
        }
    }
    set.change(number, is_open, &wanted, &before)
}

/// Nobody may reach `number` any more, nor it anybody.
pub fn end(state: &State, set: &Set, number: u32) -> Result<()> {
    let before = if note(state, PAIRS).exists() { set.pairs_of(number)? } else { Vec::new() };
    set.change(number, false, &Pairs::new(), &before)
}

/// There if the programs know of a pair of users.
const PAIRS: &str = "pairs";

/// There if the programs let anybody reach somebody.
const OPEN: &str = "open";

/// Whether anybody is known to the programs to reach anybody: finding out from the map itself
/// takes longer than the rest of a login's dealings with it.
pub fn are_any(state: &State) -> bool {
    [PAIRS, OPEN].iter().any(|name| note(state, name).exists())
}

/// Nobody is known to the programs.
pub fn forget_any(state: &State) {
    for name in [PAIRS, OPEN] {
        let _ = std::fs::remove_file(note(state, name));
    }
}

fn note(state: &State, name: &str) -> PathBuf {
    super::directory_in(state).join(name)
}

/// Keeps who somebody is who logs in: the logins of others need not ask NSS, which for a thousand
/// users would take longer than a login may.
fn remember(state: &State, subject: &Subject) -> Result<()> {
    let path = path_of(state, subject.uid);
    make_directory(&super::directory_in(state).join("subject"))?;
    let text =
        serde_json::to_vec(subject).map_err(|cause| Error::new("write", path.display(), cause))?;
    state.write(&path, &text)
}

/// Forgets who somebody was who has no address any more.
pub fn forget(state: &State, uid: u32) {
    let _ = std::fs::remove_file(path_of(state, uid));
}

fn path_of(state: &State, uid: u32) -> PathBuf {
    super::directory_in(state).join("subject").join(uid.to_string())
}

/// As the user logged in; as NSS has it now, for who did when that did not matter.
fn look_up(state: &State, policy: &Policy, uid: u32) -> Option<Subject> {
    let kept = std::fs::read(path_of(state, uid)).ok();
    let kept: Option<Subject> = kept.and_then(|text| serde_json::from_slice(&text).ok());
    let mentioned = policy.mentioned();
    let is_known = |kept: &Subject| {
        let has = |group: &&str| {
            kept.groups.as_ref().is_some_and(|known| known.mentioned.contains_key(*group))
        };
        mentioned.groups.iter().all(has)
    };
    if let Some(kept) = kept.filter(is_known) {
        return Some(kept);
    }
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten()?;
    subject::resolve(&user.name, &mentioned).ok()
}

/// What has to be said of two users beside who lets in anybody.
fn between(policy: &Policy, one: &Party<'_>, two: &Party<'_>) -> Pairs {
    let may_reach = |owner: &Party<'_>, sender: &Party<'_>| {
        policy.peers_of(owner.subject).is_some_and(|peers| peers.has(sender.subject))
    };
    let may = [may_reach(one, two), may_reach(two, one)];
    let pairs = [
        ((one.number, two.number), exception(may, [one.is_open, two.is_open])),
        ((two.number, one.number), exception([may[1], may[0]], [two.is_open, one.is_open])),
    ];
    pairs.into_iter().filter_map(|(pair, reach)| Some((pair, reach?))).collect()
}

/// The entry for an owner and a sender, where what each `may` do with the other does not follow from
/// whether they are open; both in this order.
fn exception(may: [bool; 2], is_open: [bool; 2]) -> Option<Reach> {
    let reach = |[granted, answers]: [bool; 2]| match (granted, answers) {
        (true, _) => Some(Reach::Granted),
        (_, true) => Some(Reach::Answers),
        _ => None,
    };
    (reach(may) != reach(is_open)).then(|| reach(may).unwrap_or(Reach::Refused))
}

#[cfg(test)]
mod tests {
    use super::super::record::ANYBODY;
    use super::super::rules;
    use super::*;

    /// With what is said of pairs, the programs let through what the policy says.
    #[test]
    fn exceptions_make_up_for_what_follows_from_nothing_else() {
        let both = [[false, false], [false, true], [true, false], [true, true]];
        for (may, is_open) in both.into_iter().flat_map(|may| both.map(|is_open| (may, is_open))) {
            let entry = |owner: u32, sender: u32| match (owner, sender) {
                (1, ANYBODY) => is_open[0].then_some(Reach::Granted),
                (2, ANYBODY) => is_open[1].then_some(Reach::Granted),
                _ => exception(may, is_open),
            };
            let wanted = match may {
                [true, _] => Some(Reach::Granted),
                [_, true] => Some(Reach::Answers),
                _ => None,
            };
            assert_eq!(rules::allowed(1, 2, entry), wanted, "{may:?} {is_open:?}");
            if may == is_open {
                assert_eq!(exception(may, is_open), None, "no pair where none is needed");
            }
        }
    }
}
