//! How long a test waits. An emulated machine is an order of magnitude slower.

use std::time::{Duration, Instant};

/// `seconds` on ordinary hardware, stretched by `CGSANDBOX_RIG_SLOWNESS` (a whole number,
/// default 1; the VM suite sets it).
pub fn patience(seconds: f64) -> Duration {
    let slowness = std::env::var("CGSANDBOX_RIG_SLOWNESS")
        .ok()
        .map_or(1, |value| value.parse::<u32>().expect("CGSANDBOX_RIG_SLOWNESS: a whole number"));
    Duration::from_secs_f64(seconds) * slowness
}

/// Waits until `happened`, at most [`patience`]`(seconds)`. Panics with `what` after that.
#[track_caller]
pub fn eventually(what: &str, seconds: f64, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience(seconds);
    while !happened() {
        assert!(Instant::now() < deadline, "not within {:?}: {what}", patience(seconds));
        std::thread::sleep(Duration::from_millis(10));
    }
}
