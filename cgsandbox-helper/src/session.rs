//! The record of a login: what it takes to show it, to account for it and to take it back.
//!
//! It is written before anything is changed and removed after everything is undone, so
//! whatever a crash leaves behind has a record that says how to finish.

use std::path::PathBuf;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::account::Counters;
use crate::audit::{Event, Level};
use crate::cgroup::Owner;
use crate::error::{Error, Result};
use crate::kernel_file;
use crate::limits::Previous;
use crate::namespace::Volume;
use crate::state::{State, list, make_directory, names_in, remove_abandoned};

/// A process, told apart from later ones of the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its pid.
    pub pid: u32,
    /// When it started, in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start: u64,
}

impl Leader {
    /// The process that has this pid now.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let stat = kernel_file::read(&path)?;
        // The second field is the command in parentheses, which may hold anything.
        let start = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(19))
            .and_then(|field| field.parse().ok())
            .ok_or_else(|| Error::new("understand", &path, "no start time in it"))?;
        Ok(Leader { pid, start })
    }

    /// Whether it still runs. Where the kernel does not tell, it does: what is taken for dead loses
    /// its session.
    pub fn is_alive(&self) -> bool {
        match Leader::of(self.pid) {
            Ok(now) => now == *self,
            Err(error) => {
                !error.is_no_process() && error.errno != Some(Errno::NOENT.raw_os_error())
            }
        }
    }

    /// When it started, in seconds since the epoch.
    pub fn since(&self) -> u64 {
        let stat = kernel_file::read("/proc/stat").unwrap_or_default();
        let boot =
            stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
        boot.unwrap_or_default() + self.start / rustix::param::clock_ticks_per_second()
    }

    /// From the name of a session.
    pub fn of_session(id: &str) -> Option<Self> {
        let mut parts = id.split('-');
        Some(Leader { pid: parts.next()?.parse().ok()?, start: parts.next()?.parse().ok()? })
    }
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Its sandbox is being built, or was when the builder died.
    Opening,
    /// Somebody is logged in.
    Open,
    /// Nobody is any more; processes may be left.
    Closed,
}

/// One login of a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// How far it has come.
    pub stage: Stage,
    /// Leader's pid and start time, and a number where one process opened several.
    pub id: String,
    /// Whose.
    pub uid: u32,
    /// The name that the user logged in by.
    pub user: String,
    /// The PAM service.
    pub service: String,
    /// The remote host as PAM has it; empty when it has none.
    pub rhost: String,
    /// The terminal as PAM has it; empty when it has none.
    pub tty: String,
    /// The `config=` of the PAM line; empty where it has none.
    #[serde(default)]
    pub config: String,
    /// The profile that applied.
    pub profile: String,
    /// The process that opened the session.
    pub leader: Leader,
    /// The leader's name when it opened (proc_pid_comm(5)); its forks have the same.
    #[serde(default)]
    pub command: String,
    /// The module's name for the open.
    pub ticket: u64,
    /// When, in seconds since the epoch.
    pub since: u64,
    /// When, in milliseconds since boot.
    pub since_boot_ms: u64,
    /// Whose cgroups these are.
    #[serde(default)]
    pub owner: Owner,
    /// Below which cgroup the user's is.
    pub cgroup_root: String,
    /// The session's own, in the user's.
    pub leaf: String,
    /// The leader's cgroups before, in the words of `/proc/PID/cgroup`.
    pub origin: String,
    /// What the leader had before that cgroups do not keep.
    pub previous: Previous,
    /// Whether processes that are left at logout are ended.
    pub kill_at_logout: bool,
    /// The user's counters at the start.
    pub counters: Counters,
    /// The user's volumes that were mounted when it began.
    #[serde(default)]
    pub volumes: Vec<Volume>,
}

impl Session {
    fn directory(state: &State, uid: u32) -> PathBuf {
        state.user(uid).join("session")
    }

    fn path(state: &State, uid: u32, id: &str) -> PathBuf {
        Self::directory(state, uid).join(id)
    }

    /// A name for a new session of `leader` that no other has.
    pub fn new_id(state: &State, uid: u32, leader: Leader) -> String {
        let taken = names_in(&Self::directory(state, uid));
        let first = format!("{}-{}", leader.pid, leader.start);
        let further = (2..).map(|n| format!("{first}-{n}"));
        std::iter::once(first.clone())
            .chain(further)
            .find(|id| !taken.contains(id))
            .unwrap_or(first)
    }

