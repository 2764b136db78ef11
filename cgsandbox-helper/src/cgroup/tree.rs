//! Making, entering, emptying and removing the cgroups of users and their sessions.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::file;
use super::hierarchy::{Controller, Hierarchy, Version};
use super::membership::Membership;
use crate::error::{Error, Result};

/// The hierarchies in use on this host and the cgroup below which all of ours are.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The first one tracks: it says which processes belong to a session.
    hierarchies: Vec<Hierarchy>,
    /// `cgroup_root` of the configuration, without slashes at its ends.
    root: String,
}

impl Tree {
    /// Over those of `hierarchies` that serve a purpose here.
    ///
    /// v2 comes first, for it can tell a cgroup's end from its emptiness and kill it whole.
    pub fn new(hierarchies: &[Hierarchy], root: &str) -> Self {
        let serves = |h: &&Hierarchy| {
            h.version == Version::Unified || Controller::ALL.iter().any(|c| h.carries(*c))
        };
        let mut hierarchies: Vec<Hierarchy> = hierarchies.iter().filter(serves).cloned().collect();
        hierarchies.sort_by_key(|h| h.version != Version::Unified);
        Tree { hierarchies, root: root.trim_matches('/').to_owned() }
    }

    /// All hierarchies in use, the tracking one first.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
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

    /// The directory of a user's cgroup.
    pub fn user_in(&self, hierarchy: &Hierarchy, uid: u32) -> PathBuf {
        self.root_in(hierarchy).join(format!("user-{uid}"))
    }

    /// The directory of a session's cgroup.
    pub fn session_in(&self, hierarchy: &Hierarchy, uid: u32, session: &str) -> PathBuf {
        self.user_in(hierarchy, uid).join(format!("session-{session}"))
    }

    /// Makes the directory above all users', with the controllers that they need.
    ///
    /// Returns the controllers that the kernel would not hand down, with its reason.
    pub fn prepare(&self) -> Result<Vec<(Controller, Error)>> {
        let mut refused = Vec::new();
        for hierarchy in &self.hierarchies {
            let mut directory = hierarchy.mount.clone();
            refused.extend(hand_down(hierarchy, &directory));
            for component in Path::new(&self.root).components() {
                directory.push(component);
                // 0700: what a user's cgroup holds is nobody else's business.
                make_directory(&directory, 0o700)?;
                inherit_cpuset(hierarchy, &directory)?;
                refused.extend(hand_down(hierarchy, &directory));
            }
        }
        Ok(refused)
    }

