//! What systemd has agreed to do, done before systemd comes to it.
//!
//! systemd answers a call at once, and starts units when it has nothing else to do (`manager.c`:
//! `EVENT_PRIORITY_RUN_QUEUE` is an idle priority). A user who floods it with calls over the system bus keeps
//! it from that for minutes. When it comes to the scope, it finds the cgroup that it would have made, the leader
//! in it, and the same limits there.
//!
//! Only with cgroup v2 alone, where a scope is one directory.

use std::path::Path;

use crate::cgroup::{Attribute, Tree, Version, apply_limits, apply_to_session};
use crate::error::{Error, Result};

/// Makes the cgroup of the scope `leaf` of user `uid`, under the limits `of_user` and `of_session`, and
/// moves process `leader` into it. The caller looks at what came of the limits, whoever has set them.
pub(super) fn make_scope(
    tree: &Tree,
    uid: u32,
    leaf: &str,
    leader: u32,
    of_user: &[Attribute],
    of_session: &[Attribute],
) -> Result<()> {
    let [hierarchy] = tree.hierarchies() else { return Ok(()) };
    if hierarchy.version != Version::Unified {
        return Ok(());
    }
    let users = tree.root_in(hierarchy);
    for above in [&hierarchy.mount, &users] {
        hand_down(above, of_user.iter().chain(of_session));
    }
    // systemd may have made it already, with the controllers for what is in it so far: none.
    let (tree, made) = tree.make_user(uid, true)?;
    hand_down(&tree.user_in(hierarchy, uid), of_session.iter());
    apply_limits(&tree, uid, of_user, &made);
    tree.make_session(uid, leaf)?;
    apply_to_session(&tree, uid, leaf, of_session, true);
    let path = tree.session_in(hierarchy, uid, leaf).join("cgroup.procs");
    let moved = std::fs::write(&path, leader.to_string());
    moved.map_err(Error::os(format!("move process {leader} into"), path.display()))
}

/// Has the children of a cgroup get the controllers that carry `attributes`. What the kernel
/// does not hand down is found missing when a limit is to be set.
fn hand_down<'a>(directory: &Path, attributes: impl Iterator<Item = &'a Attribute>) {
    for attribute in attributes.filter(|attribute| attribute.origin.is_some()) {
        let name = attribute.controller.name(Version::Unified);
        let _ = std::fs::write(directory.join("cgroup.subtree_control"), format!("+{name}"));
    }
}
