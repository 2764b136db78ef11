//! Private localhost: every user's 127.0.0.1 and ::1 are addresses of the user's own.
//!
//! ```text
//! address     uid              -> Address    which addresses are whose; pure
//! rules       Record + address -> Verdict    what they mean; the programs' model
//! programs    Record           -> BPF        the same in the kernel's instructions
//! set         BPF              -> cgroup     loaded once, attached to each user's cgroup
//! claim       Address          -> /run       who has which address now
//! interface   Address          -> lo         IPv6 addresses must be the machine's own
//! peers       Policy           -> Reach      who may reach whose address
//! ports       sysctl           -> warning    services whose ports anybody can be given
//! ```

pub mod address;
mod claim;
mod interface;
mod peers;
pub mod ports;
mod programs;
mod record;
#[cfg(test)]
mod rules;
mod set;

use std::path::PathBuf;
use std::time::Duration;

use crate::cgroup::{Tree, Version};
use crate::error::{Error, Result};
use crate::policy::{Policy, Subject};
use crate::state::{State, make_directory};
use address::{Address, Pool};
use claim::Claim;
use record::Record;
use set::{Cgroup, Set, Unsupported};

pub use record::MOST_SERVICES;

/// How long to wait for a login that is under way when there is no deadline to keep.
const PATIENCE: Duration = Duration::from_millis(500);

/// What one user's localhost is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loopback {
    /// The addresses, unless the user is logged in with others already.
    pub address: Address,
    /// What they are from.
    pub pool: Pool,
    /// Whether a server on all addresses is one on the user's own.
    pub wildcard_is_own: bool,
    /// The ports of the system's localhost that stay reachable.
    pub services: Vec<u16>,
}

/// Why no user of this host can have a localhost of its own, as far as looking tells.
pub fn lack(tree: &Tree) -> Option<String> {
    let v2 = tree.hierarchies().iter().any(|hierarchy| hierarchy.version == Version::Unified);
    (!v2).then(|| "BPF programs need a cgroup v2 hierarchy, and none is mounted".to_owned())
}

/// Why the kernel does not take the programs, if it does not; root's to ask.
pub fn try_out() -> Result<Option<Error>> {
    Set::try_out().map(|tried| tried.err().map(|Unsupported(error)| error))
}

/// What became of a localhost that a user was to have.
#[derive(Debug)]
pub enum Given {
    /// The user has it.
    Own {
        /// At this address.
        address: Address,
        /// Why not all whom the policy lets in can be let in.
        no_peers: Option<Error>,
    },
    /// This kernel has no such programs, or keeps them from root here.
    Unsupported(Error),
}

/// Makes localhost the user's own in the user's cgroup, and brings up to date who may reach it.
///
/// Only a kernel that does not take the programs is without support. Whatever fails afterwards, the
/// programs being there, is an error: the user is not let in without what others have.
///
/// The caller holds the user's lock. The one that all users share is held while files are written
/// that all share, and never while the kernel or a directory is waited for: on systemd hosts this
/// process is under the limits of the user, who may have used them up.
pub fn give(
    state: &State,
    tree: &Tree,
    policy: &Policy,
    subject: &Subject,
    loopback: &Loopback,
    patience: Duration,
) -> Result<Given> {
    let uid = subject.uid;
    let directory = directory_of(tree, uid).ok_or_else(|| {
        Error::new("find", format!("the v2 cgroup of uid {uid}"), "it is not there")
    })?;
    make_directory(&directory_in(state))?;
    let cgroup = Cgroup::open(&directory)?;
    let set = match Set::obtain(state, patience)? {
        Ok(set) => set,
        Err(Unsupported(error)) => return Ok(Given::Unsupported(error)),
    };
    let was_private = Claim::of(state, uid)?.is_some();
    let claim = || {
        let _lock = state.lock_loopback(patience)?;
        let pool = claim::pool(state, loopback.pool)?;
        Claim::make(state, uid, pool, loopback.address).map(|claim| (pool, claim.address))
    };
    let given = (|| {
        let (pool, address) = claim()?;
        interface::add(address.v6).map_err(Error::os("add to lo", address.v6))?;
        let record = Record {
            address,
            pool,
            wildcard_is_own: loopback.wildcard_is_own,
            namespace: cgsandbox_bpf::netns_cookie()
                .map_err(Error::os("ask for", "the network namespace"))?,
            services: loopback.services.clone(),
        };
        set.attach(&cgroup, &record.to_bytes())?;
        let mut no_peers = None;
        if policy.has_peers() || peers::are_any(state) {
            match peers::update(state, &set, policy, subject, address) {
                Err(error) if is_full(&error) => no_peers = Some(error),
                updated => updated?,
            }
        }
        Ok(Given::Own { address, no_peers })
    })();
    if given.is_err() && !was_private {
        // The first error is the one to tell.
        let _ = cgroup.clear();
        let _ = give_up(state, uid, patience);
    }
    given
}

