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
        let command = text("cmdline")?.replace('\0', " ").trim().to_owned();
        let cgroups = text("cgroup")?;
        // A zombie has none.
        let mounts = std::fs::read_link(proc.join("ns/mnt")).ok()?.to_string_lossy().into_owned();
        // Last: what is past its end gives up its memory first, and then its cgroups one by one.
        // An empty command line does not tell: within execve(2) a process has none either.
        let status = text("status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next().map(str::to_owned)
        };
        field("VmSize:")?;
        Some(Process {
            pid,
            parent: field("PPid:")?.parse().ok()?,
            uid: field("Uid:")?.parse().ok()?,
            command,
            cgroups,
            mounts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_calls_execve_all_the_time_is_there_all_the_time() {
        let script = std::env::temp_dir().join(format!("cgsandbox-execs-{}", std::process::id()));
        std::fs::write(&script, "exec sh \"$0\"\n").expect("can't write a script");
        let mut child =
            std::process::Command::new("sh").arg(&script).spawn().expect("can't start sh");
        let pid = child.id().cast_signed();
        let gone = (0..20_000).filter(|_| Process::read(pid).is_none()).count();
        child.kill().expect("can't end sh");
        child.wait().expect("can't wait for sh");
        std::fs::remove_file(&script).expect("can't remove the script");
        assert_eq!((gone, Process::read(pid)), (0, None));
    }
}
