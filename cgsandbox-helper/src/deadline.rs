//! How long a login or a logout may take: the module waits that long for this process, and then kills
//! it.

use std::time::Duration;

use crate::session::{Leader, boot_ms};

/// Of this work there is so much to do when the waiting is over, as a share of the whole time: the
/// sandbox is built, and taken back if that fails.
const SHARE_OF_WORK: u32 = 5;

/// A waited time that is worth telling an administrator of.
const LONG: Duration = Duration::from_secs(1);

/// What the module allows, counted from the start of this process.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// In milliseconds since boot.
    started: u64,
    whole: Duration,
}

impl Deadline {
    /// From a request's `deadline_ms`.
    pub fn of_request(deadline_ms: u64) -> Self {
        let ticks = rustix::param::clock_ticks_per_second();
        let own = Leader::of(std::process::id()).ok();
        let started = own.map_or_else(boot_ms, |own| own.start * 1000 / ticks);
        Deadline { started, whole: Duration::from_millis(deadline_ms) }
    }

    /// How long to wait for somebody else. What is left then does for the work itself.
    pub fn patience(&self) -> Duration {
        (self.whole - self.whole / SHARE_OF_WORK).saturating_sub(self.spent())
    }

    /// How long the user has waited, in seconds, where that is worth telling.
    pub fn waited(&self) -> Option<String> {
        let spent = self.spent();
        (spent > LONG).then(|| format!("{:.3}", spent.as_secs_f64()))
    }

    fn spent(&self) -> Duration {
        Duration::from_millis(boot_ms().saturating_sub(self.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_waited_for_one_thing_is_not_there_for_the_next() {
        let of = |ago: u64| Deadline {
            started: boot_ms().saturating_sub(ago),
            whole: Duration::from_secs(10),
        };
        let about = |deadline: Deadline| deadline.patience().as_millis().div_ceil(100);
        assert_eq!(about(of(0)), 80);
        assert_eq!(about(of(3000)), 50);
        assert_eq!(of(9000).patience(), Duration::ZERO);
        assert_eq!(of(500).waited(), None);
        assert!(of(2500).waited().is_some_and(|waited| waited.starts_with("2.5")));
    }
}
