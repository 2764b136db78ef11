//! Who a user is, as NSS has it: files, LDAP, SSSD alike.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

use crate::error::{Error, Result};
use crate::policy::{Groups, Mentioned, Subject, Who};

/// The user of this name, with what NSS knows of what the policy has `mentioned`.
pub fn resolve(name: &str, mentioned: &Mentioned<'_>) -> Result<Subject> {
    let mut subject = resolve_alone(name)?;
    if !mentioned.groups.is_empty() {
        subject.groups = Some(groups_of(&subject, mentioned)?);
    }
    compare_uid(&mut subject, mentioned);
    Ok(subject)
}

/// The same without groups, whether or not any are mentioned.
pub fn resolve_without_groups(name: &str, mentioned: &Mentioned<'_>) -> Result<Subject> {
    let mut subject = resolve_alone(name)?;
    compare_uid(&mut subject, mentioned);
    Ok(subject)
}

/// Notes whether a number that is mentioned is the user's uid and another user's name.
fn compare_uid(subject: &mut Subject, mentioned: &Mentioned<'_>) {
    if mentioned.uids.contains(&subject.uid) {
        // A directory that does not answer leaves the uid a uid.
        let owner = uid_of(&subject.uid.to_string());
        subject.uid_is_a_name = owner.is_some_and(|owner| owner != subject.uid);
    }
}

/// The user of this name without groups.
pub fn resolve_alone(name: &str) -> Result<Subject> {
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
    Ok(Subject {
        name: name.to_owned(),
        canonical: canonical.filter(|canonical| canonical != name),
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        home: user.dir,
        ..Subject::default()
    })
}

/// The user of this name, else the one with this uid; without groups.
pub fn find(user: &str) -> Result<Subject> {
    let known = User::from_name(user).ok().flatten().is_some();
    let uid = user.parse().ok().filter(|_| !known).map(Uid::from_raw);
    let by_uid = uid.and_then(|uid| User::from_uid(uid).ok().flatten());
    resolve_alone(&by_uid.map_or_else(|| user.to_owned(), |user| user.name))
}

/// The uid of the user of this name, if there is one.
pub fn uid_of(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

/// This machine's own passwd(5), in which a full name may well be in Latin 1.
pub fn passwd() -> String {
    String::from_utf8_lossy(&std::fs::read("/etc/passwd").unwrap_or_default()).into_owned()
}

/// The users of this machine's own passwd(5); a directory may have too many to ask for.
///
/// Read from the file itself: NSS would read it from the start for each of them.
pub fn local(mentioned: &Mentioned<'_>) -> Vec<Subject> {
    let text = passwd();
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((name, fields.nth(1)?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?))
    };
    let users: Vec<(String, u32, u32)> = text.lines().filter_map(user).collect();
    let mut first_of = HashMap::new();
    users.iter().for_each(|(name, uid, _)| _ = first_of.entry(*uid).or_insert(name));
    let uid_of: HashMap<&str, u32> =
        users.iter().map(|(name, uid, _)| (name.as_str(), *uid)).collect();
    let named = mentioned.groups.iter().map(|group| {
        let gid = gid_of(group).ok().flatten();
        ((*group).to_owned(), gid)
    });
    let named: BTreeMap<String, Option<u32>> = named.collect();
    let subject = |(name, uid, gid): &(String, u32, u32)| {
        let groups = || {
            let ids = ids_of(name, *gid).ok()?;
            Some(Groups { ids, mentioned: named.clone() })
        };
        let canonical = first_of.get(uid).filter(|first| **first != name);
        Subject {
            name: name.clone(),
            canonical: canonical.map(|first| (*first).clone()),
            uid: *uid,
            gid: *gid,
            groups: if named.is_empty() { None } else { groups() },
            uid_is_a_name: uid_of.get(uid.to_string().as_str()).is_some_and(|other| other != uid),
            ..Subject::default()
        }
    };
    users.iter().map(subject).collect()
}

