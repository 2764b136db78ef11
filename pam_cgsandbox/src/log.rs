//! What goes wrong, and its line in syslog: `authpriv`, `event=NAME key=value ...` as the helper's.
//!
//! `syslog(3)` is not used: its state is the host's (`openlog`), and it waits for a stuck daemon.
#![forbid(unsafe_code)]

use crate::login::Login;
use std::os::unix::{fs::OpenOptionsExt, net::UnixDatagram};
use std::{fmt::Display, fs::OpenOptions, io::Write};

/// Facility and severities of syslog(3).
const AUTHPRIV: u8 = 10 << 3;
pub const ERR: u8 = 3;
pub const DEBUG: u8 = 7;

/// The module's error: what did not work, on what, and why.
pub struct Failure {
    operation: &'static str,
    object: String,
    cause: String,
    /// This process is still in the user's view: it must not run or read anything.
    pub stranded: bool,
}

impl Failure {
    pub fn of(operation: &'static str, object: impl Display, cause: impl Display) -> Self {
        let (object, cause) = (object.to_string(), cause.to_string());
        Failure { operation, object, cause, stranded: false }
    }

    /// Logs it. `enforced` is what is left of the sandbox, if the login goes on.
    pub fn log(&self, event: &str, login: &Login, enforced: &str) {
        let Login { user, service, rhost, .. } = login;
        let user = user.to_string_lossy();
        let who =
            [("user", &*user), ("service", service), ("rhost", rhost), ("enforced", enforced)];
        let what =
            [("operation", self.operation), ("object", &self.object), ("error", &self.cause)];
        write(ERR, event, &[&who[..], &what[..]].concat());
    }
}

/// Writes a line, or counts it as lost. Empty values are left out.
pub fn write(severity: u8, event: &str, fields: &[(&str, &str)]) {
    let (priority, pid) = (AUTHPRIV | severity, std::process::id());
    let mut line = format!("<{priority}>cgsandbox[{pid}]: event={event}");
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        line.push_str(&format!(" {key}={}", escaped(value)));
    }
    let sent = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(line.as_bytes(), "/dev/log")
    });
    if sent.is_err() {
        // For the helper's next line to tell. Where there is no state yet, the loss is not told.
        let (path, flags) = ("/run/cgsandbox/lost", libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let lost = OpenOptions::new().append(true).custom_flags(flags).open(path);
        let _ = lost.and_then(|mut file| file.write_all(b"."));
    }
}

/// `value` such that it can neither end the line nor pass for another field.
fn escaped(value: &str) -> String {
    if value.chars().all(|c| c.is_ascii_alphanumeric() || "._:/@%+,-".contains(c)) {
        return value.to_owned();
    }
    format!("{:?}", value.chars().take(512).collect::<String>())
}
