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

/// Users by uid.
pub type Known = BTreeMap<u32, Subject>;

/// Brings what the programs know of `subject` and everybody else who is logged in to what the
/// policy says now.
pub fn update(
    state: &State,
    set: &Set,
    policy: &Policy,
    subject: &Subject,
    address: Address,
    known: &Known,
) -> Result<()> {
    let mut wanted = Pairs::new();
    for claim in others(state, policy, subject.uid) {
        // Who logged in meanwhile was not looked up before.
        let other = known.get(&claim.uid).cloned().or_else(|| look_up(state, policy, claim.uid));
        if let Some(other) = other {
            let (own, others) = (address.number, claim.address.number);
            wanted.extend(between(policy, (subject, own), (&other, others)));
        }
    }
    if !wanted.is_empty() {
        let note = note(state);
        std::fs::write(&note, "").map_err(Error::os("write", note.display()))?;
    } else if !are_any(state) {
        return Ok(());
    }
    set.replace(address.number, &wanted)
}

/// Whether anybody is known to the programs to reach anybody: finding out from the map itself
/// takes longer than the rest of a login's dealings with it.
pub fn are_any(state: &State) -> bool {
    note(state).exists()
}

/// Nobody is known to the programs.
pub fn forget_any(state: &State) {
    let _ = std::fs::remove_file(note(state));
}

fn note(state: &State) -> PathBuf {
    super::directory_in(state).join("peers")
}

/// Who else is logged in, looked up before anybody has to wait for it.
pub fn look_up_others(state: &State, policy: &Policy, uid: u32) -> Known {
    let others = others(state, policy, uid).into_iter();
    others.filter_map(|claim| Some((claim.uid, look_up(state, policy, claim.uid)?))).collect()
}

/// Those who matter, which for most policies is nobody.
fn others(state: &State, policy: &Policy, uid: u32) -> Vec<Claim> {
    let mut claims = if policy.has_peers() { Claim::all(state) } else { Vec::new() };
    claims.retain(|claim| claim.uid != uid);
    claims
}

/// Keeps who somebody is who logs in: the logins of others need not ask NSS, which for a thousand
/// users would take longer than a login may.
pub fn remember(state: &State, policy: &Policy, subject: &Subject) -> Result<()> {
    if !policy.has_peers() {
        return Ok(());
    }
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

/// What two users may send to each other.
fn between(policy: &Policy, one: (&Subject, u32), two: (&Subject, u32)) -> Pairs {
    let may_reach = |owner: &Subject, sender: &Subject| {
        let peers = policy.peers_of(owner);
        peers.is_some_and(|peers| peers.has(sender))
    };
    let mut pairs = Pairs::new();
    for (owner, sender) in [(one, two), (two, one)] {
        if may_reach(owner.0, sender.0) {
            pairs.insert((owner.1, sender.1), Reach::Granted);
            pairs.entry((sender.1, owner.1)).or_insert(Reach::Answers);
        }
    }
    pairs
}
