//! The story of a session.
#![forbid(unsafe_code)]

use crate::args::Arguments;
use crate::failure::{Failure, Leaves};
use crate::handoff::{self, Deadline, Opened};
use crate::log;
use crate::login::{self, Login};
use crate::namespace::Host;
use cgsandbox_protocol::{Login as Verdict, ON_ERROR, Request};
use pam::constants::{PAM_ERROR_MSG, PAM_SILENT, PamFlag};
use pam::conv::Conv;
use pam::module::PamHandle;
use std::ffi::CStr;
use std::os::unix::fs::MetadataExt;

/// What a hook has come to.
pub enum Outcome {
    /// The session is in its sandbox, or out of it again.
    Done,
    /// This login goes on without the module.
    NotOurs,
    /// It must not go on.
    Failed,
}

/// What is kept between open and close. Dropped by PAM, it closes fds and does nothing else.
pub struct Session {
    /// The helper's name for it.
    id: String,
    host: Option<Host>,
    /// The process that is inside.
    pub leader: u32,
}

/// Puts this process into its user's sandbox.
pub fn open(pam: &mut PamHandle, arguments: &[&CStr], flags: PamFlag) -> Outcome {
    let login = Login::of(pam);
    let uid = login::uid(pam, &login.user);
    // Before anything else is read: whatever is broken, root gets in to mend it.
    if uid == Some(0) {
        return Outcome::NotOurs;
    }
    let opened = match uid {
        Some(_) => Arguments::parse(arguments).and_then(|given| enter(pam, &login, &given)),
        None => Err(Failure::of("user", "NSS", "does not know the user")),
    };
    let (verdict, message) = match opened {
        Ok(Opened::Inside { session: id, host }) => {
            let leader = std::process::id();
            let kept = login::keep(pam, Some(Session { id, host, leader }));
            return if kept { Outcome::Done } else { Outcome::Failed };
        }
        Ok(Opened::Unconfined) => return Outcome::NotOurs,
        Ok(Opened::Refused { login, message }) => (login, message),
        Err(failure) => decide(&login, &failure),
    };
    if let (false, Ok(Some(conversation))) = (flags & PAM_SILENT != 0, pam.get_item::<Conv>()) {
        // Whoever cannot be told is refused all the same.
        let _ = conversation.send(PAM_ERROR_MSG, &message);
    }
    match verdict {
        Verdict::Allow => Outcome::NotOurs,
        Verdict::Deny => Outcome::Failed,
    }
}

fn enter(pam: &mut PamHandle, login: &Login, given: &Arguments) -> Result<Opened, Failure> {
    if login::kept(pam).is_some() {
        return Err(Failure::of("open", "session", "this process has one open already"));
    }
    // The place is taken now, because nothing may fail once this process is inside.
    if !login::keep(pam, None) {
        return Err(Failure::of("keep", "session", "PAM has no memory"));
    }
    let request = login.request(given)?;
    let opened = handoff::open(&given.helper, &request, &Deadline::after(given.timeout));
    if opened.as_ref().is_err_and(|failure| failure.leaves == Leaves::HalfMade)
        && let Err(failure) = handoff::close(&given.helper, "", given.timeout)
    {
        login.log_error("degraded", "", &failure);
    }
    opened
}

/// Whether the login goes on without a sandbox, and what its user is told. The log is told more.
fn decide(login: &Login, failure: &Failure) -> (Verdict, String) {
    let verdict = if failure.leaves == Leaves::Stranded { Verdict::Deny } else { on_error() };
    let message = match verdict {
        Verdict::Deny => {
            login.log_error("session_denied", "", failure);
            "Login refused: your sandbox could not be set up. Please tell the administrator."
        }
        Verdict::Allow => {
            login.log_error("degraded", "none", failure);
            "Your sandbox could not be set up: this session runs without it."
        }
    };
    (verdict, message.to_owned())
}

/// What the configuration says, as the helper last left it for the module to read.
fn on_error() -> Verdict {
    let is_root_s = std::fs::symlink_metadata(ON_ERROR).is_ok_and(|link| link.uid() == 0);
    match std::fs::read_link(ON_ERROR) {
        Ok(target) if is_root_s && target.as_os_str() == Verdict::Allow.name() => Verdict::Allow,
        _ => Verdict::Deny,
    }
}

/// Takes this process back out. First to the host: nothing that the user's view could supply
/// is run or read.
pub fn close(pam: &mut PamHandle, arguments: &[&CStr]) -> Outcome {
    let login = Login::of(pam);
    let Some(session) = login::kept(pam) else { return Outcome::NotOurs };
    let closed = session
        .host
        .as_ref()
        .map_or(Ok(()), Host::back)
        .and_then(|()| Arguments::parse(arguments))
        .and_then(|given| handoff::close(&given.helper, &session.id, given.timeout));
    login::keep(pam, None);
    match closed {
        Ok(()) => Outcome::Done,
        Err(failure) => {
            login.log_error("session_close", "", &failure);
            Outcome::Failed
        }
    }
}