    /// Makes the user's cgroup where it is not there yet; in which hierarchies it was made.
    ///
    /// v1's cpuset is left out unless `cpuset`: an own one there costs each login time.
    pub fn make_user(&self, uid: u32, cpuset: bool) -> Result<Vec<PathBuf>> {
        let mut made = Vec::new();
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
        }
        Ok(made)
    }

    /// The same tree, of those hierarchies only in which the user has a cgroup.
    pub fn of_user(&self, uid: u32) -> Self {
        let has = |h: &&Hierarchy| self.user_in(h, uid).is_dir();
        let hierarchies = self.hierarchies.iter().filter(has).cloned().collect();
        Tree { hierarchies, root: self.root.clone() }
    }

    /// Makes a session's cgroup, the tracking hierarchy's first.
    pub fn make_session(&self, uid: u32, session: &str) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let directory = self.session_in(hierarchy, uid, session);
            make_directory(&directory, 0o755)?;
            inherit_cpuset(hierarchy, &directory)?;
        }
        Ok(())
    }

    /// Moves `pid` into the session's cgroups and reads back that it is there.
    ///
    /// A module of this field is known to have logged success and moved nobody.
    pub fn enter(&self, uid: u32, session: &str, pid: u32) -> Result<()> {
        for hierarchy in &self.hierarchies {
            move_process(pid, &self.session_in(hierarchy, uid, session))?;
        }
        let now = Membership::of(pid)?;
        for hierarchy in &self.hierarchies {
            let wanted = hierarchy.path(&format!("{}/user-{uid}/session-{session}", self.root));
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
        self.hierarchies.iter().filter_map(way).collect()
    }

    /// The directory of `origin`, or the top where that is gone.
    fn origin_in(&self, hierarchy: &Hierarchy, origin: &Membership) -> PathBuf {
        let directory = origin.path_in(hierarchy).and_then(|path| hierarchy.directory(path));
        directory.filter(|directory| directory.is_dir()).unwrap_or_else(|| hierarchy.mount.clone())
    }

    /// Moves `pid` out of the session's cgroups, back to `origin` where that still is.
    pub fn leave(&self, uid: u32, session: &str, pid: u32, origin: &Membership) -> Result<()> {
        let now = Membership::of(pid)?;
        for hierarchy in &self.hierarchies {
            let ours = self.session_in(hierarchy, uid, session);
            let directory = now.path_in(hierarchy).and_then(|path| hierarchy.directory(path));
            if directory.as_deref() != Some(&ours) {
                continue;
            }
            move_process(pid, &self.origin_in(hierarchy, origin))?;
        }
        Ok(())
    }

    /// The processes of a session.
    pub fn members(&self, uid: u32, session: &str) -> Vec<u32> {
        let mut pids: Vec<u32> = self
            .hierarchies
            .iter()
            .flat_map(|h| processes(&self.session_in(h, uid, session)))
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Whether a session has processes; asks the tracking hierarchy alone.
    pub fn has_members(&self, uid: u32, session: &str) -> bool {
        let tracking = self.hierarchies.first();
        tracking.is_some_and(|h| !processes(&self.session_in(h, uid, session)).is_empty())
    }

    /// The sessions that have a cgroup.
    pub fn sessions(&self, uid: u32) -> Vec<String> {
        self.children("session-", |hierarchy| self.user_in(hierarchy, uid))
    }

    /// Whether the user has a cgroup.
    pub fn has_user(&self, uid: u32) -> bool {
        self.hierarchies.first().is_some_and(|h| self.user_in(h, uid).is_dir())
    }

    /// The users that have a cgroup.
    pub fn users(&self) -> Vec<u32> {
        let names = self.children("user-", |hierarchy| self.root_in(hierarchy));
        names.iter().filter_map(|uid| uid.parse().ok()).collect()
    }

    /// Ends every process of a session, however fast it forks.
    pub fn kill_session(&self, uid: u32, session: &str) {
        let Some(tracking) = self.hierarchies.first() else { return };
        let directory = self.session_in(tracking, uid, session);
        // Linux 5.14. Before that freezing stops forks, and SIGKILL ends the frozen (v2).
        if file::write(&directory.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        let _ = file::write(&directory.join("cgroup.freeze"), "1");
        // v1 has neither: without the right to fork the members can only become fewer.
        for hierarchy in self.hierarchies.iter().filter(|h| h.carries(Controller::Pids)) {
            let _ = file::write(&self.session_in(hierarchy, uid, session).join("pids.max"), "0");
        }
        for pid in self.members(uid, session) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = file::write(&directory.join("cgroup.freeze"), "0");
    }

    /// Removes the session's cgroups once nothing is in them; whether they are gone.
    ///
    /// A process that is past its end still counts for a moment, so for `patience` this
    /// tries again.
    pub fn remove_session(&self, uid: u32, session: &str, patience: Duration) -> Result<bool> {
        let end = Instant::now() + patience;
        loop {
            let mut busy = false;
            for hierarchy in self.hierarchies.iter().rev() {
                busy |= !remove_directory(&self.session_in(hierarchy, uid, session))?;
            }
            if !busy || Instant::now() >= end {
                return Ok(!busy);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Removes the user's cgroups; whether they are gone. Nothing below them is touched.
    pub fn remove_user(&self, uid: u32) -> Result<bool> {
        let mut gone = true;
        for hierarchy in self.hierarchies.iter().rev() {
            gone &= remove_directory(&self.user_in(hierarchy, uid))?;
        }
        Ok(gone)
    }

    /// Removes the directory above all users' where no user is left.
    pub fn remove_root(&self) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let mut directory = self.root_in(hierarchy);
            while directory != hierarchy.mount && remove_directory(&directory)? {
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

fn is_cpuset_alone(hierarchy: &Hierarchy) -> bool {
    hierarchy.version == Version::Legacy
        && Controller::ALL.iter().all(|c| hierarchy.carries(*c) == (*c == Controller::Cpuset))
}

/// Whether it had to be made.
fn make_directory(path: &Path, mode: u32) -> Result<bool> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::os("create cgroup", path.display())(error)),
    }
}

/// Whether it is gone; not when it is in use.
fn remove_directory(path: &Path) -> Result<bool> {
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        // Asked of a read-only cgroupfs first, whether there is anything to remove or not.
        Err(Errno::ROFS) if !path.exists() => Ok(true),
        Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(false),
        Err(error) => Err(Error::os("remove cgroup", path.display())(error)),
    }
}

/// Gives v1's cpuset its parent's CPUs and memory nodes: without them it takes no process.
fn inherit_cpuset(hierarchy: &Hierarchy, directory: &Path) -> Result<()> {
    if hierarchy.version == Version::Unified || !hierarchy.carries(Controller::Cpuset) {
        return Ok(());
    }
    let Some(parent) = directory.parent() else { return Ok(()) };
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(name);
        if file::read(&own).is_some_and(|value| value.is_empty()) {
            let above = file::read(&parent.join(name)).unwrap_or_default();
            file::write(&own, &above)?;
        }
    }
    Ok(())
}

/// Enables for the children of a v2 cgroup what it has and they lack, one by one: what
/// others enabled there stays, and one refusal does not cost the rest.
fn hand_down(hierarchy: &Hierarchy, directory: &Path) -> Vec<(Controller, Error)> {
    if hierarchy.version == Version::Legacy {
        return Vec::new();
    }
    // Without controllers on v2, as on most hybrid hosts, there is nothing to look up.
    if !Controller::ALL.iter().any(|controller| hierarchy.carries(*controller)) {
        return Vec::new();
    }
    let has = file::read(&directory.join("cgroup.controllers")).unwrap_or_default();
    let control = directory.join("cgroup.subtree_control");
    let enabled = file::read(&control).unwrap_or_default();
    let within = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
    let lacking: Vec<(Controller, &str)> = Controller::ALL
        .into_iter()
        .map(|controller| (controller, controller.name(Version::Unified)))
        .filter(|(_, name)| within(&has, name) && !within(&enabled, name))
        .collect();
    let barred = !lacking.is_empty() && is_inner_with_processes(directory);
    let enable = |name: &str| match barred {
        true => Err(Error::os(format!("write \"+{name}\" to"), control.display())(Errno::BUSY)),
        false => file::write(&control, &format!("+{name}")),
    };
    lacking.into_iter().filter_map(|(c, name)| enable(name).err().map(|error| (c, error))).collect()
}

/// Whether controllers must not be handed down from here, because the cgroup has processes
/// and is not the root of all, which alone has no `cgroup.type`.
///
/// The kernel would refuse memory and io, but hand down cpu, cpuset and pids for threads:
/// the cgroups below could then take no process at all (`cgroup-v2.rst`, "domain invalid").
fn is_inner_with_processes(directory: &Path) -> bool {
    directory.join("cgroup.type").exists() && !processes(directory).is_empty()
}

fn move_process(pid: u32, directory: &Path) -> Result<()> {
    file::write(&directory.join("cgroup.procs"), &pid.to_string())
}

fn processes(directory: &Path) -> Vec<u32> {
    let text = file::read(&directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