/// Whether the programs know of as many pairs of users as they can: no reason to refuse a login.
fn is_full(error: &Error) -> bool {
    error.errno == Some(rustix::io::Errno::TOOBIG.raw_os_error())
}

/// Whether a user has a localhost of its own, or had one and was not released from all of it.
pub fn is_set(state: &State, uid: u32) -> bool {
    Claim::is_begun(state, uid)
}

/// Gives a user whom the policy wants to have the system's localhost that back.
pub fn withdraw(state: &State, tree: &Tree, uid: u32, patience: Duration) -> Result<()> {
    if !Claim::is_begun(state, uid) {
        return Ok(());
    }
    if let Some(directory) = directory_of(tree, uid) {
        Cgroup::open(&directory)?.clear()?;
    }
    give_up(state, uid, patience)
}

/// Forgets the address of a user who is gone. The programs went with the cgroup.
pub fn release(state: &State, uid: u32) -> Result<()> {
    if !Claim::is_begun(state, uid) {
        return Ok(());
    }
    give_up(state, uid, PATIENCE)
}

/// Forgets the addresses of users of whom nothing else is left, and clears `lo` of those that a
/// route stands for.
pub fn forget_unused(state: &State) -> Result<()> {
    let unused = |claim: &Claim| !state.user(claim.uid).exists();
    if Claim::all(state)?.iter().any(unused) {
        // Nobody gets such an address meanwhile.
        let _lock = state.lock_loopback(PATIENCE)?;
        for claim in Claim::all(state)?.into_iter().filter(unused) {
            claim.leave_lo()?;
            claim.forget(state)?;
        }
    }
    claim::clear_lo(state)
}

/// How many users' addresses are on `lo`.
pub fn addresses_on_lo(state: &State) -> usize {
    claim::on_lo(state).len()
}

/// The addresses that a user has now.
pub fn address_of(state: &State, uid: u32) -> Option<Address> {
    Claim::of(state, uid).ok().flatten().map(|claim| claim.address)
}

/// The caller holds the user's lock, and the user has a directory in the state: as long as it
/// has, nobody else gets the address.
fn give_up(state: &State, uid: u32, patience: Duration) -> Result<()> {
    if let Some(claim) = Claim::of(state, uid)? {
        if peers::are_any(state)
            && let Some(set) = Set::in_use(state)
        {
            peers::end(state, &set, claim.address.number)?;
        }
        claim.leave_lo()?;
    }
    let _lock = state.lock_loopback(patience)?;
    Claim::end(state, uid)
}

fn directory_in(state: &State) -> PathBuf {
    state.directory().join("loopback")
}

/// The user's cgroup, in the hierarchy that BPF programs are attached in.
fn directory_of(tree: &Tree, uid: u32) -> Option<PathBuf> {
    let v2 = tree.hierarchies().iter().find(|h| h.version == Version::Unified)?;
    Some(tree.user_in(v2, uid)).filter(|directory| directory.is_dir())
}

#[cfg(test)]
pub(crate) mod tests;
