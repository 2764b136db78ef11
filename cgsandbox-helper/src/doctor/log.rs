//! Whether what happens at logins is written down.

use std::os::unix::net::UnixDatagram;

use super::Finding;
use crate::state::State;

const LOG: &str = "log";

const SOCKET: &str = "/dev/log";

pub(super) fn look(state: &State) -> Vec<Finding> {
    // Connecting sends nothing, and fails where nobody listens.
    let reached = UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET));
    let mut findings = match reached {
        Ok(()) => vec![Finding::ok(LOG, format!("a syslog daemon listens at {SOCKET}"))],
        Err(error) => {
            let what = format!("no syslog daemon at {SOCKET} ({error}): logins leave no trace");
            vec![Finding::problem(LOG, what).remedy("start rsyslogd, journald or another one")]
        }
    };
    let lost = state.lost_lines();
    if lost > 0 {
        let what = format!("{lost} lines were lost since the last one that got through");
        let remedy = "the next line says so too (lost=); see whether the syslog daemon keeps up";
        findings.push(Finding::note(LOG, what).remedy(remedy));
    }
    findings
}
