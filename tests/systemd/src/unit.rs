//! What systemd and logind say.

use cgsandbox_rig::eventually;

use crate::command;
use crate::machine::Machine;

impl Machine {
    /// A property of a unit as `systemctl show` prints it.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        command::run(&["systemctl", "show", "--value", "-p", name, unit], 30.0).ok().to_owned()
    }

    /// A service's main process; 0 if it has none.
    #[track_caller]
    pub fn main_pid(&self, unit: &str) -> i32 {
        self.property(unit, "MainPID").parse().unwrap_or_default()
    }

    /// Whether a unit is active.
    #[track_caller]
    pub fn is_active(&self, unit: &str) -> bool {
        self.property(unit, "ActiveState") == "active"
    }

    /// The ids of logind's sessions of `user`, the user manager's own left out.
    #[track_caller]
    pub fn logind_sessions(&self, user: &str) -> Vec<String> {
        let all = command::sh("loginctl list-sessions --no-legend --no-pager");
        let sessions = all.lines().filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let managers = words.iter().any(|word| word.starts_with("manager"));
            (words.get(2) == Some(&user) && !managers).then(|| words[0].to_owned())
        });
        sessions.collect()
    }

    /// The files of ours and of others that change `user`'s slice at run time.
    pub fn runtime_drop_ins(&self, user: &str) -> Vec<String> {
        let directory = format!("/run/systemd/system.control/{}.d", self.slice(user));
        let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Waits until a unit is active or, with `active` false, no longer there.
    #[track_caller]
    pub fn wait_until(&self, unit: &str, active: bool) {
        eventually(&format!("{unit} active: {active}"), 8.0, || self.is_active(unit) == active);
    }

    /// Waits until `user`'s manager is gone, and with it the slice. logind stops it ten
    /// seconds after the last session.
    #[track_caller]
    pub fn wait_until_gone(&self, user: &str) {
        self.wait_until(&self.slice(user), false);
    }
}
