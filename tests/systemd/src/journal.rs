//! What the machine's log says.

use std::time::Instant;

use cgsandbox_rig::patience;

use crate::command;
use crate::machine::Machine;

/// A time, as journalctl takes it. Not one of the journal's own cursors: after one, systemd 252
/// shows nothing once a user has got a journal file of its own.
#[derive(Debug, Clone)]
pub struct Moment(String);

impl Moment {
    /// After everything that has been logged so far.
    pub fn now() -> Self {
        Moment(command::sh("journalctl --quiet --sync; date +@%s.%6N"))
    }
}

impl Machine {
    /// The module's and helper's lines since the test began.
    pub fn log(&self) -> Vec<String> {
        self.journal("-t cgsandbox -t cgsandbox-helper")
    }

    /// The journal's lines since the test began, chosen by `matches` as journalctl takes them.
    pub fn journal(&self, matches: &str) -> Vec<String> {
        let Moment(moment) = &self.since;
        let text = command::sh(&format!(
            "journalctl --quiet --no-pager -o short-precise --since {moment} {matches}"
        ));
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a line of [`Machine::log`] that has all of `words`, and returns it.
    #[track_caller]
    pub fn wait_log(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + patience(5.0);
        loop {
            let log = self.log();
            let found = log.iter().find(|line| words.iter().all(|word| line.contains(word)));
            if let Some(line) = found {
                return line.clone();
            }
            assert!(
                Instant::now() < deadline,
                "no log line with {words:?}; there are:\n{}",
                log.join("\n")
            );
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}
