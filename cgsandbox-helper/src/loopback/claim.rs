//! Who has which address now: `/run/cgsandbox/loopback/address/IPV4`, a symlink to `UID IPV6`,
//! and `user/UID/loopback`, a symlink to `IPV4`.
//!
//! Who is logged in keeps the address for as long as anything of the user is there, and all come
//! from one pool, whatever becomes of the configuration: servers are bound to them. Whoever
//! changes anything here holds the lock `loopback`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::address::{Address, Pool};
use super::{interface, peers};
use crate::error::{Error, Result};
use crate::state::{State, list, make_directory};

/// What addresses are from now: `wanted`, unless somebody still has one from elsewhere. With two
/// pools in use two users could come to one number, and one bind to what was the other's.
pub fn pool(state: &State, wanted: Pool) -> Result<Pool> {
    match noted(state) {
        Some(pool) if pool == wanted || !list(&directory(state))?.is_empty() => Ok(pool),
        _ => state.write(&note(state), wanted.to_string().as_bytes()).map(|()| wanted),
    }
}

/// Takes addresses off `lo` that need not be there.
pub fn clear_lo(state: &State) -> Result<()> {
    let Some(pool) = noted(state) else { return Ok(()) };
    interface::remove_needless(pool.v6).map_err(Error::os("remove from lo", pool))
}

/// The users' addresses that are on `lo`.
pub fn on_lo(state: &State) -> Vec<Ipv6Addr> {
    noted(state).map(|pool| interface::on_lo(pool.v6)).unwrap_or_default()
}

/// What addresses were from last.
fn noted(state: &State) -> Option<Pool> {
    Pool::parse(&std::fs::read_to_string(note(state)).ok()?)
}

fn note(state: &State) -> PathBuf {
    super::directory_in(state).join("pool")
}

/// An address that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub uid: u32,
    pub address: Address,
}

impl Claim {
    /// What the user has.
    pub fn of(state: &State, uid: u32) -> Result<Option<Self>> {
        let Some(name) = read_link(&own_link(state, uid))? else { return Ok(None) };
        let claim = name.to_str().map(|name| Self::read(state, name)).transpose()?.flatten();
        Ok(claim.filter(|claim| claim.uid == uid))
    }

    /// What everybody has.
    pub fn all(state: &State) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for name in list(&directory(state))? {
            all.extend(Self::read(state, &name)?);
        }
        Ok(all)
    }

    fn read(state: &State, name: &str) -> Result<Option<Self>> {
        let Ok(v4) = name.parse() else { return Ok(None) };
        let target = read_link(&directory(state).join(name))?;
        Ok(target.and_then(|target| Self::parse(v4, target.to_str()?)))
    }

    fn parse(v4: Ipv4Addr, target: &str) -> Option<Self> {
        let (uid, v6) = target.split_once(' ')?;
        let v6: Ipv6Addr = v6.parse().ok()?;
        let number = u32::try_from(u128::from(v6) & u128::from(u64::MAX)).ok()?;
        Some(Claim { uid: uid.parse().ok()?, address: Address { number, v4, v6 } })
    }

    /// What the user has already, or `wanted`; what follows from the uid where `pool` has not
    /// that.
    pub fn make(state: &State, uid: u32, pool: Pool, wanted: Address) -> Result<Self> {
        if let Some(claim) = Self::of(state, uid)? {
            return Ok(claim);
        }
        let address = pool.of_v4(wanted.v4).or_else(|| pool.of_uid(uid)).ok_or_else(|| {
            let cause = format!("{} has no address for it; see loopback_addresses", pool.v4);
            Error::new("find", format!("an address for uid {uid}"), cause)
        })?;
        let claim = Claim { uid, address };
        let path = claim.path(state);
        make_directory(&directory(state))?;
        if let Some(other) = Self::read(state, &claim.address.v4.to_string())?
            && other.uid != uid
            && state.user(other.uid).exists()
        {
            let cause = format!(
                "uid {} is logged in and has it; give one of them another in [loopback_addresses]",
                other.uid
            );
            return Err(Error::new("take", format!("address {}", claim.address.v4), cause));
        }
        // First the user's own: whoever clears up after the user finds the other by it.
        put(&own_link(state, uid), &claim.address.v4.to_string())?;
        put(&path, &format!("{uid} {}", claim.address.v6))?;
        Ok(claim)
    }

    /// Whether a user has an address, or was about to get one. Where that cannot be told, it is to
    /// be looked after.
    pub fn is_begun(state: &State, uid: u32) -> bool {
        match own_link(state, uid).symlink_metadata() {
            Ok(about) => about.is_symlink(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }

    /// Takes the address off `lo`. Before [`Claim::end`]: what has no claim is never looked for there.
    pub fn leave_lo(&self) -> Result<()> {
        let v6 = self.address.v6;
        interface::remove(v6).map_err(Error::os("remove from lo", v6))
    }

    /// Ends what [`Claim::is_begun`] tells of.
    pub fn end(state: &State, uid: u32) -> Result<()> {
        match Self::of(state, uid)? {
            Some(claim) => claim.forget(state),
            None => remove(&own_link(state, uid)),
        }
    }

    /// The address is nobody's from then on.
    pub fn forget(self, state: &State) -> Result<()> {
        if self.is_last(state)? {
            let v6 = self.address.v6;
            interface::remove_route(v6).map_err(Error::os("remove the route to", v6))?;
        }
        peers::forget(state, self.uid);
        remove(&self.path(state))?;
        remove(&own_link(state, self.uid))
    }

    /// Whether nobody else has an address.
    fn is_last(&self, state: &State) -> Result<bool> {
        let own = self.address.v4.to_string();
        Ok(list(&directory(state))?.iter().all(|name| *name == own))
    }

    fn path(&self, state: &State) -> PathBuf {
        directory(state).join(self.address.v4.to_string())
    }
}

fn directory(state: &State) -> PathBuf {
    super::directory_in(state).join("address")
}

fn own_link(state: &State, uid: u32) -> PathBuf {
    state.user(uid).join("loopback")
}

/// Where a link leads; none where there is none.
fn read_link(link: &Path) -> Result<Option<PathBuf>> {
    use std::io::ErrorKind::{InvalidInput, NotFound};
    match std::fs::read_link(link) {
        Err(error) if [NotFound, InvalidInput].contains(&error.kind()) => Ok(None),
        target => target.map(Some).map_err(Error::os("read", link.display())),
    }
}

fn remove(link: &Path) -> Result<()> {
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::os("remove", link.display())(error))
        }
        _ => Ok(()),
    }
}

/// Makes a symlink, in place of one that a crash has left.
fn put(link: &Path, target: &str) -> Result<()> {
    let _ = std::fs::remove_file(link);
    symlink(target, link).map_err(Error::os("write", link.display()))
}