/// The user's group ids, and the ids of the groups that are `mentioned`.
///
/// Only these few are looked up by name, never all of the user's by id: NSS hands over the
/// members of each group that it is asked for, and a user can have hundreds of large groups.
fn groups_of(subject: &Subject, mentioned: &Mentioned<'_>) -> Result<Groups> {
    let ids = ids_of(&subject.name, subject.gid)?;
    let mut groups = Groups { ids, mentioned: BTreeMap::new() };
    let mut unanswered = Vec::new();
    for group in &mentioned.groups {
        match gid_of(group) {
            Ok(gid) => _ = groups.mentioned.insert((*group).to_owned(), gid),
            Err(_) => unanswered.push(*group),
        }
    }
    if !unanswered.is_empty() {
        groups.mentioned.extend(found_by_id(&groups.ids, &unanswered)?);
    }
    Ok(groups)
}

/// Asked from the user's side: member lists miss the primary group, and a directory's groups.
fn ids_of(user: &str, primary: u32) -> Result<Vec<u32>> {
    let object = || format!("the groups of user \"{}\"", user.escape_default());
    let name =
        CString::new(user).map_err(|_| Error::new("look up", object(), "NUL in the name"))?;
    let ids =
        getgrouplist(&name, Gid::from_raw(primary)).map_err(Error::os("look up", object()))?;
    Ok(ids.into_iter().map(Gid::as_raw).collect())
}

/// The id of a group by name; of a number that is no group's name, that number.
fn gid_of(group: &str) -> nix::Result<Option<u32>> {
    let number = group.parse::<u32>().ok();
    let by_name = match known(Group::from_name(group)) {
        // Its list of members is longer than nix reads. Most groups that large are local.
        Err(Errno::ERANGE) => Ok(local_gid_of(group)),
        answer => answer.map(|group| group.map(|group| group.gid.as_raw())),
    };
    match number {
        Some(_) => Ok(by_name.ok().flatten().or(number)),
        None => by_name,
    }
}

/// By this machine's own group(5).
fn local_gid_of(group: &str) -> Option<u32> {
    let text = std::fs::read("/etc/group").ok()?;
    let gid = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b':');
        let is_it = fields.next() == Some(group.as_bytes());
        let gid = fields.nth(1).filter(|_| is_it)?;
        std::str::from_utf8(gid).ok()?.parse().ok()
    };
    text.split(|byte| *byte == b'\n').find_map(gid)
}

/// Which of the `names` are of groups among `ids`, asked for by id.
///
/// For when a directory does not answer for a name. The user's own groups may all be local ones,
/// and then it is certain without the directory that the name is of none of them.
fn found_by_id(ids: &[u32], names: &[&str]) -> Result<Vec<(String, Option<u32>)>> {
    let mut found = BTreeMap::new();
    for id in ids {
        if let Some(name) = name_of(*id).map_err(Error::os("look up", format!("group {id}")))? {
            found.insert(name, *id);
        }
    }
    Ok(names.iter().map(|name| ((*name).to_owned(), found.get(*name).copied())).collect())
}

/// The name of a group; none where its list of members is longer than nix reads.
fn name_of(gid: u32) -> nix::Result<Option<String>> {
    match Group::from_gid(Gid::from_raw(gid)) {
        Err(Errno::ERANGE) => Ok(None),
        answer => known(answer).map(|group| group.map(|group| group.name)),
    }
}

/// The names of groups, for people to read. After a second in all the others have none.
pub fn named(gids: impl IntoIterator<Item = u32>) -> Vec<(u32, Option<String>)> {
    let deadline = Instant::now() + Duration::from_secs(1);
    let name = |gid| (Instant::now() < deadline).then(|| name_of(gid).ok().flatten()).flatten();
    gids.into_iter().map(|gid| (gid, name(gid))).collect()
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
