//! Which cgroups a process is in, as the kernel tells it.

use super::hierarchy::Hierarchy;
use crate::error::Result;
use crate::kernel_file;

/// The content of `/proc/PID/cgroup` (cgroups(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership(Vec<(String, String)>);

impl Membership {
    /// Of the process `pid`, now.
    pub fn of(pid: u32) -> Result<Self> {
        kernel_file::read(format!("/proc/{pid}/cgroup")).map(|text| Self::parse(&text))
    }

    /// From the text of such a file; lines that are none are passed over.
    pub fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
        };
        // Not by lines(), which takes a carriage return at the end of a user's cgroup for none of it.
        Membership(text.split('\n').filter_map(line).collect())
    }

    /// The text that [`Membership::parse`] reads.
    pub fn to_text(&self) -> String {
        self.0.iter().map(|(field, path)| format!("0:{field}:{path}\n")).collect()
    }

    /// The path above the directory `name`, where one of the process's cgroups is below such.
    pub fn root_above(&self, name: &str) -> Option<String> {
        let above = |path: &str| {
            let components: Vec<&str> = path.split('/').collect();
            let at = components.iter().position(|component| *component == name)?;
            Some(components[..at].join("/"))
        };
        self.0.iter().find_map(|(_, path)| above(path))
    }

    /// The process's cgroup in `hierarchy`.
    pub fn path_in(&self, hierarchy: &Hierarchy) -> Option<&str> {
        let named = |entry: &&(String, String)| hierarchy.is_named(&entry.0);
        self.0.iter().find(named).map(|(_, path)| path.as_str())
    }
}
