//! Who a user is, as NSS has it: files, LDAP, SSSD alike.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::error::{Error, Result};
use crate::policy::{Subject, Who};

/// The user of this name. Groups are asked for only if `groups`: that can take a
/// directory server.
pub fn resolve(name: &str, groups: bool) -> Result<Subject> {
    let user = User::from_name(name)
        .map_err(Error::os("look up", format!("user \"{}\"", name.escape_default())))?
        .ok_or_else(|| {
            let object = format!("user \"{}\"", name.escape_default());
            Error::new(
                "look up",
                object,
                "no such user in passwd(5) or in what nsswitch.conf names",
            )
        })?;
    // One uid may have two names; the sandbox is the uid's.
    let canonical = known(User::from_uid(user.uid))
        .map_err(Error::os("look up", format!("uid {}", user.uid)))?
        .map(|user| user.name);
    let groups = if groups { Some(groups_of(name, user.gid)?) } else { None };
    Ok(Subject {
        name: name.to_owned(),
        canonical: canonical.filter(|canonical| canonical != name),
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        groups,
    })
}

/// The user of this name, else the one with this uid.
pub fn find(user: &str, groups: bool) -> Result<Subject> {
    let known = User::from_name(user).ok().flatten().is_some();
    let uid = user.parse().ok().filter(|_| !known).map(Uid::from_raw);
    let by_uid = uid.and_then(|uid| User::from_uid(uid).ok().flatten());
    resolve(&by_uid.map_or_else(|| user.to_owned(), |user| user.name), groups)
}

/// This machine's own passwd(5), in which a full name may well be in Latin 1.
pub fn passwd() -> String {
    String::from_utf8_lossy(&std::fs::read("/etc/passwd").unwrap_or_default()).into_owned()
}

/// The users of this machine's own passwd(5); a directory may have too many to ask for.
pub fn local(groups: bool) -> Vec<Subject> {
    let text = passwd();
    let names = text.lines().filter_map(|line| line.split(':').next());
    names.filter_map(|name| resolve(name, groups).ok()).collect()
}

/// All groups, the primary one included: member lists alone would miss it, and directory
/// groups too.
fn groups_of(name: &str, primary: Gid) -> Result<Vec<(u32, Option<String>)>> {
    let object = || format!("the groups of user \"{}\"", name.escape_default());
    let c_name =
        CString::new(name).map_err(|_| Error::new("look up", object(), "NUL in the name"))?;
    let gids = getgrouplist(&c_name, primary).map_err(Error::os("look up", object()))?;
    let named = |gid: Gid| {
        let group = match Group::from_gid(gid) {
            // Its list of members is longer than nix reads; it can be told by its number alone.
            Err(Errno::ERANGE) => None,
            answer => known(answer).map_err(Error::os("look up", format!("group {gid}")))?,
        };
        Ok((gid.as_raw(), group.map(|group| group.name)))
    };
    gids.into_iter().map(named).collect()
}

/// What NSS answers where it does not know somebody is one of these errors too (getpwnam(3)). All
/// others mean that it could not tell: a rule that goes by a name must not be passed over then.
fn known<T>(answer: nix::Result<Option<T>>) -> nix::Result<Option<T>> {
    match answer {
        Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF | Errno::EPERM) => Ok(None),
        answer => answer,
    }
}

/// Whether NSS knows the user or group that a pattern names. In doubt yes: a directory
/// server that does not answer is no reason for a warning.
pub fn is_known(who: &Who) -> bool {
    match who {
        Who::User(name) if name.parse::<u32>().is_err() => {
            User::from_name(name).map_or(true, |user| user.is_some())
        }
        Who::Group(name) if name.parse::<u32>().is_err() => {
            Group::from_name(name).map_or(true, |group| group.is_some())
        }
        _ => true,
    }
}
