//! The cgroups of users and their sessions: where they are, whose, and what is in them.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::directory::{
    hand_down, inherit_cpuset, is_cpuset_alone, kill, make_directory, move_process, processes,
    processes_below, remove_directory,
};
use super::file;
use super::hierarchy::{Controller, Hierarchy, Version};
use super::membership::Membership;
use crate::error::{Error, Result};

/// The hierarchies in use on this host and the cgroup below which all users' are.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The first one tracks: it says which processes belong to a session.
    hierarchies: Vec<Hierarchy>,
    /// Without slashes at its ends.
    root: String,
    owner: Owner,
}

/// Whose the cgroups are: who alone makes, writes and removes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Owner {
    /// Ours: `cgroup_root/user-UID/session-ID`.
    #[default]
    Cgsandbox,
    /// systemd's: `user.slice/user-UID.slice/session-N.scope`. We read there, and write nothing.
    Systemd,
}

impl Owner {
    /// The name of what makes cgroups there, as in the audit line.
    pub fn back_end(self) -> &'static str {
        match self {
            Owner::Cgsandbox => "cgroupfs",
            Owner::Systemd => "systemd",
        }
    }
}

/// The slice that systemd has all users in.
const USER_SLICE: &str = "user.slice";

const SESSION: &str = "session-";

/// How long it may take to end a session whose processes fork.
const KILL_BUDGET: Duration = Duration::from_millis(200);

impl Tree {
    /// Ours, over those of `hierarchies` that serve a purpose here.
    ///
    /// v2 comes first, for it can tell a cgroup's end from its emptiness and kill it whole.
    pub fn new(hierarchies: &[Hierarchy], root: &str) -> Self {
        let is_unified = |h: &Hierarchy| h.version == Version::Unified;
        let limits = |h: &Hierarchy| Controller::ALL.iter().any(|c| h.carries(*c));
        let unified = hierarchies.iter().any(is_unified);
        let serves = |h: &&Hierarchy| is_unified(h) || limits(h) || !unified && h.counts_cpu_time();
        let mut hierarchies: Vec<Hierarchy> = hierarchies.iter().filter(serves).cloned().collect();
        // Then those with limits, so that the first is the same wherever CPU time is counted.
        hierarchies.sort_by_key(|h| (!is_unified(h), !limits(h)));
        Tree { hierarchies, root: root.trim_matches('/').to_owned(), owner: Owner::Cgsandbox }
    }

    /// systemd's. Its own hierarchy tracks: v2, or on hosts without that v1's `name=systemd`.
    pub fn of_systemd(hierarchies: &[Hierarchy]) -> Self {
        let mut tree = Tree::new(hierarchies, USER_SLICE);
        tree.owner = Owner::Systemd;
        if !tree.hierarchies.iter().any(|h| h.version == Version::Unified) {
            tree.hierarchies.splice(0..0, hierarchies.iter().find(|h| h.is_systemds()).cloned());
        }
        tree
    }

    /// The one that new sessions are made in: systemd's where systemd is the service manager,
    /// for it is then the only writer of the host's cgroups.
    pub fn of_host(hierarchies: &[Hierarchy], root: &str) -> Self {
        match crate::systemd::is_manager() {
            true => Tree::of_systemd(hierarchies),
            false => Tree::new(hierarchies, root),
        }
    }

    /// The one that a session's cgroups are in.
    pub fn of(hierarchies: &[Hierarchy], owner: Owner, root: &str) -> Self {
        match owner {
            Owner::Cgsandbox => Tree::new(hierarchies, root),
            Owner::Systemd => Tree::of_systemd(hierarchies),
        }
    }

