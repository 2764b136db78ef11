//! The story of a session.
#![forbid(unsafe_code)]

use crate::log::{self, Failure, Result};
use crate::{handoff, handoff::Opened, host::Host, login, spawn::Helper};
use cgsandbox_protocol::{Arguments, Login, Request};
use pam::constants::{PAM_ERROR_MSG, PAM_SILENT, PamFlag};
use pam::items::{RHost, Service, Tty};
use pam::{conv::Conv, module::PamHandle};
use rustix::time::{ClockId, clock_gettime};
use std::{ffi::CStr, time::Instant};

/// This process is in its sandbox, or out of it again; else what becomes of the login.
pub type Outcome = std::result::Result<(), Login>;

/// What PAM keeps between open and close. Dropping it closes fds and does nothing else.
pub struct Session {
    uid: u32,
    ticket: u64,
    host: Host,
    /// The process that is inside.
    pub leader: u32,
}

/// Puts this process into its user's sandbox.
pub fn open(pam: &mut PamHandle, words: &[&CStr], flags: PamFlag) -> Outcome {
    let opened = match login::user(pam) {
        // Before anything else is read: whatever is broken, root gets in to mend it.
        Some((0, _)) => return Err(Login::Allow),
        Some((uid, user)) => arguments(words)
            .and_then(|given| enter(pam, uid, user, &given))
            .map(|(opened, ticket)| (opened, uid, ticket)),
        None => Err(Failure::of("resolve", "user", "unknown to NSS, or not UTF-8")),
    };
    let (verdict, message) = match opened {
        Ok((Ok(host), uid, ticket)) => {
            let session = Session { uid, ticket, host, leader: std::process::id() };
            return if login::keep(pam, Some(session)) { Ok(()) } else { Err(Login::Deny) };
        }
        Ok((Err(outside), ..)) => outside,
        Err(failure) => judge(pam, words, &failure),
    };
    let user = pam.get_item::<Conv>().ok().flatten();
    if let (Some(user), 0, false) = (user, flags & PAM_SILENT, message.is_empty()) {
        // One who cannot be told is refused all the same.
        let _ = user.send(PAM_ERROR_MSG, &message);
    }
    Err(verdict)
}

fn arguments(words: &[&CStr]) -> Result<Arguments> {
    let wrong = |word| Failure::of("parse", word, format_args!("not {}", Arguments::KNOWN));
    Arguments::parse(words.iter().map(|word| word.to_string_lossy())).map_err(wrong)
}

fn enter(pam: &mut PamHandle, uid: u32, user: String, given: &Arguments) -> Result<(Opened, u64)> {
    // Taking the place now leaves nothing that can fail once this process is inside.
    if login::kept(pam).is_some() || !login::keep(pam, None) {
        return Err(Failure::of("keep", "session", "one is open already, or no memory"));
    }
    // No other open of this process is in the same nanosecond since boot.
    let now = clock_gettime(ClockId::Boottime);
    let ticket = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    let request = Request::Open {
        user,
        service: login::text::<Service>(pam),
        tty: login::text::<Tty>(pam),
        rhost: login::text::<RHost>(pam),
        config: given.config.clone(),
        ticket,
        deadline_ms: given.timeout.as_millis() as u64,
    };
    let start = Instant::now();
    let helper = Helper::start(&given.helper, c"open")?;
    let opened = handoff::open(helper, &request, start + given.timeout);
    if let Err(Failure { stranded: false, .. }) = opened {
        // What that helper may have left, a second one takes back.
        let back = handoff::close(&given.helper, uid, ticket, given.timeout);
        let _ = back.map_err(|failure| failure.log("degraded", pam, ""));
    }
    if given.debug {
        log::write(log::DEBUG, "debug", &[("open_took", &format!("{:?}", start.elapsed()))]);
    }
    Ok((opened?, ticket))
}

/// Whether the login goes on without a sandbox, by what the helper last left for when it cannot be
/// asked; and what its user is told. The log is told why.
fn judge(pam: &PamHandle, words: &[&CStr], failure: &Failure) -> (Login, String) {
    let config = arguments(words).map(|given| given.config).unwrap_or_default();
    if !failure.stranded && Login::published(&config) == Login::Allow {
        failure.log("degraded", pam, "none");
        return (Login::Allow, "This session runs without its sandbox.".to_owned());
    }
    failure.log("session_denied", pam, "");
    (Login::Deny, "Login refused: your sandbox could not be set up.".to_owned())
}

/// Takes this process out of the sandbox. Into the host's view first: what is run and read must
/// not come from the user's.
pub fn close(pam: &mut PamHandle, words: &[&CStr]) -> Outcome {
    let Some(Session { uid, ticket, host, .. }) = login::kept(pam) else {
        return Err(Login::Allow);
    };
    let given = host.back().and_then(|()| arguments(words));
    let closed =
        given.and_then(|given| handoff::close(&given.helper, *uid, *ticket, given.timeout));
    login::keep(pam, None);
    closed.map_err(|failure| {
        failure.log("session_close", pam, "");
        Login::Deny
    })
}
