//! The story of a session.
#![forbid(unsafe_code)]

use crate::handoff::{self, Opened};
use crate::login::{self, Login};
use crate::{args::Arguments, log, log::Failure, namespace::Host, spawn::Helper};
use cgsandbox_protocol::{Login as Verdict, ON_ERROR, Request};
use pam::constants::{PAM_ERROR_MSG, PAM_SILENT, PamFlag};
use pam::{conv::Conv, module::PamHandle};
use std::{ffi::CStr, fs, os::unix::fs::MetadataExt, time::Instant};

/// What a hook has come to.
pub enum Outcome {
    /// The process is in its sandbox, or out of it again.
    Done,
    /// The login goes on without the module.
    NotOurs,
    /// It must not go on.
    Failed,
}

/// What PAM keeps between open and close. Dropping it closes fds and does nothing else.
pub struct Session {
    id: String,
    host: Option<Host>,
    /// The pid of the process that is inside.
    pub leader: u32,
}

/// Puts this process into its user's sandbox.
pub fn open(pam: &mut PamHandle, words: &[&CStr], flags: PamFlag) -> Outcome {
    let login = Login::of(pam);
    let opened = match login::uid(pam, &login.user) {
        // Before anything else is read: whatever is broken, root gets in to mend it.
        Some(0) => return Outcome::NotOurs,
        Some(_) => Arguments::parse(words).and_then(|arguments| enter(pam, &login, &arguments)),
        None => Err(Failure::of("resolve", "user", "unknown to NSS")),
    };
    let (verdict, message) = match opened {
        Ok(Opened::Inside { session: id, host }) => {
            let session = Session { id, host, leader: std::process::id() };
            return if login::keep(pam, Some(session)) { Outcome::Done } else { Outcome::Failed };
        }
        Ok(Opened::Unconfined) => return Outcome::NotOurs,
        Ok(Opened::Refused { login, message }) => (login, message),
        Err(failure) => judge(&login, &failure),
    };
    if let (0, Ok(Some(user))) = (flags & PAM_SILENT, pam.get_item::<Conv>()) {
        // A user who cannot be told is refused all the same.
        let _ = user.send(PAM_ERROR_MSG, &message);
    }
    match verdict {
        Verdict::Allow => Outcome::NotOurs,
        Verdict::Deny => Outcome::Failed,
    }
}

fn enter(pam: &mut PamHandle, login: &Login, arguments: &Arguments) -> Result<Opened, Failure> {
    // Taking the place now leaves nothing that can fail once this process is inside.
    if login::kept(pam).is_some() || !login::keep(pam, None) {
        return Err(Failure::of("keep", "session", "one is open already, or no memory"));
    }
    let user = login.user.to_str().map_err(|error| Failure::of("read", "user", error))?;
    let request = Request::Open {
        user: user.to_owned(),
        service: login.service.clone(),
        tty: login.tty.clone(),
        rhost: login.rhost.clone(),
        config: arguments.config.clone(),
        deadline_ms: arguments.timeout.as_millis() as u64,
    };
    let start = Instant::now();
    let helper = Helper::start(&arguments.helper, "open")?;
    let opened = handoff::open(helper, &request, start + arguments.timeout);
    // What that helper may have left, a second one takes back.
    if matches!(opened, Err(Failure { stranded: false, .. }))
        && let Err(failure) = handoff::close(&arguments.helper, "", arguments.timeout)
    {
        failure.log("degraded", login, "");
    }
    if arguments.debug {
        let ms = start.elapsed().as_millis().to_string();
        log::write(log::DEBUG, "debug", &[("user", user), ("open_ms", &ms)]);
    }
    opened
}

/// Whether the login goes on without a sandbox, and what its user is told. The log is told why.
fn judge(login: &Login, failure: &Failure) -> (Verdict, String) {
    if !failure.stranded && on_error_is_allow() {
        failure.log("degraded", login, "none");
        return (Verdict::Allow, "This session runs without its sandbox.".to_owned());
    }
    failure.log("session_denied", login, "");
    (Verdict::Deny, "Login refused: your sandbox could not be set up.".to_owned())
}

/// What the configuration says, as the helper last left it for when it cannot be asked.
fn on_error_is_allow() -> bool {
    fs::symlink_metadata(ON_ERROR).is_ok_and(|link| link.uid() == 0)
        && fs::read_link(ON_ERROR).is_ok_and(|to| to.as_os_str() == Verdict::Allow.name())
}

/// Takes this process out of the sandbox. Into the host's view first: what is run and read must
/// not come from the user's.
pub fn close(pam: &mut PamHandle, words: &[&CStr]) -> Outcome {
    let login = Login::of(pam);
    let Some(Session { id, host, .. }) = login::kept(pam) else { return Outcome::NotOurs };
    let back = host.as_ref().map_or(Ok(()), Host::back);
    let closed = back
        .and_then(|()| Arguments::parse(words))
        .and_then(|arguments| handoff::close(&arguments.helper, id, arguments.timeout));
    login::keep(pam, None);
    let Err(failure) = closed else { return Outcome::Done };
    failure.log("session_close", &login, "");
    Outcome::Failed
}