    /// The name of what makes cgroups there, as in the audit line.
    pub fn back_end(&self) -> &'static str {
        self.owner.back_end()
    }

    /// Whether it is the tree of `owner` below `root`.
    pub fn is_of(&self, owner: Owner, root: &str) -> bool {
        self.owner == owner && self.root == root.trim_matches('/')
    }

    /// Whose it is.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// All hierarchies in use, the tracking one first.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The hierarchies in which we move processes and remove cgroups.
    fn ours(&self) -> &[Hierarchy] {
        match self.owner {
            Owner::Cgsandbox => &self.hierarchies,
            Owner::Systemd => &[],
        }
    }

    /// The cgroup above all users', relative to each hierarchy's mount.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The hierarchy that can carry `controller`, if any is.
    pub fn carrier(&self, controller: Controller) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|h| h.carries(controller))
    }

    /// The directory above all users'.
    pub fn root_in(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.mount.join(&self.root)
    }

    /// Where users have cgroups: this tree's hierarchies, and those others of `mounted`. Of one that
    /// is mounted twice it is where the limits are set. Where users' cgroups are directly below the
    /// mount, others' cannot be told from what serves something else.
    pub fn everywhere(&self, mounted: Vec<Hierarchy>) -> Vec<Hierarchy> {
        let is_other = |one: &Hierarchy| {
            !self.root.is_empty() && !self.hierarchies.iter().any(|own| own.is_twin_of(one))
        };
        let mut all = self.hierarchies.clone();
        all.extend(mounted.into_iter().filter(is_other));
        all.retain(|hierarchy| self.root_in(hierarchy).is_dir());
        all
    }

    /// The directory of a user's cgroup.
    pub fn user_in(&self, hierarchy: &Hierarchy, uid: u32) -> PathBuf {
        self.root_in(hierarchy).join(self.name_of_user(uid))
    }

    fn name_of_user(&self, uid: u32) -> String {
        match self.owner {
            Owner::Cgsandbox => format!("user-{uid}"),
            Owner::Systemd => format!("user-{uid}.slice"),
        }
    }

    /// The directory of a session's cgroup, the leaf of the user's.
    pub fn session_in(&self, hierarchy: &Hierarchy, uid: u32, leaf: &str) -> PathBuf {
        self.user_in(hierarchy, uid).join(leaf)
    }

    /// Whose cgroup a process is in, and in which leaf of it; none where it is in nobody's.
    pub fn locate(&self, now: &Membership) -> Option<(u32, String)> {
        let tracking = self.hierarchies.first()?;
        let directory = tracking.directory(now.path_in(tracking)?)?;
        let below = directory.strip_prefix(self.root_in(tracking)).ok()?;
        let mut names = below.iter().map(|name| name.to_string_lossy().into_owned());
        let user = names.next()?;
        let uid = user.strip_prefix("user-")?;
        let uid = uid.strip_suffix(".slice").unwrap_or(uid).parse().ok()?;
        (user == self.name_of_user(uid)).then_some((uid, names.next()?))
    }

    /// Makes the directory above all users', with the controllers that they need. Each directory
    /// that is not there yet is told to `make_known` first.
    ///
    /// Returns the controllers that the kernel would not hand down, with its reason.
    pub fn prepare(
        &self,
        make_known: impl Fn(&Path) -> Result<()>,
    ) -> Result<Vec<(Controller, Error)>> {
        let mut refused = Vec::new();
        for hierarchy in &self.hierarchies {
            let mut directory = hierarchy.mount.clone();
            refused.extend(hand_down(hierarchy, &directory));
            for component in Path::new(&self.root).components() {
                directory.push(component);
                if !directory.is_dir() {
                    make_known(&directory)?;
                    // 0700: what a user's cgroup holds is nobody else's business.
                    make_directory(&directory, 0o700)?;
                }
                inherit_cpuset(hierarchy, &directory)?;
                refused.extend(hand_down(hierarchy, &directory));
            }
        }
        Ok(refused)
    }

    /// Lets users pass through the directories above all of them, to cgroups whose names they know.
    /// systemd's are open to all anyway.
    pub fn let_pass(&self) -> Result<()> {
        for hierarchy in self.ours() {
            let root = self.root_in(hierarchy);
            for directory in root.ancestors().take_while(|it| *it != hierarchy.mount) {
                let about = Error::os("let users pass through", directory.display());
                let mode = directory.metadata().map(|it| it.mode());
                let open = |mode| Permissions::from_mode(mode | 0o011);
                mode.and_then(|mode| set_permissions(directory, open(mode))).map_err(about)?;
            }
        }
        Ok(())
    }

    /// Makes the user's cgroup where it is not there yet. Returns what of the tree it is in, and
    /// the directories that were made.
    ///
    /// v1's cpuset is left out unless `cpuset`: an own one there costs each login time.
    pub fn make_user(&self, uid: u32, cpuset: bool) -> Result<(Self, Vec<PathBuf>)> {
        let mut made = Vec::new();
        let mut hierarchies = Vec::new();
        for hierarchy in &self.hierarchies {
            let directory = self.user_in(hierarchy, uid);
            if is_cpuset_alone(hierarchy) && !cpuset && !directory.is_dir() {
                continue;
            }
            if make_directory(&directory, 0o755)? {
                inherit_cpuset(hierarchy, &directory)?;
                // For the sessions' own accounts only: a controller that is not handed
                // down further still limits the user.
                hand_down(hierarchy, &directory);
                made.push(directory);
            }
            hierarchies.push(hierarchy.clone());
        }
        Ok((self.with(hierarchies), made))
    }

    /// The same tree, of those hierarchies only in which the user has a cgroup.
    pub fn of_user(&self, uid: u32) -> Self {
        let has = |h: &&Hierarchy| self.user_in(h, uid).is_dir();
        self.with(self.hierarchies.iter().filter(has).cloned().collect())
    }

    fn with(&self, hierarchies: Vec<Hierarchy>) -> Self {
        Tree { hierarchies, root: self.root.clone(), owner: self.owner }
    }

    /// Makes a session's cgroup, the tracking hierarchy's first.
    pub fn make_session(&self, uid: u32, leaf: &str) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let directory = self.session_in(hierarchy, uid, leaf);
            make_directory(&directory, 0o755)?;
            inherit_cpuset(hierarchy, &directory)?;
        }
        Ok(())
    }

    /// Brings a session that runs into all of these hierarchies: since it began the user may have
    /// got a cgroup in one more, v1's cpuset.
    pub fn gather_session(&self, uid: u32, leaf: &str) -> Result<()> {
        let is_in = |hierarchy: &Hierarchy| self.session_in(hierarchy, uid, leaf).is_dir();
        if self.hierarchies.iter().all(is_in) {
            return Ok(());
        }
        self.make_session(uid, leaf)?;
        let end = Instant::now() + KILL_BUDGET;
        // What forks meanwhile is moved in the next round.
        loop {
            let mut moved = false;
            let members = self.members(uid, leaf);
            for directory in self.hierarchies.iter().map(|h| self.session_in(h, uid, leaf)) {
                let there = processes(&directory);
                for pid in members.iter().filter(|pid| !there.contains(pid)) {
                    match move_process(*pid, &directory) {
                        Err(error) if !error.is_no_process() => return Err(error),
                        _ => moved = true,
                    }
                }
            }
            if !moved {
                return Ok(());
            }
            if Instant::now() >= end {
                let cause = "its processes fork faster than they can be moved";
                return Err(Error::new("move", format!("all of {leaf} of uid {uid}"), cause));
            }
        }
    }

    /// Moves `pid` into the session's cgroups and reads back that it is there.
    ///
    /// A module of this field is known to have logged success and moved nobody.
    pub fn enter(&self, uid: u32, leaf: &str, pid: u32) -> Result<()> {
        for hierarchy in &self.hierarchies {
            move_process(pid, &self.session_in(hierarchy, uid, leaf))?;
        }
        let now = Membership::of(pid)?;
        for hierarchy in &self.hierarchies {
            let wanted = hierarchy.path(&format!("{}/user-{uid}/{leaf}", self.root));
            match now.path_in(hierarchy) {
                Some(path) if path == wanted => {}
                path => {
                    let path = path.unwrap_or("no cgroup");
                    let cause = format!("the kernel says that it is in {path}");
                    return Err(Error::new(format!("move process {pid} into"), wanted, cause));
                }
            }
        }
        Ok(())
    }

    /// The files by which a process returns to `origin`, where that still is.
    pub fn ways_back(&self, origin: &Membership) -> Vec<String> {
        let way = |hierarchy: &Hierarchy| {
            let path = self.origin_in(hierarchy, origin).join("cgroup.procs");
            // A name that cannot be sent leaves that hierarchy to `leave`.
            path.into_os_string().into_string().ok().filter(|path| !path.contains('\n'))
        };
        self.ours().iter().filter_map(way).collect()
    }

    /// The directory of `origin`, or the top where that is gone.
    fn origin_in(&self, hierarchy: &Hierarchy, origin: &Membership) -> PathBuf {
        let directory = origin.path_in(hierarchy).and_then(|path| hierarchy.directory(path));
        directory.filter(|directory| directory.is_dir()).unwrap_or_else(|| hierarchy.mount.clone())
    }

    /// Moves `pid` out of the session's cgroups, back to `origin` where that still is.
    pub fn leave(&self, uid: u32, leaf: &str, pid: u32, origin: &Membership) -> Result<()> {
        let now = Membership::of(pid)?;
        for hierarchy in self.ours() {
            let ours = self.session_in(hierarchy, uid, leaf);
            let directory = now.path_in(hierarchy).and_then(|path| hierarchy.directory(path));
            if directory.as_deref() != Some(&ours) {
                continue;
            }
            move_process(pid, &self.origin_in(hierarchy, origin))?;
        }
        Ok(())
    }

    /// The processes of a session.
    pub fn members(&self, uid: u32, leaf: &str) -> Vec<u32> {
        let mut pids: Vec<u32> = match self.owner {
            Owner::Cgsandbox => self
                .hierarchies
                .iter()
                .flat_map(|h| processes(&self.session_in(h, uid, leaf)))
                .collect(),
            Owner::Systemd => self
                .hierarchies
                .first()
                .map(|h| processes_below(&self.session_in(h, uid, leaf)))
                .unwrap_or_default(),
        };
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Whether a session has processes besides those `spared`; asks the tracking hierarchy
    /// alone.
    pub fn has_members(&self, uid: u32, leaf: &str, spared: &[u32]) -> bool {
        let Some(tracking) = self.hierarchies.first() else { return false };
        let directory = self.session_in(tracking, uid, leaf);
        let members = match self.owner {
            Owner::Cgsandbox => processes(&directory),
            Owner::Systemd => processes_below(&directory),
        };
        members.iter().any(|pid| !spared.contains(pid))
    }

    /// Waits at most `patience` for a session to have no processes besides those `spared`; how many
    /// it has.
    pub fn wait_for_end(&self, uid: u32, leaf: &str, spared: &[u32], patience: Duration) -> usize {
        let end = Instant::now() + patience;
        loop {
            let members = self.members(uid, leaf);
            let left = members.iter().filter(|pid| !spared.contains(pid)).count();
            if left == 0 || Instant::now() >= end {
                return left;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The sessions that have a cgroup of ours. systemd's have names of their own.
    pub fn sessions(&self, uid: u32) -> Vec<String> {
        match self.owner {
            Owner::Cgsandbox => self.children(SESSION, |hierarchy| self.user_in(hierarchy, uid)),
            Owner::Systemd => Vec::new(),
        }
    }

    /// The cgroups in a user's, of sessions and of whatever else is there.
    pub fn leaves(&self, uid: u32) -> Vec<String> {
        let mut names = self.children("", |hierarchy| self.user_in(hierarchy, uid));
        names.retain(|name| self.has_session(uid, name));
        names
    }

    /// The scopes in a user's slice.
    pub fn scopes(&self, uid: u32) -> Vec<String> {
        let mut names = self.children("", |hierarchy| self.user_in(hierarchy, uid));
        names.retain(|name| name.ends_with(".scope"));
        names
    }

    /// The leaf of ours for a session.
    pub fn leaf_for(session: &str) -> String {
        format!("{SESSION}{session}")
    }

    /// Whether a session has a cgroup.
    pub fn has_session(&self, uid: u32, leaf: &str) -> bool {
        self.hierarchies.first().is_some_and(|h| self.session_in(h, uid, leaf).is_dir())
    }

    /// Whether the user has a cgroup.
    pub fn has_user(&self, uid: u32) -> bool {
        self.hierarchies.first().is_some_and(|h| self.user_in(h, uid).is_dir())
    }

    /// Whether the user has processes besides those `spared`.
    pub fn has_user_processes(&self, uid: u32, spared: &[u32]) -> bool {
        self.user_members(uid).iter().any(|pid| !spared.contains(pid))
    }

    /// The processes of a user, by the tracking hierarchy.
    pub fn user_members(&self, uid: u32) -> Vec<u32> {
        let tracking = self.hierarchies.first();
        tracking.map(|h| processes_below(&self.user_in(h, uid))).unwrap_or_default()
    }

    /// The users that have a cgroup of ours.
    pub fn users(&self) -> Vec<u32> {
        if self.owner == Owner::Systemd {
            // They have one whether they are confined or not.
            return Vec::new();
        }
        let names = self.children("user-", |hierarchy| self.root_in(hierarchy));
        names.iter().filter_map(|uid| uid.parse().ok()).collect()
    }

    /// Ends every process of a session but those `spared`, however fast it forks.
    ///
    /// Only systemd's cgroups have processes to spare: sshd's own stays in its scope.
    pub fn kill_session(&self, uid: u32, leaf: &str, spared: &[u32]) {
        let Some(tracking) = self.hierarchies.first() else { return };
        if self.owner == Owner::Systemd {
            return self.kill_all_but(uid, leaf, spared);
        }
        let directory = self.session_in(tracking, uid, leaf);
        // Linux 5.14. Before that freezing stops forks, and SIGKILL ends the frozen (v2).
        if file::write(&directory.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        let _ = file::write(&directory.join("cgroup.freeze"), "1");
        // v1 has neither: without the right to fork the members can only become fewer.
        for hierarchy in self.hierarchies.iter().filter(|h| h.carries(Controller::Pids)) {
            let _ = file::write(&self.session_in(hierarchy, uid, leaf).join("pids.max"), "0");
        }
        self.members(uid, leaf).into_iter().for_each(kill);
        let _ = file::write(&directory.join("cgroup.freeze"), "0");
    }

    /// Nothing of systemd's may be written, so what forks meanwhile is killed in the next round.
    fn kill_all_but(&self, uid: u32, leaf: &str, spared: &[u32]) {
        let end = Instant::now() + KILL_BUDGET;
        loop {
            let mut members = self.members(uid, leaf);
            members.retain(|pid| !spared.contains(pid));
            if members.is_empty() || Instant::now() >= end {
                return;
            }
            members.into_iter().for_each(kill);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the session's cgroups once nothing is in them; whether they are gone.
    ///
    /// A process that is past its end still counts for a moment, so for `patience` this
    /// tries again.
    pub fn remove_session(&self, uid: u32, leaf: &str, patience: Duration) -> Result<bool> {
        let end = Instant::now() + patience;
        loop {
            let gone = self.remove_in_all(|hierarchy| self.session_in(hierarchy, uid, leaf))?;
            if gone || Instant::now() >= end {
                return Ok(gone);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the user's cgroups; whether they are gone. Nothing below them is touched.
    pub fn remove_user(&self, uid: u32) -> Result<bool> {
        self.remove_in_all(|hierarchy| self.user_in(hierarchy, uid))
    }

    /// Removes a directory in all hierarchies, in the tracking one only once the others are gone:
    /// who clears up later finds by it that there is something.
    fn remove_in_all(&self, directory: impl Fn(&Hierarchy) -> PathBuf) -> Result<bool> {
        let Some((tracking, others)) = self.ours().split_first() else { return Ok(true) };
        let mut gone = true;
        for hierarchy in others.iter().rev() {
            gone &= remove_directory(&directory(hierarchy))?;
        }
        Ok(gone && remove_directory(&directory(tracking))?)
    }

    /// Removes the directory above all users' where no user is left, as far as it is of those
    /// `made` by us: an administrator's own has settings that would not come back with it.
    pub fn remove_root(&self, made: &[PathBuf]) -> Result<()> {
        for hierarchy in self.ours() {
            let mut directory = self.root_in(hierarchy);
            while made.contains(&directory) && remove_directory(&directory)? {
                directory.pop();
            }
        }
        Ok(())
    }

    /// The tracking hierarchy tells: its directories are made first and removed last.
    fn children(&self, prefix: &str, parent: impl Fn(&Hierarchy) -> PathBuf) -> Vec<String> {
        let entries = self.hierarchies.first().map(|h| std::fs::read_dir(parent(h)));
        let Some(Ok(entries)) = entries else { return Vec::new() };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix(prefix)?.to_owned()))
            .collect();
        names.sort_unstable();
        names
    }
}
