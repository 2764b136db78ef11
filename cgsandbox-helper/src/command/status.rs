//! `cgsandbox status`: who is in which sandbox, and how near to its limits.

use serde_json::json;
use time::{OffsetDateTime, UtcOffset, macros::format_description};

use super::terminal::{self, Table};
use super::{Outcome, cgroup_root, uid_of};
use crate::error::{Error, Result};
use crate::namespace;
use crate::session::USER_MANAGER;
use crate::state::State;
use crate::status::{self, SessionStatus, UserStatus};

pub(super) fn run(user: Option<&str>, as_json: bool) -> Outcome {
    match look(user) {
        Ok(users) => {
            match (as_json, user, users.as_slice()) {
                (true, ..) => terminal::say(&format!("{:#}\n", json!({ "users": users }))),
                (false, None, []) => terminal::say("nobody is in a sandbox\n"),
                (false, Some(name), [one]) if one.is_unknown() => {
                    terminal::say(&format!("{name} is in no sandbox\n"));
                }
                (false, None, several) if nix::unistd::geteuid().is_root() => overview(several),
                (false, _, some) => some.iter().for_each(details),
            }
            Outcome::Well
        }
        Err(error) => {
            terminal::complain(&format!("cgsandbox status: {error}\n"));
            Outcome::NotDone
        }
    }
}

fn look(user: Option<&str>) -> Result<Vec<UserStatus>> {
    let state = State::of_host();
    let own_uid = nix::unistd::geteuid();
    let asked = user.map(uid_of).transpose()?;
    if own_uid.is_root() && namespace::is_inside(&state) {
        let cause = "this is the inside of a sandbox; log in as root or as an exempt user";
        return Err(Error::new("look at", "all sandboxes", cause));
    }
    if own_uid.is_root() {
        let root = cgroup_root(&state);
        return match asked {
            Some(uid) => status::of_one(&state, &root, uid).map(|one| vec![one]),
            None => status::of_all(&state, &root),
        };
    }
    if asked.is_some_and(|uid| uid != own_uid.as_raw()) {
        return Err(Error::new("look at", "another user's sandbox", "only root may"));
    }
    status::of_oneself(&state).map(|own| vec![own])
}

impl UserStatus {
    fn is_unknown(&self) -> bool {
        self.sessions.is_empty() && self.used.is_empty()
    }

    fn processes(&self) -> usize {
        self.sessions.iter().map(|session| session.processes.len()).sum()
    }

    /// The processes without limits, as far as a line has room for them.
    fn outside(&self) -> String {
        const SHOWN: usize = 2;
        let pids: Vec<String> =
            self.outside.iter().take(SHOWN).map(|process| process.to_string()).collect();
        let more = match self.outside.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("outside {}{more}", pids.join(", "))
    }

    fn logins(&self) -> usize {
        self.sessions.iter().filter(|session| session.logged_in).count()
    }
}

fn overview(users: &[UserStatus]) {
    let mut table = Table::new(&["USER", "LOGINS", "PROCS", "MEMORY", "TASKS", "CPU TIME"]);
    for user in users {
        table.row([
            user.user.clone(),
            user.logins().to_string(),
            user.processes().to_string(),
            memory(user),
            tasks(user),
            cpu_time(user),
        ]);
        table.warn_if(user.is_near_a_limit());
    }
    terminal::say(&table.render());
    let outside = users.iter().filter(|user| !user.outside.is_empty());
    outside.for_each(|user| terminal::say(&format!("{}: {}\n", user.user, user.outside())));
}

fn details(user: &UserStatus) {
    let quota = user.limits.get("cpu_quota_percent");
    let quota = quota.map_or_else(String::new, |percent| format!(", at most {percent}% of a CPU"));
    let mut text = terminal::heading(&format!("{} (uid {})", user.user, user.uid));
    text += &format!("  memory  {}\n", memory(user));
    text += &format!("  tasks   {}\n", tasks(user));
    text += &format!("  CPU     {}{quota}\n", cpu_time(user));
    if let Some([v4, v6]) = user.addresses {
        text += &format!("  address {v4}, {v6}\n");
    }
    if !user.outside.is_empty() {
        text += &format!("  {}\n", user.outside());
    }
    text.push('\n');
    let mut table = Table::new(&["SESSION", "PID", "SINCE", "FROM", "PROFILE", "PROCS"]);
    for session in &user.sessions {
        table.row([
            session.id.clone(),
            session.pid.to_string(),
            since(session),
            session.from.clone().unwrap_or_else(|| "-".into()),
            session.profile.clone().unwrap_or_else(|| "-".into()),
            match (session.logged_in, session.service.as_deref()) {
                (true, _) => session.processes.len().to_string(),
                (false, Some(USER_MANAGER)) => {
                    format!("{} (user manager)", session.processes.len())
                }
                (false, _) => format!("{} (logged out)", session.processes.len()),
            },
        ]);
    }
    terminal::say(&(text + &table.render()));
}

impl UserStatus {
    /// Nine tenths of a limit: the next build or browser tab will meet it.
    fn is_near_a_limit(&self) -> bool {
        let near = |used: &str, limit: &str| {
            let pair = self.used.get(used).zip(self.limits.get(limit));
            pair.is_some_and(|(used, limit)| used.saturating_mul(10) >= limit.saturating_mul(9))
        };
        near("memory_bytes", "memory_max") || near("tasks", "tasks_max")
    }
}

fn memory(user: &UserStatus) -> String {
    against(user.used.get("memory_bytes"), user.limits.get("memory_max"), |bytes| {
        let units = ["", "K", "M", "G", "T"];
        let mut amount = bytes as f64;
        let mut unit = 0;
        while amount >= 1024.0 && unit + 1 < units.len() {
            amount /= 1024.0;
            unit += 1;
        }
        match amount.fract() < 0.05 || amount >= 100.0 {
            true => format!("{amount:.0}{}", units[unit]),
            false => format!("{amount:.1}{}", units[unit]),
        }
    })
}

fn tasks(user: &UserStatus) -> String {
    against(user.used.get("tasks"), user.limits.get("tasks_max"), |count| count.to_string())
}

fn cpu_time(user: &UserStatus) -> String {
    user.used.get("cpu_usec").map_or_else(
        || "-".to_owned(),
        |usec| {
            let seconds = usec / 1_000_000;
            match seconds {
                0..60 => format!("{seconds}.{:02} s", usec % 1_000_000 / 10_000),
                60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
                _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
            }
        },
    )
}

fn against(used: Option<&u64>, limit: Option<&u64>, show: impl Fn(u64) -> String) -> String {
    match (used, limit) {
        (Some(used), Some(limit)) => format!("{} of {}", show(*used), show(*limit)),
        (Some(used), None) => format!("{}, no limit", show(*used)),
        (None, Some(limit)) => format!("at most {}", show(*limit)),
        (None, None) => "-".to_owned(),
    }
}

fn since(session: &SessionStatus) -> String {
    let seconds = i64::try_from(session.since).unwrap_or_default();
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds) else { return "-".into() };
    let time = time.to_offset(UtcOffset::current_local_offset().unwrap_or(UtcOffset::UTC));
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]");
    time.format(&format).unwrap_or_else(|_| "-".into())
}
