//! The host's processes, as its root sees them.

use std::path::Path;

/// One process, at the moment it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its pid inside the host.
    pub pid: i32,
    /// Its parent's; 0 for what the test started.
    pub parent: i32,
    /// Its real uid.
    pub uid: u32,
    /// Its arguments, joined by blanks.
    pub command: String,
    /// Its `/proc/PID/cgroup`.
    pub cgroups: String,
    /// Its mount namespace.
    pub mounts: String,
}

impl Process {
    /// Every process of the calling thread's `/proc`. Those that vanish meanwhile are left out.
    pub fn all() -> Vec<Process> {
        std::fs::read_dir("/proc")
            .expect("no /proc")
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(Process::read)
            .collect()
    }

    /// The one with this pid.
    pub fn read(pid: i32) -> Option<Process> {
        let proc = Path::new("/proc").join(pid.to_string());
        let text = |name: &str| {
            std::fs::read(proc.join(name)).map(|it| String::from_utf8_lossy(&it).into_owned()).ok()
        };
        let status = text("status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next().map(str::to_owned)
        };
        // What is past its end has given up its memory, then its cgroups one by one: it is gone.
        let command = text("cmdline")?.replace('\0', " ").trim().to_owned();
        if command.is_empty() {
            return None;
        }
        Some(Process {
            pid,
            parent: field("PPid:")?.parse().ok()?,
            uid: field("Uid:")?.parse().ok()?,
            command,
            cgroups: text("cgroup")?,
            // A zombie has none.
            mounts: std::fs::read_link(proc.join("ns/mnt")).ok()?.to_string_lossy().into_owned(),
        })
    }
}
