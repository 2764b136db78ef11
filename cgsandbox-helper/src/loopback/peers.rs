//! Who may reach whose address: what `loopback_peers` says of those who are logged in.

use std::collections::BTreeMap;

use super::address::Address;
use super::claim::Claim;
use super::record::Reach;
use super::set::Set;
use crate::error::Result;
use crate::policy::{Policy, Subject, Verdict};
use crate::state::State;
use crate::subject;

/// By owner and sender, in their numbers.
pub type Pairs = BTreeMap<(u32, u32), Reach>;

/// Brings what the programs know of `subject` and everybody else who is logged in to what the
/// policy says now.
pub fn update(
    state: &State,
    set: &Set,
    policy: &Policy,
    subject: &Subject,
    address: Address,
) -> Result<()> {
    let mut wanted = Pairs::new();
    // Looking everybody up takes time that most policies need not spend.
    if policy.has_peers() {
        for claim in Claim::all(state).into_iter().filter(|claim| claim.uid != subject.uid) {
            // Somebody whose account is gone is nobody's peer.
            if let Some(other) = other(policy, claim.uid) {
                let (own, others) = (address.number, claim.address.number);
                wanted.extend(between(policy, (subject, own), (&other, others)));
            }
        }
    }
    set.replace(address.number, &wanted)
}

fn other(policy: &Policy, uid: u32) -> Option<Subject> {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten()?;
    subject::resolve(&user.name, policy.needs_groups()).ok()
}

/// What two users may send to each other.
fn between(policy: &Policy, one: (&Subject, u32), two: (&Subject, u32)) -> Pairs {
    let may_reach = |owner: &Subject, sender: &Subject| {
        let peers = policy.peers_of(owner);
        peers.is_some_and(|peers| matches!(peers.judge(sender), Verdict::Matched(_)))
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
