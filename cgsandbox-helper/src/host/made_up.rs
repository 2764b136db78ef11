//! Hosts that nobody has, for tests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Disk, Host, OPTIONAL_FILES};
use crate::cgroup::{Controller, Hierarchy, Owner, Tree, Version};
use crate::error::Error;
use crate::loopback;
use crate::policy::Profile;

/// What a host offers, as it is found out.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    /// Whose cgroups they are.
    pub owner: Owner,
    /// The controllers of a v2 hierarchy; without it those of [`Offer::legacy`] alone.
    pub unified: Option<Vec<Controller>>,
    /// Those that have a v1 hierarchy each.
    pub legacy: Vec<Controller>,
    /// Whether a user can have a procfs of its own.
    pub procfs: bool,
    /// Whether all paths are on a disk.
    pub disks: bool,
    /// What only making the cgroup above all users' shows.
    pub made: Made,
}

/// What making the cgroup above all users' shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Made {
    /// The controllers that the kernel does not hand down.
    pub refused: Vec<Controller>,
    /// Which of the files that a controller may come without are not there, by their place.
    pub absent: Vec<usize>,
    /// Whether it cannot be made.
    pub is_for_show: bool,
}

impl Offer {
    /// All that there is a directive for, with cgroup v2.
    pub(crate) fn of_everything() -> Self {
        Offer {
            owner: Owner::Cgsandbox,
            unified: Some(Controller::ALL.to_vec()),
            legacy: Vec::new(),
            procfs: true,
            disks: true,
            made: Made::default(),
        }
    }

    /// The host as looking shows it.
    pub(crate) fn looked_at(&self, root: &str) -> Host {
        let hierarchy = |mount: &str, version, controllers: &[Controller]| Hierarchy {
            mount: PathBuf::from(format!("/sys/fs/cgroup/{mount}")),
            root: "/".to_owned(),
            version,
            controllers: controllers.iter().map(|it| it.name(version).to_owned()).collect(),
        };
        let unified = self.unified.iter().map(|all| hierarchy("", Version::Unified, all));
        let legacy = self.legacy.iter().map(|one| {
            hierarchy(one.name(Version::Legacy), Version::Legacy, std::slice::from_ref(one))
        });
        let hierarchies: Vec<Hierarchy> = unified.chain(legacy).collect();
        let tree = Tree::of(&hierarchies, self.owner, root);
        let none = tree.hierarchies().is_empty();
        Host {
            no_loopback: loopback::lack(&tree),
            tree,
            mountinfo: String::new(),
            memory_bytes: 8 << 30,
            no_procfs: (!self.procfs).then(|| Error::new("ask for", "a procfs", "too old")),
            no_cgroups: none.then(|| "no cgroup hierarchy is mounted".to_owned()),
            absent_files: Vec::new(),
            refused: BTreeMap::new(),
            disks: BTreeMap::new(),
        }
    }

    /// Adds what making the cgroups shows, or foreseeing what that would show.
    pub(crate) fn make(&self, host: &mut Host) {
        if self.made.is_for_show {
            return host.give_up_cgroups(&Error::new("create cgroup", "/sys", "read-only"));
        }
        let why = |it: &Controller| (*it, "it has processes of its own".to_owned());
        host.refused = self.made.refused.iter().map(why).collect();
        let file = |at: &usize| OPTIONAL_FILES.get(*at).map(|(_, _, file)| *file);
        host.absent_files = self.made.absent.iter().filter_map(file).collect();
    }

    /// Finds the disks that `profile` limits.
    pub(crate) fn find_disks(&self, host: &mut Host, profile: &Profile) {
        // No path of a test is there.
        host.look_for_disks(profile);
        if self.disks {
            host.disks.values_mut().for_each(|disk| *disk = Ok(Disk { major: 8, minor: 0 }));
        }
    }
}
