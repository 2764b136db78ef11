//! What goes wrong, and its line in syslog: `authpriv`, `event=NAME key=value`, as the helper's.
//! Not by `syslog(3)`: its state is the host's (`openlog`), and it waits for a stuck daemon.
#![forbid(unsafe_code)]

use crate::login;
use cgsandbox_protocol::{add_field, count_lost};
use pam::items::{RHost, Service, User};
use pam::module::PamHandle;
use std::{fmt::Display, os::unix::net::UnixDatagram};

/// authpriv.err and authpriv.debug of syslog(3).
pub const ERR: u8 = 83;
pub const DEBUG: u8 = 87;

/// The module's error: what did not work, on what, and why.
pub struct Failure {
    pub operation: &'static str,
    pub object: String,
    pub cause: String,
    /// This process is in a user's sandbox, and not by this session: it must not go on.
    pub stranded: bool,
}

impl Failure {
    pub fn of(operation: &'static str, object: impl Display, cause: impl Display) -> Self {
        Failure { operation, object: object.to_string(), cause: cause.to_string(), stranded: false }
    }

    /// Logs it. `enforced` is what is left of the sandbox, where the login goes on.
    pub fn log(&self, event: &str, pam: &PamHandle, enforced: &str) {
        self.log_with(event, pam, &[("enforced", enforced)]);
    }

    /// Logs it, with `more` of what is known.
    pub fn log_with(&self, event: &str, pam: &PamHandle, more: &[(&str, &str)]) {
        let (user, service, rhost) =
            (login::text::<User>(pam), login::text::<Service>(pam), login::text::<RHost>(pam));
        let who = [("user", &*user), ("service", &*service), ("rhost", &*rhost)];
        let why =
            [("operation", self.operation), ("object", &*self.object), ("cause", &*self.cause)];
        write(ERR, event, &[&who, more, &why].concat());
    }
}

pub type Result<T> = std::result::Result<T, Failure>;

/// A failure of the hand-off.
pub fn failed(cause: impl Display) -> Failure {
    Failure::of("hand off", "helper", cause)
}

/// Writes a line, or counts it as lost. Empty values are left out.
pub fn write(priority: u8, event: &str, fields: &[(&str, &str)]) {
    let mut line = format!("<{priority}>cgsandbox[{}]: event={event}", std::process::id());
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    given.for_each(|(key, value)| add_field(&mut line, key, value));
    let sent = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(line.as_bytes(), "/dev/log")
    });
    if sent.is_err() {
        count_lost();
    }
}