    /// What the lines of its beginning and its end have in common.
    pub fn describe(&self, event: Event) -> Event {
        event
            .with("user", &self.user)
            .with("uid", self.uid)
            .with("service", &self.service)
            .with("rhost", &self.rhost)
            .with("tty", &self.tty)
            .with("session", &self.id)
            .with("profile", &self.profile)
    }

    /// The line of its end, with what it used.
    pub fn closed(&self, used: Counters) -> Event {
        let event = self.describe(Event::new(Level::Info, "session_close"));
        let event = event.with("duration", self.duration());
        used.iter().fold(event, |event, (key, value)| event.with(key, value))
    }

    /// How long it has lasted, in seconds.
    pub fn duration(&self) -> String {
        let duration = boot_ms().saturating_sub(self.since_boot_ms);
        format!("{}.{:03}", duration / 1000, duration % 1000)
    }

    /// Writes the record of a new session.
    pub fn keep(&self, state: &State) -> Result<()> {
        make_directory(&state.user(self.uid))?;
        make_directory(&Self::directory(state, self.uid))?;
        self.update(state)
    }

    /// Writes the record of a session that has one.
    pub fn update(&self, state: &State) -> Result<()> {
        let path = Self::path(state, self.uid, &self.id);
        let text =
            serde_json::to_vec(self).map_err(|cause| Error::new("write", path.display(), cause))?;
        state.write(&path, &text)
    }

    /// The record of one session; none where there is none, or none that can be read.
    pub fn read(state: &State, uid: u32, id: &str) -> Option<Self> {
        Self::load(state, uid, id).ok().flatten()
    }

    /// The record of one session; none where there is none, or what is there is no record.
    pub fn load(state: &State, uid: u32, id: &str) -> Result<Option<Self>> {
        if id.is_empty() || id.contains(['/', '.']) {
            return Ok(None);
        }
        let path = Self::path(state, uid, id);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(Error::os("read", path.display()))?,
        };
        Ok(serde_json::from_slice(&text).ok().filter(|session: &Session| session.id == id))
    }

    /// The names of a user's sessions that have a record, readable or not.
    pub fn ids(state: &State, uid: u32) -> Vec<String> {
        Self::list(state, uid).unwrap_or_default()
    }

    /// The same, for who acts on there being none.
    pub fn list(state: &State, uid: u32) -> Result<Vec<String>> {
        // A name with a dot is a record that was being written when its writer died.
        let mut ids = list(&Self::directory(state, uid))?;
        ids.retain(|id| !id.contains('.'));
        Ok(ids)
    }

    /// The session of a user that `leader` opened with this ticket.
    pub fn opened_by(state: &State, uid: u32, leader: Leader, ticket: u64) -> Result<Option<Self>> {
        for id in Self::list(state, uid)? {
            if Leader::of_session(&id) == Some(leader)
                && let Some(session) = Self::load(state, uid, &id)?
                && (session.leader, session.ticket) == (leader, ticket)
            {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// Removes records that were being written when their writer died.
    pub fn forget_unfinished(state: &State, uid: u32) {
        remove_abandoned(&Self::directory(state, uid));
    }

    /// Removes the record of a session.
    pub fn forget(state: &State, uid: u32, id: &str) -> Result<()> {
        let path = Self::path(state, uid, id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::os("remove", path.display())(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what is left of a user's state once no session is in it; whether it is gone.
    pub fn forget_user(state: &State, uid: u32) -> Result<bool> {
        let directory = Self::directory(state, uid);
        for unfinished in names_in(&directory).iter().filter(|name| name.contains('.')) {
            let _ = std::fs::remove_file(directory.join(unfinished));
        }
        let _ = std::fs::remove_dir(&directory);
        let user = state.user(uid);
        // The note on the namespace, finished or not.
        for note in names_in(&user).iter().filter(|name| name.starts_with("hidepid")) {
            let _ = std::fs::remove_file(user.join(note));
        }
        match std::fs::remove_dir(&user) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(error) => Err(Error::os("remove", user.display())(error)),
        }
    }
}

/// The name of a process (proc_pid_comm(5)), which only the process itself can change; empty when it
/// is gone.
pub fn command_of(pid: u32) -> String {
    let name = kernel_file::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end_matches('\n').to_owned()
}

/// The PAM service of systemd's user manager (user@.service(5)).
pub const USER_MANAGER: &str = "systemd-user";

/// Milliseconds since boot, suspend included (clock_gettime(2), `CLOCK_BOOTTIME`).
pub fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or_default()
}
